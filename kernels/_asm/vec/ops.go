package main

import (
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"

	"mito/kernels/_asm/asm"
)

func names(s ...string) []string { return s }

func elementwiseKernels(t *target) {
	mapped(t, "add", "dst, a, b []float32", "dst[i] = a[i] + b[i].", names("dst"), names("a", "b"), nil,
		func(in, s []V) []V { return []V{t.add(in[0], in[1])} })
	mapped(t, "mul", "dst, a, b []float32", "dst[i] = a[i] * b[i].", names("dst"), names("a", "b"), nil,
		func(in, s []V) []V { return []V{t.mul(in[0], in[1])} })
	mapped(t, "scaleBy", "dst, x []float32, s float32", "dst[i] = x[i] * s.", names("dst"), names("x"), names("s"),
		func(in, s []V) []V { return []V{t.mul(in[0], s[0])} })
	mapped(t, "scaleMul", "dst, x, y []float32, s float32", "dst[i] = float32(x[i]*s) * y[i].", names("dst"), names("x", "y"), names("s"),
		func(in, s []V) []V { return []V{t.mul(t.mul(in[0], s[0]), in[1])} })
	mapped(t, "axpy", "dst, x []float32, a float32", "dst[i] += float32(a * x[i]).", names("dst"), names("dst", "x"), names("a"),
		func(in, s []V) []V { return []V{t.add(in[0], t.mul(in[1], s[0]))} })
	mapped(t, "lerp", "dst, x []float32, a float32", "dst[i] += float32(a * float32(x[i]-dst[i])).", names("dst"), names("dst", "x"), names("a"),
		func(in, s []V) []V { return []V{t.add(in[0], t.mul(t.sub(in[1], in[0]), s[0]))} })
	mapped(t, "rotate", "a, b, cos, sin []float32",
		"a[i], b[i] = float32(a[i]*cos[i]) - float32(b[i]*sin[i]), float32(b[i]*cos[i]) + float32(a[i]*sin[i]).",
		names("a", "b"), names("a", "b", "cos", "sin"), nil, func(in, _ []V) []V {
			a, b, c, s := in[0], in[1], in[2], in[3]
			return []V{t.sub(t.mul(a, c), t.mul(b, s)), t.add(t.mul(b, c), t.mul(a, s))}
		})
}

func expKernels(t *target) {
	mapped(t, "exp", "dst, x []float32", "dst[i] = Exp1(x[i]).", names("dst"), names("x"), nil,
		func(in, s []V) []V { return []V{t.exp(in[0])} })

	summed(t, "sumExp", "x []float32, scale, shift float32", "the stated sum of Exp1(float32(x[i]*scale) - shift).",
		names("x"), names("scale", "shift"), func(in, s []V) V { return t.exp(t.sub(t.mul(in[0], s[0]), s[1])) })

	k := begin(t, "expSum", "func(dst, x []float32, scale, shift float32) float32", "dst",
		"dst[i] = Exp1(float32(x[i]*scale) - shift) and returns their stated sum.", "dst", "x")
	scale, shift := k.scalar("scale"), k.scalar("shift")
	l := k.lanes()
	k.each(func() {
		e := k.exp(k.sub(k.mul(k.load("x"), scale), shift))
		k.store(e, "dst")
		k.accumulate(e, l)
	})
	k.total(l)
}

func normKernels(t *target) {
	xhat := func(x, mean, rstd V) V { return t.mul(t.sub(x, mean), rstd) }
	mapped(t, "normalize", "dst, x []float32, mean, rstd float32", "dst[i] = float32(x[i]-mean) * rstd.",
		names("dst"), names("x"), names("mean", "rstd"), func(in, s []V) []V { return []V{xhat(in[0], s[0], s[1])} })
	mapped(t, "normGainBackward", "dgain, dy, x []float32, mean, rstd float32",
		"dgain[i] += float32(dy[i] * float32(float32(x[i]-mean)*rstd)).", names("dgain"), names("dgain", "dy", "x"), names("mean", "rstd"),
		func(in, s []V) []V { return []V{t.add(in[0], t.mul(in[1], xhat(in[2], s[0], s[1])))} })
	mapped(t, "rmsNormBackward", "dx, dy, x []float32, rstd, c float32",
		"dx[i] = rstd * float32(dy[i]-float32(x[i]*c)).", names("dx"), names("dy", "x"), names("rstd", "c"),
		func(in, s []V) []V { return []V{t.mul(t.sub(in[0], t.mul(in[1], s[1])), s[0])} })
	mapped(t, "rmsNormGainBackward", "dx, dy, x, gain []float32, rstd, c float32",
		"dx[i] = rstd * float32(float32(dy[i]*gain[i])-float32(x[i]*c)).", names("dx"), names("dy", "x", "gain"), names("rstd", "c"),
		func(in, s []V) []V { return []V{t.mul(t.sub(t.mul(in[0], in[2]), t.mul(in[1], s[1])), s[0])} })
	mapped(t, "layerNormBackward", "dx, w, x []float32, mean, rstd, a, b float32",
		"dx[i] = rstd * float32(float32(w[i]-a)-float32(float32(float32(x[i]-mean)*rstd)*b)).",
		names("dx"), names("w", "x"), names("mean", "rstd", "a", "b"), func(in, s []V) []V {
			h := xhat(in[1], s[0], s[1])
			return []V{t.mul(t.sub(t.sub(in[0], s[2]), t.mul(h, s[3])), s[1])}
		})
}

// siluSlope returns s*(1+v*(1-s)).
func (t *target) siluSlope(v, s V) V {
	one := t.constant(f32(1))
	return t.mul(t.add(t.mul(t.sub(one, s), v), one), s)
}

func activationKernels(t *target) {
	const k0, k1, k2 = 1.5957691216057308, 0.07135481627159225, 0.21406444881477676
	onePlusExp := func(x V) V { return t.add(t.exp(t.neg(x)), f32(1)) }
	geluArg := func(v, z V) V { return t.mul(t.add(t.mul(z, f32(k1)), f32(k0)), v) }
	type fn = func(in, s []V) []V
	forward := func(name, goLoop string, f func(x V) V) {
		mapped(t, name, "dst, x []float32", goLoop, names("dst"), names("x"), nil, fn(func(in, _ []V) []V { return []V{f(in[0])} }))
	}
	backward := func(name, goLoop string, f func(dy, x V) V) {
		mapped(t, name, "dx, dy, x []float32", goLoop, names("dx"), names("dy", "x"), nil,
			fn(func(in, _ []V) []V { return []V{f(in[0], in[1])} }))
	}

	forward("relu", "dst[i] = relu1(x[i]).", t.reluOf)
	backward("reluBackward", "dx[i] = dy[i] where x[i] > 0, else +0.", func(dy, x V) V {
		zero := t.vec()
		VPXORX(t, zero)
		return t.keep(dy, x, greaterThan, zero)
	})
	forward("relu2", "dst[i] = r*r with r = relu1(x[i]).", func(x V) V { r := t.reluOf(x); return t.mul(r, r) })
	backward("relu2Backward", "dx[i] = dy[i] * float32(r+r) with r = relu1(x[i]).", func(dy, x V) V {
		r := t.reluOf(x)
		return t.mul(dy, t.add(r, r))
	})
	forward("silu", "siluGeneric.", func(x V) V { return t.div(x, onePlusExp(x)) })
	backward("siluBackward", "siluBackwardGeneric.", func(dy, x V) V {
		s := t.div(t.constant(f32(1)), onePlusExp(x))
		return t.mul(dy, t.siluSlope(x, s))
	})
	forward("gelu", "geluGeneric.", func(x V) V { return t.div(x, onePlusExp(geluArg(x, t.mul(x, x)))) })
	backward("geluBackward", "geluBackwardGeneric.", func(dy, x V) V {
		z := t.mul(x, x)
		one := t.constant(f32(1))
		s := t.div(one, onePlusExp(geluArg(x, z)))
		d := t.add(t.mul(z, f32(k2)), f32(k0))
		slope := t.add(t.mul(t.mul(t.mul(x, s), t.sub(t.constant(f32(1)), s)), d), s)
		return t.mul(dy, slope)
	})
	mapped(t, "swiglu", "dst, gate, up []float32", "swigluGeneric.", names("dst"), names("gate", "up"), nil,
		func(in, _ []V) []V { return []V{t.mul(t.div(in[0], onePlusExp(in[0])), in[1])} })
	mapped(t, "swigluBackward", "dgate, dup, dy, gate, up []float32", "swigluBackwardGeneric.",
		names("dgate", "dup"), names("dy", "gate", "up"), nil, func(in, _ []V) []V {
			dy, g, up := in[0], in[1], in[2]
			u := t.mul(dy, up)
			e := onePlusExp(g)
			dup := t.mul(dy, t.div(g, e))
			return []V{t.mul(u, t.siluSlope(g, t.div(t.constant(f32(1)), e))), dup}
		})
}

func lossKernels(t *target) {
	grad := func(e V, s []V) V { return t.mul(t.sub(t.mul(e, s[0]), s[1]), s[2]) }
	mapped(t, "probGrad", "dst, e []float32, inv, u, scale float32", "dst[i] = float32(float32(e[i]*inv)-u) * scale.",
		names("dst"), names("e"), names("inv", "u", "scale"), func(in, s []V) []V { return []V{grad(in[0], s)} })
	mapped(t, "probGradAdd", "dst, x []float32, shift, inv, u, scale float32", "probGradAddGeneric.",
		names("dst"), names("dst", "x"), names("shift", "inv", "u", "scale"),
		func(in, s []V) []V { return []V{t.add(in[0], grad(t.exp(t.sub(in[1], s[0])), s[1:]))} })
	mapped(t, "klGradAdd", "dst, x, p []float32, scale, shift, inv, factor float32", "klGradAddGeneric.",
		names("dst"), names("dst", "x", "p"), names("scale", "shift", "inv", "factor"), func(in, s []V) []V {
			e := t.exp(t.sub(t.mul(in[1], s[0]), s[1]))
			return []V{t.add(in[0], t.mul(t.sub(t.mul(e, s[2]), in[2]), s[3]))}
		})
	summed(t, "klSum", "x, p []float32, scale, lse float32",
		"the stated sum of p[i]*(Log1(p[i])-(x[i]*scale-lse)), terms with p[i] < 2^-126 left out.",
		names("x", "p"), names("scale", "lse"), func(in, s []V) V {
			p := in[1]
			term := t.mul(t.sub(t.log(p), t.sub(t.mul(in[0], s[0]), s[1])), p)
			return t.keep(term, p, notLessThan, bits(0x00800000))
		})
}

func optimKernels(t *target) {
	k := begin(t, "adamW", "func(p, g, m, v []float32, c *[10]float32)", "p", "adamWGeneric.", "p", "g", "m", "v")
	c := Load(Param("c"), GP64())
	coef := func(i int) V {
		d := t.vec()
		VBROADCASTSS(Mem{Base: c, Disp: 4 * i}, d)
		return d
	}
	gradScale, beta1, beta2, rest1, rest2 := coef(0), coef(1), coef(2), coef(3), coef(4)
	k.each(func() {
		g := t.mul(k.load("g"), gradScale)
		m := t.add(t.mul(k.load("m"), beta1), t.mul(g, rest1))
		v := t.add(t.mul(k.load("v"), beta2), t.mul(t.mul(g, rest2), g))
		k.store(m, "m")
		k.store(v, "v")
		d := t.mul(v, coef(6))
		VSQRTPS(d, d)
		VADDPS(coef(7), d, d)
		step := t.mul(t.div(t.mul(m, coef(5)), d), coef(8))
		k.store(t.sub(t.mul(k.load("p"), coef(9)), step), "p")
	})
	asm.Ret()
}

func reductionKernels(t *target) {
	summed(t, "sum", "x []float32", "the stated sum of x[i].", names("x"), nil, func(in, s []V) V { return in[0] })
	summed(t, "dot", "x, y []float32", "the stated sum of float32(x[i]*y[i]).", names("x", "y"), nil,
		func(in, s []V) V { return t.mul(in[0], in[1]) })
	summed(t, "dot3", "x, y, z []float32", "the stated sum of float32(float32(x[i]*y[i])*z[i]).", names("x", "y", "z"), nil,
		func(in, s []V) V { return t.mul(t.mul(in[0], in[1]), in[2]) })
	summed(t, "sumSquaresCentered", "x []float32, mean float32", "the stated sum of float32(d*d), d = x[i]-mean.", names("x"), names("mean"),
		func(in, s []V) V { d := t.sub(in[0], s[0]); return t.mul(d, d) })
	summed(t, "dotCentered", "w, x []float32, mean, rstd float32", "the stated sum of float32(w[i]*float32(float32(x[i]-mean)*rstd)).",
		names("w", "x"), names("mean", "rstd"),
		func(in, s []V) V { return t.mul(t.mul(t.sub(in[1], s[0]), s[1]), in[0]) })

	k := begin(t, "sumSquares64", "func(x []float32) float64", "x", "sumSquares64Generic.", "x")
	l0, l1 := k.lanes(), k.lanes()
	k.each(func() {
		v, high, d := k.load("x"), XMM(), YMM()
		VEXTRACTF128(Imm(1), v, high)
		VCVTPS2PD(v.AsX(), d)
		VMULPD(d, d, d)
		VADDPD(d, l0, l0)
		d = YMM()
		VCVTPS2PD(high, d)
		VMULPD(d, d, d)
		VADDPD(d, l1, l1)
	})
	VADDPD(l1, l0, l0)
	s, u := XMM(), XMM()
	VEXTRACTF128(Imm(1), l0, s)
	VADDPD(s, l0.AsX(), s)
	VUNPCKHPD(s, s, u)
	VADDSD(u, s, s)
	k.ret(s)

	k = begin(t, "addLanes", "func(l *[8]float32, x []float32)", "x", "l[i%8] += x[i].", "x")
	lp := Load(Param("l"), GP64())
	l := YMM()
	VMOVUPS(Mem{Base: lp}, l)
	k.each(func() { k.accumulate(k.load("x"), l) })
	VMOVUPS(l, Mem{Base: lp})
	asm.Ret()

	k = begin(t, "absMax", "func(x []float32) float32", "x", "absMaxGeneric.", "x")
	m, abs := k.lanes(), t.constant(bits(0x7fffffff))
	k.each(func() { VPMAXSD(t.and(k.load("x"), abs), m, m) })
	a, b := XMM(), XMM()
	VEXTRACTI128(Imm(1), m, a)
	VPMAXSD(a, m.AsX(), a)
	VPSHUFD(Imm(0x4e), a, b)
	VPMAXSD(b, a, a)
	VPSHUFD(Imm(0xb1), a, b)
	VPMAXSD(b, a, a)
	k.ret(a)

	// VMAXPS returns its second source, here the maximum so far, when the first is NaN.
	k = begin(t, "max", "func(x []float32) float32", "x", "maxGeneric.", "x")
	least := f32(float32(math.Inf(-1)))
	m = t.constant(least)
	k.each(func() {
		v := k.load("x")
		if k.tail {
			inf := t.constant(least)
			VBLENDVPS(k.mask, v, inf, v)
		}
		VMAXPS(m, v, m)
	})
	a, b = XMM(), XMM()
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

// VPXORX zeroes a register of either width.
func VPXORX(t *target, v V) {
	if t.wide() {
		VPXORD(v, v, v)
		return
	}
	VXORPS(v, v, v)
}
