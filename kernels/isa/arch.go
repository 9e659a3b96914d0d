package isa

import (
	"runtime"

	"golang.org/x/sys/cpu"
)

const isARM64 = runtime.GOARCH == "arm64"

// Features lists the instruction sets that mito's kernels know and this processor has, for a machine description.
func Features() []string {
	var f []string
	add := func(name string, has bool) {
		if has {
			f = append(f, name)
		}
	}
	add("avx2", cpu.X86.HasAVX2)
	add("fma", cpu.X86.HasFMA)
	add("avxvnni", cpu.X86.HasAVXVNNI)
	add("avx512f", cpu.X86.HasAVX512F)
	add("avx512bw", cpu.X86.HasAVX512BW)
	add("avx512dq", cpu.X86.HasAVX512DQ)
	add("avx512vl", cpu.X86.HasAVX512VL)
	add("avx512vnni", cpu.X86.HasAVX512VNNI)
	add("neon", isARM64)
	add("sdot", isARM64 && cpu.ARM64.HasASIMDDP)
	return f
}
