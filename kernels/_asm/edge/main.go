// Command edge generates the fused float kernels of kernels/edge.
package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"mito/kernels/_asm/asm"
)

func main() {
	asm.Begin()
	for _, t := range []target{{"AVX2", YMM, 32}, {"AVX512", ZMM, 64}} {
		t.rmsNorm(false)
		t.rmsNorm(true)
		t.relu2()
		t.rope()
	}
	Generate()
}

type target struct {
	name  string
	vec   func() reg.VecVirtual
	bytes int // of a register
}

func (t target) wide() bool { return t.bytes == 64 }

var (
	constants = asm.NewConstants("edge")
	bits, f32 = constants.Bits, constants.F32
)

func (t target) zero() reg.VecVirtual {
	if t.wide() {
		return asm.ZeroZ(1)[0]
	}
	return asm.ZeroY(1)[0]
}

// magnitude folds |v| into a.
func (t target) magnitude(v, abs, a reg.VecVirtual) {
	x := t.vec()
	if t.wide() {
		VPANDD(v, abs, x)
	} else {
		VPAND(v, abs, x)
	}
	VPMAXUD(x, a, a)
}

// quantize is vec.QuantizeRow of h, whose largest magnitudes are in the lanes of a. It stores the scale and returns.
func (t target) quantize(label, fail string, q, h, n reg.GPVirtual, a reg.VecVirtual, scale string) {
	if t.wide() {
		hi, lo := YMM(), YMM()
		VEXTRACTI32X8(Imm(1), a, hi)
		VPMAXUD(a.AsY(), hi, lo)
		a = lo
	}
	m := asm.Fold(a, func(a, b, d reg.VecVirtual) { VPMAXUD(a, b, d) })
	mi := GP32()
	VMOVD(m, mi)
	SUBL(U32(0x24000000), mi) // 2^-55
	CMPL(mi, U32(0x7f7fffff-0x24000000))
	JA(LabelRef(fail))
	top, inv, s := XMM(), t.vec(), XMM()
	VMOVSS(f32(127), top)
	VDIVSS(m, top, inv.AsX())
	VDIVSS(top, m, s)
	VBROADCASTSS(inv.AsX(), inv)
	Label(label)
	step := func(disp int) reg.VecVirtual {
		v, half := t.vec(), t.vec()
		VMULPS(Mem{Base: h, Disp: disp}, inv, v)
		if t.wide() {
			VPANDD(bits(0x80000000), v, half)
			VPORD(f32(0.5), half, half)
		} else {
			VANDPS(bits(0x80000000), v, half)
			VORPS(f32(0.5), half, half)
		}
		VADDPS(half, v, v)
		VCVTTPS2DQ(v, v)
		return v
	}
	if t.wide() {
		VPMOVDB(step(0), Mem{Base: q})
	} else {
		x, y := step(0), step(32)
		VPACKSSDW(y, x, x)
		VPERMQ(Imm(0xd8), x, x)
		hi := XMM()
		VEXTRACTI128(Imm(1), x, hi)
		VPACKSSWB(hi, x.AsX(), x.AsX())
		VMOVDQU(x.AsX(), Mem{Base: q})
	}
	ADDQ(Imm(64), h)
	ADDQ(Imm(16), q)
	SUBQ(Imm(16), n)
	JNZ(LabelRef(label))
	p := asm.LoadInt(scale)
	VMOVSS(s, Mem{Base: p})
	ok := asm.Result()
	MOVB(U8(1), ok)
	asm.Ret()
	Label(fail)
	MOVB(U8(0), ok)
	asm.Ret()
}

// rmsNorm generates the norm, or with residual the norm of x plus a product.
func (t target) rmsNorm(residual bool) {
	name := "rmsNormQuantize" + t.name
	if residual {
		name = "residualRMSNormQuantize" + t.name
		TEXT(name, NOSPLIT, "func(q *int8, h, x, gain *float32, n int, count, eps float32, scale *float32, acc *int32, ws *float32, xs float32) bool")
		Doc(name+" is vec.AddScaleInt32(x, acc, xs, ws), vec.RMSNorm(h, x, gain, eps) and vec.QuantizeRow(q, h); count is", "float32(n), a multiple of 16.", "",
			"It returns false, with x already changed, when the scale would be zero or is not finite.")
	} else {
		TEXT(name, NOSPLIT, "func(q *int8, h, x, gain *float32, n int, count, eps float32, scale *float32) bool")
		Doc(name+" is vec.RMSNorm(h, x, gain, eps) and vec.QuantizeRow(q, h); count is float32(n), a multiple of 16.", "",
			"It returns false when the scale would be zero or is not finite.")
	}
	q, h, x, gain, n := asm.LoadInt("q"), asm.LoadInt("h"), asm.LoadInt("x"), asm.LoadInt("gain"), asm.LoadInt("n")
	label := func(s string) string { return name + "_" + s }

	sum := asm.ZeroY(1)[0]
	p, i := GP64(), GP64()
	MOVQ(x, p)
	MOVQ(n, i)
	var acc, ws reg.GPVirtual
	xs := YMM()
	if residual {
		acc, ws = asm.LoadInt("acc"), asm.LoadInt("ws")
		s := asm.LoadF32("xs")
		VBROADCASTSS(s, xs)
	}
	Label(label("squares"))
	for k := range 2 {
		v := YMM()
		VMOVUPS(Mem{Base: p, Disp: 32 * k}, v)
		if residual {
			w, a := YMM(), YMM()
			VMULPS(Mem{Base: ws, Disp: 32 * k}, xs, w)
			VCVTDQ2PS(Mem{Base: acc, Disp: 32 * k}, a)
			VMULPS(w, a, a)
			VADDPS(a, v, v)
			VMOVUPS(v, Mem{Base: p, Disp: 32 * k})
		}
		VMULPS(v, v, v)
		VADDPS(v, sum, sum)
	}
	ADDQ(Imm(64), p)
	if residual {
		ADDQ(Imm(64), acc)
		ADDQ(Imm(64), ws)
	}
	SUBQ(Imm(16), i)
	JNZ(LabelRef(label("squares")))
	m := asm.Fold(sum, func(a, b, d reg.VecVirtual) { VADDPS(a, b, d) })
	count := asm.LoadF32("count")
	eps := asm.LoadF32("eps")
	VDIVSS(count, m, m)
	VADDSS(eps, m, m)
	// vec.RSqrt1.
	y, half, u := XMM(), XMM(), XMM()
	VPSRLD(Imm(1), m, u)
	VMOVSS(bits(0x5f3759df), y)
	VPSUBD(u, y, y)
	VMULSS(f32(0.5), m, half)
	for range 4 {
		c := XMM()
		VMULSS(y, half, u)
		VMULSS(y, u, u)
		VMOVSS(f32(1.5), c)
		VSUBSS(u, c, c)
		VMULSS(c, y, y)
	}
	r, abs, a := t.vec(), t.vec(), t.zero()
	VBROADCASTSS(y, r)
	VMOVUPS(bits(0x7fffffff), abs)
	to := GP64()
	MOVQ(h, to)
	MOVQ(n, i)
	Label(label("scale"))
	for k := 0; k < 64; k += t.bytes {
		v := t.vec()
		VMULPS(Mem{Base: x, Disp: k}, r, v)
		VMULPS(Mem{Base: gain, Disp: k}, v, v)
		VMOVUPS(v, Mem{Base: to, Disp: k})
		t.magnitude(v, abs, a)
	}
	ADDQ(Imm(64), x)
	ADDQ(Imm(64), gain)
	ADDQ(Imm(64), to)
	SUBQ(Imm(16), i)
	JNZ(LabelRef(label("scale")))
	t.quantize(label("quantize"), label("fail"), q, h, n, a, "scale")
}

func (t target) relu2() {
	name := "relu2Quantize" + t.name
	TEXT(name, NOSPLIT, "func(q *int8, h *float32, acc *int32, ws *float32, n int, xs float32, scale *float32) bool")
	Doc(name+" is vec.ScaleInt32(h, acc, xs, ws), vec.ReLU2(h, h) and vec.QuantizeRow(q, h); n is a multiple of 16.", "",
		"It returns false when the scale would be zero or is not finite.")
	q, h, acc, ws, n := asm.LoadInt("q"), asm.LoadInt("h"), asm.LoadInt("acc"), asm.LoadInt("ws"), asm.LoadInt("n")
	label := func(s string) string { return name + "_" + s }
	xs := t.vec()
	s := asm.LoadF32("xs")
	VBROADCASTSS(s, xs)
	none, a := t.zero(), t.zero()
	to, i := GP64(), GP64()
	MOVQ(h, to)
	MOVQ(n, i)
	Label(label("relu2"))
	for k := 0; k < 64; k += t.bytes {
		w, v := t.vec(), t.vec()
		VMULPS(Mem{Base: ws, Disp: k}, xs, w)
		VCVTDQ2PS(Mem{Base: acc, Disp: k}, v)
		VMULPS(w, v, v)
		// The second source is kept for NaN and for two zeros, as in v < 0 ? 0 : v.
		VMAXPS(v, none, v)
		VMULPS(v, v, v)
		VMOVUPS(v, Mem{Base: to, Disp: k})
		VPMAXUD(v, a, a) // not negative: bits are ordered as values
	}
	ADDQ(Imm(64), ws)
	ADDQ(Imm(64), acc)
	ADDQ(Imm(64), to)
	SUBQ(Imm(16), i)
	JNZ(LabelRef(label("relu2")))
	t.quantize(label("quantize"), label("fail"), q, h, n, a, "scale")
}

// rope turns whole heads. The AVX2 form takes what is left of a half four at a time. Masks would make a head's loads wait for the
// stores of the one before, which count with all of their lanes.
func (t target) rope() {
	name, step := "ropeHeads"+t.name, "4"
	if t.wide() {
		step = "16"
	}
	TEXT(name, NOSPLIT, "func(x, cos, sin *float32, heads, half int)")
	Doc(name + " is vec.RoPE of heads heads of 2·half elements; half is a multiple of " + step + ".")
	x, cos, sin, heads, half := asm.LoadInt("x"), asm.LoadInt("cos"), asm.LoadInt("sin"), asm.LoadInt("heads"), asm.LoadInt("half")
	whole := GP64()
	MOVQ(half, whole)
	if !t.wide() {
		ANDQ(I8(-8), whole)
	}
	SHLQ(Imm(2), whole)
	SHLQ(Imm(2), half)
	Label(name + "_head")
	i, up := GP64(), GP64()
	XORQ(i, i)
	LEAQ(Mem{Base: x, Index: half, Scale: 1}, up)
	at := func(p reg.GPVirtual) Mem { return Mem{Base: p, Index: i, Scale: 1} }
	turn := func(vec func() reg.VecVirtual) {
		a, b, c, s, ac, bs := vec(), vec(), vec(), vec(), vec(), vec()
		VMOVUPS(at(x), a)
		VMOVUPS(at(up), b)
		VMOVUPS(at(cos), c)
		VMOVUPS(at(sin), s)
		VMULPS(c, a, ac)
		VMULPS(s, b, bs)
		VSUBPS(bs, ac, ac)
		VMOVUPS(ac, at(x))
		VMULPS(c, b, b)
		VMULPS(s, a, a)
		VADDPS(a, b, b)
		VMOVUPS(b, at(up))
	}
	if !t.wide() {
		TESTQ(whole, whole)
		JZ(LabelRef(name + "_tail"))
	}
	Label(name + "_part")
	turn(t.vec)
	ADDQ(U8(t.bytes), i)
	CMPQ(i, whole)
	JL(LabelRef(name + "_part"))
	if !t.wide() {
		Label(name + "_tail")
		CMPQ(i, half)
		JGE(LabelRef(name + "_next"))
		turn(XMM)
		Label(name + "_next")
	}
	LEAQ(Mem{Base: x, Index: half, Scale: 2}, x)
	DECQ(heads)
	JNZ(LabelRef(name + "_head"))
	asm.Ret()
}
