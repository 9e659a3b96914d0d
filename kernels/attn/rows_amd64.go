//go:build !purego

package attn

import "mito/kernels/isa"

func rowVariants() []isa.Impl[rowFuncs] {
	return []isa.Impl[rowFuncs]{
		{Name: isa.AVX2, Funcs: rowFuncs{softmaxRowAVX2, gradRowAVX2}},
		{Name: isa.AVX512, Funcs: rowFuncs{softmaxRowAVX512, gradRowAVX512}},
	}
}
