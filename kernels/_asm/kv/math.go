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

// humax is the maximum of bit patterns as unsigned integers.
func humax(v reg.VecVirtual) reg.VecVirtual {
	return asm.Fold(v, func(a, b, d reg.VecVirtual) { VPMAXUD(a, b, d) })
}

// power is 2^-x in units of 2^-15, for 16-bit lanes of x, 0 ≤ x < 1 in the same units: kv.Pow2 before its shift.
func power(x reg.VecVirtual) reg.VecVirtual {
	a := YMM()
	VPMULHRSW(words(1261), x, a)
	for _, c := range []uint16{7512, 22632} {
		t := YMM()
		VMOVDQU(words(c), t)
		VPSUBW(a, t, a)
		VPMULHRSW(x, a, a)
	}
	t := YMM()
	VMOVDQU(words(32767), t)
	VPSUBW(a, t, a)
	return a
}

// words is a vector of one 16-bit number.
func words(w uint16) Mem { return bits(uint32(w)<<16 | uint32(w)) }
