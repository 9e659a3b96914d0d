//go:build !purego

package kv

import (
	"unsafe"

	"mito/kernels/isa"
)

// Processors with AVX-512 take the AVX2 form too: one for VNNI comes when a machine that has it can test it.
func variants() []isa.Impl[funcs] {
	f := generic
	f.attend, f.store = attendAVX2, storeQS8AVX2
	return []isa.Impl[funcs]{{Name: isa.AVX2, Funcs: f}}
}

// The generator does not know attendQS8.
func attendAVX2(a *attendQS8) bool { return attendQS8AVX2((*uint64)(unsafe.Pointer(a))) }
