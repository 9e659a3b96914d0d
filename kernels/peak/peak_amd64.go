//go:build !purego

package peak

import "mito/kernels/isa"

func variants() []isa.Impl[loops] {
	avx2 := loops{
		fma: fmaF32AVX2, fmaFlops: 2 * 12 * 8,
		mac: macQS8AVX2, macs: 4 * 32,
		read: readAVX2, readBlock: 256,
	}
	avx512 := avx2
	avx512.fma, avx512.fmaFlops = fmaF32AVX512, 2*12*16
	avx512.read, avx512.readBlock = readAVX512, 512
	vnni := avx512
	vnni.mac, vnni.macs = macQS8AVX512VNNI, 12*64
	return []isa.Impl[loops]{
		{Name: isa.AVX2, Funcs: avx2},
		{Name: isa.AVX512, Funcs: avx512},
		{Name: isa.AVX512VNNI, Funcs: vnni},
	}
}
