package main

import (
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"

	"mito/kernels/_asm/asm"
)

// reductions generates what does not fit the form of a sum of float32.
func reductions(t *target) {
	sumSquares64(t)
	absMax(t)
	maximum(t)

	k := begin(t, "addLanes", "func(l *[8]float32, x []float32)", "x", "l[i%8] += x[i]", "x")
	p, l := Load(Param("l"), GP64()), YMM()
	VMOVUPS(Mem{Base: p}, l)
	k.each(func() { k.accumulate(k.load("x"), l) })
	VMOVUPS(l, Mem{Base: p})
	asm.Ret()
}

func sumSquares64(t *target) {
	k := begin(t, "sumSquares64", "func(x []float32) float64", "x", "sumSquares64Generic", "x")
	l0, l1 := k.zero(), k.zero()
	k.each(func() {
		v, high := k.load("x"), XMM()
		VEXTRACTF128(Imm(1), v, high)
		d0, d1 := YMM(), YMM()
		VCVTPS2PD(v.AsX(), d0)
		VMULPD(d0, d0, d0)
		VADDPD(d0, l0, l0)
		VCVTPS2PD(high, d1)
		VMULPD(d1, d1, d1)
		VADDPD(d1, l1, l1)
	})
	VADDPD(l1, l0, l0)
	a, b := XMM(), XMM()
	VEXTRACTF128(Imm(1), l0, a)
	VADDPD(a, l0.AsX(), a)
	VUNPCKHPD(a, a, b)
	VADDSD(b, a, a)
	k.ret(a)
}

func absMax(t *target) {
	k := begin(t, "absMax", "func(x []float32) float32", "x", "absMaxGeneric", "x")
	m, abs := k.zero(), k.reg(bits(0x7fffffff))
	k.each(func() {
		v := k.load("x")
		VANDPS(abs, v, v)
		VPMAXSD(v, m, m)
	})
	a, b := XMM(), XMM()
	VEXTRACTI128(Imm(1), m, a)
	VPMAXSD(a, m.AsX(), a)
	VPSHUFD(Imm(0x4e), a, b)
	VPMAXSD(b, a, a)
	VPSHUFD(Imm(0xb1), a, b)
	VPMAXSD(b, a, a)
	k.ret(a)
}

// maximum relies on VMAXPS returning its second source, here the maximum so far, when the first is NaN.
func maximum(t *target) {
	k := begin(t, "max", "func(x []float32) float32", "x", "maxGeneric", "x")
	least := k.reg(bits(math.Float32bits(float32(math.Inf(-1)))))
	m := k.vec()
	VMOVAPS(least, m)
	k.each(func() {
		v := k.load("x")
		if k.tail {
			VBLENDVPS(k.mask, v, least, v)
		}
		VMAXPS(m, v, m)
	})
	a, b := XMM(), XMM()
	VEXTRACTF128(Imm(1), m, a)
	VMAXPS(a, m.AsX(), a)
	VMOVHLPS(a, a, b)
	VMAXPS(b, a, a)
	VMOVSHDUP(a, b)
	VMAXSS(b, a, a)
	VXORPS(b, b, b)
	VADDSS(b, a, a)
	k.ret(a)
}
