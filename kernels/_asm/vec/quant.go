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

const quantizeSignature = "func(q []int8, x []float32, inv float32)"
const dequantizeSignature = "func(dst []float32, q []int8, s float32)"

func quantizeAVX512() {
	k := begin(avx512, "quantize", quantizeSignature, "q", "quantizeGeneric", "q", "x")
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

func quantizeAVX2() {
	k := begin(avx2, "quantize", quantizeSignature, "q", "quantizeGeneric for len(q) >= 8", "q", "x")
	inv := k.scalar("inv")
	// Packing works within 128-bit halves; this order of 32-bit words undoes that.
	order := GLOBL("packOrder", attr.RODATA|attr.NOPTR)
	for i, w := range []uint32{0, 4, 1, 5, 2, 6, 3, 7} {
		DATA(4*i, U32(w))
	}
	perm := k.reg(order)
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

func dequantizeAVX2() {
	k := begin(avx2, "dequantize", dequantizeSignature, "dst", "dst[i] = float32(q[i]) * s for len(dst) >= 8", "dst", "q")
	s := k.scalar("s")
	k.i = GP64()
	XORQ(k.i, k.i)
	k.eights(func() {
		v := k.vec()
		VPMOVSXBD(Mem{Base: k.bases["q"], Index: k.i, Scale: 1}, v)
		VCVTDQ2PS(v, v)
		VMULPS(s, v, v)
		k.store(v, "dst")
	})
	asm.Ret()
}
