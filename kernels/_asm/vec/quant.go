package main

import (
	"github.com/mmcloughlin/avo/attr"
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"

	"mito/kernels/_asm/asm"
	"mito/kernels/_asm/vecops"
)

// rounded returns int32s: v*inv, half added away from zero, truncated.
func (t *target) rounded(v, inv V) V { return t.reg(vecops.Round(t, t.Mul(v, inv))) }

const (
	quantizeSignature   = "func(q []int8, x []float32) float32"
	dequantizeSignature = "func(dst []float32, q []int8, s float32)"
)

// Bits of the smallest and the largest magnitude that are quantised.
const (
	quantFloor = 0x24000000 // 2^-55
	maxFinite  = 0x7f7fffff
)

// inverse takes the largest magnitude from the eight integers m and returns it with 127 divided by it; where that cannot be
// quantised it leaves for the label "out".
func (k *kernel) inverse(m V) (a V, inv V) {
	x, y := XMM(), XMM()
	VEXTRACTI128(Imm(1), m.AsY(), x)
	VPMAXSD(x, m.AsX(), x)
	VPSHUFD(Imm(0x4e), x, y)
	VPMAXSD(y, x, x)
	VPSHUFD(Imm(0xb1), x, y)
	VPMAXSD(y, x, x)
	r := GP32()
	VMOVD(x, r)
	SUBL(U32(quantFloor), r)
	CMPL(r, U32(maxFinite-quantFloor))
	JA(LabelRef(k.name + "_out"))
	d := XMM()
	VMOVSS(bits(0x42fe0000), d) // 127
	VDIVSS(x, d, d)
	inv = k.vec()
	VBROADCASTSS(d, inv)
	return x, inv
}

func quantizeAVX512() {
	k := begin(avx512, "quantizeRow", quantizeSignature, "q", "quantizeRowGeneric", "q", "x")
	m, abs := k.zero(), k.reg(bits(0x7fffffff))
	k.pass("_max", func() {
		v := k.load("x")
		VPANDD(abs, v, v)
		VPMAXSD(v, m, m)
	})
	high := YMM()
	VEXTRACTI64X4(U8(1), m, high)
	VPMAXSD(high, m.AsY(), high)
	a, inv := k.inverse(high)
	k.pass("_round", func() {
		n := k.rounded(k.load("x"), inv)
		q := Mem{Base: k.bases["q"], Index: k.i, Scale: 1}
		if k.tail {
			// Narrowing into a register first: a masked store of bytes is cheap, a narrowing masked store is not.
			b := XMM()
			VPMOVDB(n, b)
			VMOVDQU8(b, k.kmask, q)
		} else {
			VPMOVDB(n, q)
		}
	})
	Label(k.name + "_out")
	k.ret(a)
}

func dequantizeAVX512() {
	k := begin(avx512, "dequantize", dequantizeSignature, "dst", "dst[i] = float32(q[i]) * s", "dst", "q")
	s := k.scalar("s")
	k.each(func() {
		v := k.vec()
		q := Mem{Base: k.bases["q"], Index: k.i, Scale: 1}
		if k.tail {
			VPMOVSXBD_Z(q, k.kmask, v)
		} else {
			VPMOVSXBD(q, v)
		}
		VCVTDQ2PS(v, v)
		VMULPS(s, v, v)
		k.store(v, "dst")
	})
	asm.Ret()
}

// AVX2 has no masks for bytes: the last eight elements are done again, which nothing forbids as input and output never overlap.
// The caller therefore gives at least eight.

// eights runs body at every multiple of eight from i on and once more at n-8 when elements remain. n >= 8.
func (k *kernel) eights(name string, body func()) {
	name = k.name + name
	last := GP64()
	LEAQ(Mem{Base: k.n, Disp: -8}, last)
	Label(name + "_eight")
	CMPQ(k.i, last)
	JA(LabelRef(name + "_rest"))
	body()
	ADDQ(Imm(8), k.i)
	JMP(LabelRef(name + "_eight"))
	Label(name + "_rest")
	CMPQ(k.i, k.n)
	JE(LabelRef(name + "_done"))
	MOVQ(last, k.i)
	JMP(LabelRef(name + "_eight"))
	Label(name + "_done")
}

func quantizeAVX2() {
	k := begin(avx2, "quantizeRow", quantizeSignature, "q", "quantizeRowGeneric for len(q) >= 8", "q", "x")
	m, abs := k.zero(), k.reg(bits(0x7fffffff))
	k.i = GP64()
	XORQ(k.i, k.i)
	k.eights("_max", func() {
		v := k.vec()
		VPAND(k.at("x"), abs, v)
		VPMAXSD(v, m, m)
	})
	a, inv := k.inverse(m)
	// Packing works within 128-bit halves; this order of 32-bit words undoes that.
	order := GLOBL("packOrder", attr.RODATA|attr.NOPTR)
	for i, w := range []uint32{0, 4, 1, 5, 2, 6, 3, 7} {
		DATA(4*i, U32(w))
	}
	perm := k.reg(order)
	XORQ(k.i, k.i)
	last := GP64()
	LEAQ(Mem{Base: k.n, Disp: -32}, last)
	Label(k.name + "_loop")
	CMPQ(k.i, last)
	JG(LabelRef(k.name + "_single"))
	var n [4]V
	for j := range n {
		n[j] = k.rounded(k.loadAt("x", j), inv)
	}
	VPACKSSDW(n[1], n[0], n[0])
	VPACKSSDW(n[3], n[2], n[2])
	VPACKSSWB(n[2], n[0], n[0])
	VPERMD(n[0], perm, n[0])
	VMOVDQU(n[0], Mem{Base: k.bases["q"], Index: k.i, Scale: 1})
	ADDQ(Imm(32), k.i)
	JMP(LabelRef(k.name + "_loop"))
	Label(k.name + "_single")
	k.eights("_round", func() {
		v := k.rounded(k.load("x"), inv)
		high := XMM()
		VEXTRACTI128(Imm(1), v, high)
		VPACKSSDW(high, v.AsX(), high)
		VPACKSSWB(high, high, high)
		VMOVQ(high, Mem{Base: k.bases["q"], Index: k.i, Scale: 1})
	})
	Label(k.name + "_out")
	k.ret(a)
}

func dequantizeAVX2() {
	k := begin(avx2, "dequantize", dequantizeSignature, "dst", "dst[i] = float32(q[i]) * s for len(dst) >= 8", "dst", "q")
	s := k.scalar("s")
	k.i = GP64()
	XORQ(k.i, k.i)
	k.eights("", func() {
		v := k.vec()
		VPMOVSXBD(Mem{Base: k.bases["q"], Index: k.i, Scale: 1}, v)
		VCVTDQ2PS(v, v)
		VMULPS(s, v, v)
		k.store(v, "dst")
	})
	asm.Ret()
}
