package main

import (
	"github.com/mmcloughlin/avo/attr"
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"

	"mito/kernels/_asm/asm"
)

func quantKernels(t *target) {
	product := func(acc, ws, xs V) V {
		f := t.vec()
		VCVTDQ2PS(acc, f)
		return t.mul(f, t.mul(ws, xs))
	}
	mapped(t, "scaleInt32", "dst []float32, acc []int32, ws []float32, xs float32", "dst[i] = float32(acc[i]) * float32(xs*ws[i]).",
		names("dst"), names("acc", "ws"), names("xs"), func(in, s []V) []V { return []V{product(in[0], in[1], s[0])} })
	mapped(t, "addScaleInt32", "dst []float32, acc []int32, ws []float32, xs float32",
		"dst[i] += float32(float32(acc[i]) * float32(xs*ws[i])).",
		names("dst"), names("dst", "acc", "ws"), names("xs"),
		func(in, s []V) []V { return []V{t.add(in[0], product(in[1], in[2], s[0]))} })
	if t.wide() {
		quantizeAVX512(t)
		dequantizeAVX512(t)
		return
	}
	quantizeAVX2(t)
	dequantizeAVX2(t)
}

// rounded returns int32s: v*inv, half added away from zero, truncated.
func (t *target) rounded(v, inv V) V {
	p := t.mul(v, inv)
	d := t.add(p, t.or(t.and(p, bits(1<<31)), f32(0.5)))
	VCVTTPS2DQ(d, d)
	return d
}

const quantizeSignature = "func(q []int8, x []float32, inv float32)"
const dequantizeSignature = "func(dst []float32, q []int8, s float32)"

func quantizeAVX512(t *target) {
	k := begin(t, "quantize", quantizeSignature, "q", "quantizeGeneric.", "q", "x")
	inv := k.scalar("inv")
	k.each(func() {
		n := k.rounded(k.load("x"), inv)
		q := Mem{Base: k.bases["q"], Index: k.i, Scale: 1}
		if k.tail {
			VPMOVDB(n, k.kmask, q)
		} else {
			VPMOVDB(n, q)
		}
	})
	asm.Ret()
}

func dequantizeAVX512(t *target) {
	k := begin(t, "dequantize", dequantizeSignature, "dst", "dst[i] = float32(q[i]) * s.", "dst", "q")
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
		k.store(k.mul(v, s), "dst")
	})
	asm.Ret()
}

// AVX2 has no masks for bytes: the last eight elements are done again, which nothing forbids as input and output never overlap.
// The caller therefore gives at least eight.

// eights runs body at every multiple of eight from i on and once more at n-8 when elements remain. n >= 8.
func (k *kernel) eights(body func()) {
	Label(k.name + "_eights")
	last := GP64()
	LEAQ(Mem{Base: k.n, Disp: -8}, last)
	Label(k.name + "_eight")
	CMPQ(k.i, last)
	JA(LabelRef(k.name + "_rest"))
	body()
	ADDQ(Imm(8), k.i)
	JMP(LabelRef(k.name + "_eight"))
	Label(k.name + "_rest")
	CMPQ(k.i, k.n)
	JE(LabelRef(k.name + "_done"))
	MOVQ(last, k.i)
	JMP(LabelRef(k.name + "_eight"))
	Label(k.name + "_done")
}

func quantizeAVX2(t *target) {
	k := begin(t, "quantize", quantizeSignature, "q", "quantizeGeneric for len(q) >= 8.", "q", "x")
	inv := k.scalar("inv")
	// Packing works within 128-bit halves; this order of 32-bit words undoes that.
	order := GLOBL("packOrder", attr.RODATA|attr.NOPTR)
	for i, w := range []uint32{0, 4, 1, 5, 2, 6, 3, 7} {
		DATA(4*i, U32(w))
	}
	perm := t.constant(order)
	k.i = GP64()
	XORQ(k.i, k.i)
	last := GP64()
	LEAQ(Mem{Base: k.n, Disp: -32}, last)
	Label(k.name + "_loop")
	CMPQ(k.i, last)
	JG(LabelRef(k.name + "_eights"))
	var n [4]V
	for j := range n {
		v := k.vec()
		m := k.at("x")
		m.Disp = 32 * j
		VMOVUPS(m, v)
		n[j] = k.rounded(v, inv)
	}
	VPACKSSDW(n[1], n[0], n[0])
	VPACKSSDW(n[3], n[2], n[2])
	VPACKSSWB(n[2], n[0], n[0])
	VPERMD(n[0], perm, n[0])
	VMOVDQU(n[0], Mem{Base: k.bases["q"], Index: k.i, Scale: 1})
	ADDQ(Imm(32), k.i)
	JMP(LabelRef(k.name + "_loop"))
	k.eights(func() {
		v := k.rounded(k.load("x"), inv)
		high := XMM()
		VEXTRACTI128(Imm(1), v, high)
		VPACKSSDW(high, v.AsX(), high)
		VPACKSSWB(high, high, high)
		VMOVQ(high, Mem{Base: k.bases["q"], Index: k.i, Scale: 1})
	})
	asm.Ret()
}

func dequantizeAVX2(t *target) {
	k := begin(t, "dequantize", dequantizeSignature, "dst", "dst[i] = float32(q[i]) * s for len(dst) >= 8.", "dst", "q")
	s := k.scalar("s")
	k.i = GP64()
	XORQ(k.i, k.i)
	k.eights(func() {
		v := k.vec()
		VPMOVSXBD(Mem{Base: k.bases["q"], Index: k.i, Scale: 1}, v)
		VCVTDQ2PS(v, v)
		k.store(k.mul(v, s), "dst")
	})
	asm.Ret()
}
