//go:build !purego

package kv

import (
	"unsafe"

	"mito/kernels/isa"
)

func variants() []isa.Impl[funcs] {
	with := func(attend func(*attendQS8) bool) funcs {
		f := generic
		f.attend, f.store = attend, storeQS8AVX2
		return f
	}
	return []isa.Impl[funcs]{
		{Name: isa.AVX2, Funcs: with(attendAVX2)},
		{Name: isa.AVX512VNNI, Funcs: with(attendAVX512VNNI)},
	}
}

// The generator does not know attendQS8.
func attendAVX2(a *attendQS8) bool { return attendQS8AVX2((*uint64)(unsafe.Pointer(a))) }

func attendAVX512VNNI(a *attendQS8) bool { return attendQS8AVX512VNNI((*uint64)(unsafe.Pointer(a))) }
