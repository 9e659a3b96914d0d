// Command vec generates the float32 vector kernels. One description of each kernel gives its AVX2 and, where it pays, its
// AVX-512 form; no instruction fuses a product into a sum, so that all have the bits of the Go loop.
package main

import (
	. "github.com/mmcloughlin/avo/build"

	"mito/kernels/_asm/asm"
)

func main() {
	asm.Begin()
	for _, t := range []*target{avx2, avx512} {
		elementwiseKernels(t)
		expKernels(t)
		normKernels(t)
		activationKernels(t)
		lossKernels(t)
		optimKernels(t)
		quantKernels(t)
	}
	reductionKernels(avx2)
	Generate()
}
