// Package isa names the instruction-set variants of the CPU kernels, says which of them this processor can run, and
// holds the one dispatcher that every kernel package uses.
//
// A kernel package keeps its functions in a struct type and lists one value of it per variant:
//
//	type funcs struct{ dot func(a, b []int8) int32 }
//
//	var kernels = isa.New("qgemm", append([]isa.Impl[funcs]{{isa.Generic, funcs{dotGeneric}}}, variants()...)...)
//
// where variants() comes from a file per architecture and returns nil under the build tag purego. The generic one is
// always compiled and defines the meaning.
package isa
