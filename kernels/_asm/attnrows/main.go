// Command attnrows generates the row kernels of training attention: softmax and its gradient over rows of scores.
package main

import (
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"mito/kernels/_asm/asm"
)

// A set is what the variants differ in.
type set struct {
	isa   string
	lanes int
	vec   func() reg.VecVirtual
	zero  func(int) []reg.VecVirtual
}

var (
	avx2   = set{"AVX2", 8, YMM, asm.ZeroY}
	avx512 = set{"AVX512", 16, ZMM, asm.ZeroZ}
)

// unit is the number of elements that a loop works on, whatever the registers: rows are multiples of it.
const unit = 16

func main() {
	asm.Begin()
	consts := constants()
	for _, s := range []set{avx2, avx512} {
		softmax(s, consts)
		grad(s, consts)
	}
	Generate()
}

// constants of exp(x) = 2^n·e^r, n = round(x·log2 e), r = x - n·ln 2, e^r = 1 + r + r²·P(r) (Cephes' expf).
func constants() map[string]Mem {
	m := map[string]Mem{}
	for _, c := range []struct {
		name  string
		value float64
	}{
		{"log2e", math.Log2E}, {"ln2hi", 0.693359375}, {"ln2lo", -2.12194440e-4},
		{"p5", 1.9875691500e-4}, {"p4", 1.3981999507e-3}, {"p3", 8.3334519073e-3}, {"p2", 4.1665795894e-2},
		{"p1", 1.6666665459e-1}, {"p0", 5.0000001201e-1}, {"one", 1},
		// Below these e^x is zero: for AVX-512 by rounding, for AVX2, which builds 2^n by hand, by a mask.
		{"min512", -105}, {"min2", -86},
	} {
		g := GLOBL("exp_"+c.name, RODATA|NOPTR)
		for i := range 16 {
			DATA(4*i, F32(c.value))
		}
		m[c.name] = g
	}
	return m
}

// exp emits the exponential. use loads constants: into registers where there are enough.
type exp struct {
	set
	c    map[string]Op
	keep map[string]Mem
}

func newExp(s set, consts map[string]Mem) *exp {
	e := &exp{s, map[string]Op{}, consts}
	for name, m := range consts {
		e.c[name] = m
	}
	if s.lanes == 16 {
		for _, name := range []string{"log2e", "ln2hi", "ln2lo", "p5", "p4", "p3", "p2", "p1", "p0", "one", "min512"} {
			r := s.vec()
			VMOVUPS(consts[name], r)
			e.c[name] = r
		}
	}
	return e
}

// of replaces x by exp(x) for x not far above zero. A NaN stays one.
func (e *exp) of(x reg.VecVirtual) {
	n, p, mask := e.vec(), e.vec(), reg.VecVirtual(nil)
	min := e.vec()
	if e.lanes == 16 {
		VMAXPS(x, e.c["min512"].(reg.VecVirtual), x)
		VMULPS(e.c["log2e"], x, n)
		VRNDSCALEPS(Imm(8), n, n)
	} else {
		mask = e.vec()
		VMOVUPS(e.c["min2"], min)
		VCMPPS(Imm(0x15), min, x, mask) // not less than, true for NaN
		VMAXPS(x, min, x)
		VMULPS(e.c["log2e"], x, n)
		VROUNDPS(Imm(8), n, n)
	}
	VFNMADD231PS(e.c["ln2hi"], n, x)
	VFNMADD231PS(e.c["ln2lo"], n, x)
	VMOVUPS(e.c["p5"], p)
	for _, c := range []string{"p4", "p3", "p2", "p1", "p0"} {
		VFMADD213PS(e.c[c], x, p)
	}
	square := min
	VMULPS(x, x, square)
	VFMADD213PS(x, square, p)
	VADDPS(e.c["one"], p, p)
	if e.lanes == 16 {
		VSCALEFPS(n, p, x)
		return
	}
	VCVTPS2DQ(n, n)
	VPSLLD(Imm(23), n, n)
	VPADDD(n, p, p)
	VANDPS(mask, p, x)
}

func broadcast(s set, name string) reg.VecVirtual {
	v := s.vec()
	VBROADCASTSS(asm.LoadF32(name), v)
	return v
}

// across reduces the lanes of v into the lowest of an XMM register.
func across(s set, v reg.VecVirtual, op func(a, b, dst Op)) reg.VecVirtual {
	if s.lanes == 16 {
		half := YMM()
		VEXTRACTF64X4(Imm(1), v, half)
		op(half, v.AsY(), half)
		v = half
	}
	x, y := XMM(), XMM()
	VEXTRACTF128(Imm(1), v.AsY(), x)
	op(v.AsX(), x, x)
	VPERMILPS(Imm(0x4E), x, y)
	op(y, x, x)
	VPERMILPS(Imm(0xB1), x, y)
	op(y, x, x)
	return x
}

func softmax(s set, consts map[string]Mem) {
	name := "softmaxRow" + s.isa
	TEXT(name, NOSPLIT, "func(x *float32, n int, scale, top float32) (newTop, sum float32)")
	Pragma("noescape")
	Doc(name+" raises the running maximum to that of scale*x and makes x unnormalised probabilities; n is a positive multiple of 16:", "",
		"\tnewTop = max(top, scale*max(x)); for i < n { x[i] = exp(scale*x[i] - newTop); sum += x[i] }")
	x, n := asm.LoadInt("x"), asm.LoadInt("n")
	per := unit / s.lanes

	p, left := GP64(), GP64()
	MOVQ(x, p)
	MOVQ(n, left)
	most := make([]reg.VecVirtual, per)
	for i := range most {
		most[i] = s.vec()
		VMOVUPS(Mem{Base: p, Disp: 4 * s.lanes * i}, most[i])
	}
	Label(name + "_max")
	for i := range most {
		VMAXPS(Mem{Base: p, Disp: 4 * s.lanes * i}, most[i], most[i])
	}
	ADDQ(Imm(4*unit), p)
	SUBQ(Imm(unit), left)
	JNZ(LabelRef(name + "_max"))
	for i := 1; i < per; i++ {
		VMAXPS(most[i], most[0], most[0])
	}
	top := across(s, most[0], func(a, b, d Op) { VMAXPS(a, b, d) })
	scale := broadcast(s, "scale")
	VMULSS(scale.AsX(), top, top)
	VMAXSS(asm.LoadF32("top"), top, top)
	asm.StoreF32(top, Return("newTop"))
	shift := s.vec()
	VBROADCASTSS(top, shift)

	e := newExp(s, consts)
	sum := s.zero(per)
	Label(name + "_exp")
	for i := range sum {
		v := s.vec()
		VMOVUPS(Mem{Base: x, Disp: 4 * s.lanes * i}, v)
		VFMSUB132PS(scale, shift, v)
		e.of(v)
		VADDPS(v, sum[i], sum[i])
		VMOVUPS(v, Mem{Base: x, Disp: 4 * s.lanes * i})
	}
	ADDQ(Imm(4*unit), x)
	SUBQ(Imm(unit), n)
	JNZ(LabelRef(name + "_exp"))
	for i := 1; i < per; i++ {
		VADDPS(sum[i], sum[0], sum[0])
	}
	asm.StoreF32(across(s, sum[0], func(a, b, d Op) { VADDPS(a, b, d) }), Return("sum"))
	asm.Ret()
}

func grad(s set, consts map[string]Mem) {
	name := "gradRow" + s.isa
	TEXT(name, NOSPLIT, "func(s, dp *float32, n int, scale, lse, delta float32)")
	Pragma("noescape")
	Doc(name+" makes s probabilities and dp gradients of unscaled scores; n is a positive multiple of 16:", "",
		"\tfor i < n { s[i] = exp(scale*s[i] - lse); dp[i] = s[i] * (dp[i] - delta) * scale }")
	p, dp, n := asm.LoadInt("s"), asm.LoadInt("dp"), asm.LoadInt("n")
	scale, lse, delta := broadcast(s, "scale"), broadcast(s, "lse"), broadcast(s, "delta")
	e := newExp(s, consts)
	Label(name + "_loop")
	for i := range unit / s.lanes {
		v, d := s.vec(), s.vec()
		VMOVUPS(Mem{Base: p, Disp: 4 * s.lanes * i}, v)
		VFMSUB132PS(scale, lse, v)
		e.of(v)
		VMOVUPS(v, Mem{Base: p, Disp: 4 * s.lanes * i})
		VMOVUPS(Mem{Base: dp, Disp: 4 * s.lanes * i}, d)
		VSUBPS(delta, d, d)
		VMULPS(v, d, d)
		VMULPS(scale, d, d)
		VMOVUPS(d, Mem{Base: dp, Disp: 4 * s.lanes * i})
	}
	ADDQ(Imm(4*unit), p)
	ADDQ(Imm(4*unit), dp)
	SUBQ(Imm(unit), n)
	JNZ(LabelRef(name + "_loop"))
	asm.Ret()
}
