//go:build !purego

package edge

import "mito/kernels/isa"

func variants() []isa.Impl[funcs] {
	return []isa.Impl[funcs]{
		{Name: isa.AVX2, Funcs: funcs{rmsNormQuantizeAVX2, residualRMSNormQuantizeAVX2, relu2QuantizeAVX2, ropeHeadsAVX2}},
		{Name: isa.AVX512, Funcs: funcs{rmsNormQuantizeAVX512, residualRMSNormQuantizeAVX512, relu2QuantizeAVX512, ropeHeadsAVX512}},
	}
}
