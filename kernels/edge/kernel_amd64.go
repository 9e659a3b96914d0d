//go:build !purego

package edge

import "mito/kernels/isa"

func variants() []isa.Impl[funcs] {
	return []isa.Impl[funcs]{
		{Name: isa.AVX2, Funcs: funcs{rmsNormQuantizeAVX2, residualRMSNormQuantizeAVX2, relu2QuantizeAVX2, ropeHeadsAVX2}},
		{Name: isa.AVX512, Funcs: funcs{rmsNormQuantizeAVX512, residualRMSNormQuantizeAVX512, relu2QuantizeAVX512, ropeHeads512}},
	}
}

// ropeHeads512 leaves heads that no 512-bit registers divide to AVX2.
func ropeHeads512(x, cos, sin *float32, heads, half int) {
	if half%16 == 0 {
		ropeHeadsAVX512(x, cos, sin, heads, half)
	} else {
		ropeHeadsAVX2(x, cos, sin, heads, half)
	}
}
