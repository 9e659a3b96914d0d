package main

import (
	"github.com/mmcloughlin/avo/attr"
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"mito/kernels/_asm/asm"
)

var (
	constants = asm.NewConstants("decode")
	bits, f32 = constants.Bits, constants.F32
)

var iota16 *Mem

// counting is 0 … 15.
func counting() Mem {
	if iota16 == nil {
		m := GLOBL("decodeIota", attr.RODATA|attr.NOPTR)
		for i := range 16 {
			DATA(4*i, U32(uint32(i)))
		}
		iota16 = &m
	}
	return *iota16
}

func hmax(v reg.VecVirtual) reg.VecVirtual {
	return asm.Fold(v, func(a, b, d reg.VecVirtual) { VMAXPS(a, b, d) })
}

// humax is the maximum of bit patterns as unsigned integers.
func humax(v reg.VecVirtual) reg.VecVirtual {
	return asm.Fold(v, func(a, b, d reg.VecVirtual) { VPMAXUD(a, b, d) })
}

// total adds eight lanes as ((0+4)+(2+6)) + ((1+5)+(3+7)).
func total(v reg.VecVirtual) reg.VecVirtual {
	return asm.Fold(v, func(a, b, d reg.VecVirtual) { VADDPS(a, b, d) })
}

// exp is vec.Exp1 for arguments that are not positive: the same operations, without the overflow at the other end. keep
// zeroes what lies below -87.
func exp(vec func() reg.VecVirtual, x reg.VecVirtual, keep func(y, x reg.VecVirtual)) reg.VecVirtual {
	t, half, fn, r, p := vec(), vec(), vec(), vec(), vec()
	VMULPS(f32(1.44269504088896341), x, t)
	// The argument is not positive, so half is subtracted; -0 rounds to 0 either way.
	VSUBPS(f32(0.5), t, half)
	VCVTTPS2DQ(half, t)
	VCVTDQ2PS(t, fn)
	VMULPS(f32(0.693359375), fn, r)
	VSUBPS(r, x, r)
	VMULPS(f32(-2.12194440e-4), fn, fn)
	VSUBPS(fn, r, r)
	VMULPS(f32(1.9875691500e-4), r, p)
	for _, c := range []float32{1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1} {
		VADDPS(f32(c), p, p)
		VMULPS(r, p, p)
	}
	VADDPS(f32(5.0000001201e-1), p, p)
	VMULPS(r, p, p)
	VMULPS(r, p, p)
	VADDPS(r, p, p)
	VADDPS(f32(1), p, p)
	VPADDD(bits(127), t, t)
	VPSLLD(Imm(23), t, t)
	VMULPS(t, p, p)
	keep(p, x)
	return p
}
