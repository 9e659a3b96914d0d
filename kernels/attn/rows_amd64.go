//go:build !purego

package attn

import "mito/kernels/isa"

//go:generate go run -C ../_asm ./attnrows -out ../attn/rows_amd64.s -stubs ../attn/stubs_rows_amd64.go -pkg attn

func rowVariants() []isa.Impl[rowFuncs] {
	return []isa.Impl[rowFuncs]{
		{Name: isa.AVX2, Funcs: rowFuncs{softmaxRowAVX2, gradRowAVX2}},
		{Name: isa.AVX512, Funcs: rowFuncs{softmaxRowAVX512, gradRowAVX512}},
	}
}
