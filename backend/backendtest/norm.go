package backendtest

import (
	"math"

	"gorgonia.org/tensor"

	"mito/kernels/ref"
)

const normEps = 1e-5

// normCases are both norms, forward and backward, the latter also with dx in the place of dy and added to.
func normCases(n, c int) []Case {
	bytes := 8 * float64(n*c)
	cs := []Case{
		{Op: "RMSNorm", Size: sized(n, c), Bytes: bytes, build: func(e *env) *trial { return rmsNorm(e, n, c) }},
		{Op: "LayerNorm", Size: sized(n, c), Bytes: bytes, build: func(e *env) *trial { return layerNorm(e, n, c, true) }},
		{Op: "LayerNorm", Size: sized("nobias", n, c), Bytes: bytes, build: func(e *env) *trial { return layerNorm(e, n, c, false) }},
	}
	for _, form := range []string{"f64", "inplace", "add"} {
		cs = append(cs,
			Case{Op: "RMSNormBackward", Size: sized(form, n, c), Bytes: 1.5 * bytes, build: func(e *env) *trial {
				return rmsNormBackward(e, n, c, form)
			}},
			Case{Op: "LayerNormBackward", Size: sized(form, n, c), Bytes: 1.5 * bytes, build: func(e *env) *trial {
				return layerNormBackward(e, n, c, form)
			}},
		)
	}
	return cs
}

func rmsNorm(e *env, n, c int) *trial {
	x, g := e.normal(n*c), e.normal(c)
	// Half of the relative error of the mean square, then a root, an inverse and, for y, two products.
	y := out{name: "y", t: e.noAct(n, c), tol: tolerance{c: 4 + lanes(c)/2}}
	rstd := out{name: "rstd", t: e.empty(n), tol: tolerance{c: 2 + lanes(c)/2}}
	for r := range n {
		row, s := ref.RMSNorm(widen(x[r*c:][:c]), widen(g), normEps)
		y.want, rstd.want = append(y.want, row...), append(rstd.want, s)
	}
	return trialOf(func(t []*tensor.Dense) error { return e.b.RMSNorm(t[0], t[1], t[2], t[3], normEps) },
		to(y), to(rstd), from("x", e.stream(x, n, c)), from("gain", e.f32(g)))
}

func layerNorm(e *env, n, c int, withBias bool) *trial {
	x, g, bv := e.normal(n*c), e.normal(c), e.normal(c)
	y := out{name: "y", t: e.noAct(n, c), tol: tolerance{c: 6 + lanes(c)/2}}
	mean := out{name: "mean", t: e.empty(n), tol: tolerance{c: 2, size: even(1)}} // a sum of random signs and a quotient
	rstd := out{name: "rstd", t: e.empty(n), tol: tolerance{c: 3 + lanes(c)/2}}
	bias := e.f32(bv)
	var b64 []float64
	if withBias {
		b64 = widen(bv)
	} else {
		bias = nil
	}
	// With one channel x-mean is a rounding error, which rstd = 1/√eps enlarges.
	if c == 1 {
		y.tol.size = even(1 / 3e-3)
	}
	for r := range n {
		row, m, s := ref.LayerNorm(widen(x[r*c:][:c]), widen(g), b64, normEps)
		y.want, mean.want, rstd.want = append(y.want, row...), append(mean.want, m), append(rstd.want, s)
	}
	return trialOf(func(t []*tensor.Dense) error { return e.b.LayerNorm(t[0], t[1], t[2], t[3], t[4], t[5], normEps) },
		to(y), to(mean), to(rstd), from("x", e.stream(x, n, c)), from("gain", e.f32(g)), from("bias", bias).orNil())
}

// rowSums are sums over rows, one chain an element, with the sizes of their terms.
type rowSums struct{ want, abs []float64 }

func newRowSums(start []float32) *rowSums {
	s := &rowSums{want: widen(start)}
	for _, v := range s.want {
		s.abs = append(s.abs, math.Abs(v))
	}
	return s
}

func (s *rowSums) add(row []float64) {
	for i, v := range row {
		s.want[i] += v
		s.abs[i] += math.Abs(v)
	}
}

// into sets what o must be; a term is off by rounded roundings itself.
func (s *rowSums) into(o *out, rounded float64) {
	o.want, o.tol = s.want, tolerance{c: signed + rounded, size: at(s.abs)}
}

// normGradient is where the gradient of a norm's input goes, and that of its output.
type normGradient struct {
	dx    out
	dy    *tensor.Dense
	start []float32 // of dx, where that is added to
}

// gradient makes them in one of three forms: "f64", "inplace", or "add" where dx is added to.
func (e *env) gradient(d []float32, form string, shape ...int) (g normGradient) {
	if form == "inplace" {
		g.dx, g.dy = e.dst("dx", d, true, shape...)
		return g
	}
	g.dy, g.dx = e.act(d, shape...), out{name: "dx", t: e.noStream(shape...)}
	if form == "add" {
		g.start = e.normal(len(d))
		g.dx.start = g.start
	}
	return g
}

// finish adds what dx holds before, and gives the size of terms up to which errors count.
func (g *normGradient) finish(dx *out, terms float64) {
	for i, v := range g.start {
		dx.want[i] += float64(v)
	}
	dx.tol = tolerance{c: 8, size: even(terms)} // where terms cancel they still had this size
}

func rmsNormBackward(e *env, n, c int, form string) *trial {
	x, g, d, start := e.normal(n*c), e.normal(c), e.normal(n*c), e.normal(c)
	grads := e.gradient(d, form, n, c)
	dx, dy := grads.dx, grads.dy
	dgain := out{name: "dgain", t: e.empty(c), start: start}
	sums := newRowSums(start)
	rstd := make([]float32, n)
	terms := 0.0
	for r := range n {
		row := widen(x[r*c:][:c])
		_, s := ref.RMSNorm(row, nil, normEps)
		rstd[r] = float32(s)
		a, b := ref.RMSNormBackward(widen(d[r*c:][:c]), row, widen(g), normEps)
		dx.want = append(dx.want, a...)
		terms = max(terms, s)
		sums.add(b)
	}
	grads.finish(&dx, terms)
	sums.into(&dgain, 1)
	tr := trialOf(func(t []*tensor.Dense) error {
		return e.b.RMSNormBackward(t[0], t[1], t[2], t[3], t[4], t[5], form == "add")
	},
		to(dx), to(dgain), from("dy", dy), from("x", e.stream(x, n, c)), from("gain", e.f32(g)), from("rstd", e.f32(rstd)))
	tr.refuse("dy in the place of what is added to", func() error {
		t := tr.tensors
		return e.b.RMSNormBackward(dy, t[1], dy, t[3], t[4], t[5], true)
	})
	return tr
}

func layerNormBackward(e *env, n, c int, form string) *trial {
	x, g, d, start := e.normal(n*c), e.normal(c), e.normal(n*c), e.normal(c)
	grads := e.gradient(d, form, n, c)
	dx, dy := grads.dx, grads.dy
	dgain := out{name: "dgain", t: e.empty(c), start: start}
	dbias := out{name: "dbias", t: e.empty(c), start: start}
	gains, biases := newRowSums(start), newRowSums(start)
	mean, rstd := make([]float32, n), make([]float32, n)
	terms := 0.0
	for r := range n {
		row := widen(x[r*c:][:c])
		_, m, s := ref.LayerNorm(row, nil, nil, normEps)
		mean[r], rstd[r] = float32(m), float32(s)
		a, b, bb := ref.LayerNormBackward(widen(d[r*c:][:c]), row, widen(g), normEps)
		dx.want = append(dx.want, a...)
		terms = max(terms, s)
		gains.add(b)
		biases.add(bb)
	}
	grads.finish(&dx, terms)
	gains.into(&dgain, 2)
	biases.into(&dbias, 0)
	bias := from("dbias", nil)
	if form != "inplace" {
		bias = to(dbias)
	}
	tr := trialOf(func(t []*tensor.Dense) error {
		return e.b.LayerNormBackward(t[0], t[1], t[2], t[3], t[4], t[5], t[6], t[7], form == "add")
	},
		to(dx), to(dgain), bias.orNil(), from("dy", dy), from("x", e.stream(x, n, c)), from("gain", e.f32(g)),
		from("mean", e.f32(mean)), from("rstd", e.f32(rstd)))
	tr.refuse("dy in the place of what is added to", func() error {
		t := tr.tensors
		return e.b.LayerNormBackward(dy, t[1], nil, dy, t[4], t[5], t[6], t[7], true)
	})
	return tr
}
