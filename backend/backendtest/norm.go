package backendtest

import (
	"mito/kernels/ref"
)

const normEps = 1e-5

// normCases are both norms, forward and backward, the latter also with dx in the place of dy.
func normCases(n, c int) []Case {
	bytes := 8 * float64(n*c)
	cs := []Case{
		{Op: "RMSNorm", Size: sized(n, c), Bytes: bytes, build: func(e *env) *trial { return rmsNorm(e, n, c) }},
		{Op: "LayerNorm", Size: sized(n, c), Bytes: bytes, build: func(e *env) *trial { return layerNorm(e, n, c, true) }},
		{Op: "LayerNorm", Size: sized("nobias", n, c), Bytes: bytes, build: func(e *env) *trial { return layerNorm(e, n, c, false) }},
	}
	for _, alias := range []bool{false, true} {
		name := "f64"
		if alias {
			name = "inplace"
		}
		cs = append(cs,
			Case{Op: "RMSNormBackward", Size: sized(name, n, c), Bytes: 1.5 * bytes, build: func(e *env) *trial {
				return rmsNormBackward(e, n, c, alias)
			}},
			Case{Op: "LayerNormBackward", Size: sized(name, n, c), Bytes: 1.5 * bytes, build: func(e *env) *trial {
				return layerNormBackward(e, n, c, !alias, alias)
			}},
		)
	}
	return cs
}

func rmsNorm(e *env, n, c int) *trial {
	x, g := e.normal(n*c), e.normal(c)
	y := out{name: "y", t: e.empty(n, c), k: c}
	rstd := out{name: "rstd", t: e.empty(n), k: c}
	for r := range n {
		row, s := ref.RMSNorm(widen(x[r*c:][:c]), widen(g), normEps)
		y.want, rstd.want = append(y.want, row...), append(rstd.want, s)
	}
	xt, gt := e.f32(x, n, c), e.f32(g)
	return &trial{run: func() error { return e.b.RMSNorm(y.t, rstd.t, xt, gt, normEps) }, outs: []out{y, rstd}}
}

func layerNorm(e *env, n, c int, withBias bool) *trial {
	x, g, bv := e.normal(n*c), e.normal(c), e.normal(c)
	y := out{name: "y", t: e.empty(n, c), k: c}
	mean := out{name: "mean", t: e.empty(n), k: c, size: even(1)}
	rstd := out{name: "rstd", t: e.empty(n), k: c}
	bias := e.f32(bv)
	var b64 []float64
	if withBias {
		b64 = widen(bv)
	} else {
		bias = nil
	}
	// With one channel x-mean is a rounding error, which rstd = 1/√eps enlarges.
	if c == 1 {
		y.size = even(1 / 3e-3)
	}
	for r := range n {
		row, m, s := ref.LayerNorm(widen(x[r*c:][:c]), widen(g), b64, normEps)
		y.want, mean.want, rstd.want = append(y.want, row...), append(mean.want, m), append(rstd.want, s)
	}
	xt, gt := e.f32(x, n, c), e.f32(g)
	return &trial{
		run:  func() error { return e.b.LayerNorm(y.t, mean.t, rstd.t, xt, gt, bias, normEps) },
		outs: []out{y, mean, rstd},
	}
}

func rmsNormBackward(e *env, n, c int, alias bool) *trial {
	x, g, d, start := e.normal(n*c), e.normal(c), e.normal(n*c), e.normal(c)
	dx, dy := e.dst("dx", d, alias, n, c)
	dgain := out{name: "dgain", t: e.empty(c), start: start, want: widen(start), k: n + c, size: even(1)}
	rstd := make([]float32, n)
	terms := 0.0
	for r := range n {
		row := widen(x[r*c:][:c])
		_, s := ref.RMSNorm(row, nil, normEps)
		rstd[r] = float32(s)
		a, b := ref.RMSNormBackward(widen(d[r*c:][:c]), row, widen(g), normEps)
		dx.want = append(dx.want, a...)
		terms = max(terms, s)
		for i := range b {
			dgain.want[i] += b[i]
		}
	}
	dx.k, dx.size = c, even(terms) // where terms cancel they still had this size
	xt, gt, st := e.f32(x, n, c), e.f32(g), e.f32(rstd)
	return &trial{run: func() error { return e.b.RMSNormBackward(dx.t, dgain.t, dy, xt, gt, st) }, outs: []out{dx, dgain}}
}

func layerNormBackward(e *env, n, c int, withBias, alias bool) *trial {
	x, g, d, start := e.normal(n*c), e.normal(c), e.normal(n*c), e.normal(c)
	dx, dy := e.dst("dx", d, alias, n, c)
	dgain := out{name: "dgain", t: e.empty(c), start: start, want: widen(start), k: n + c, size: even(1)}
	dbias := out{name: "dbias", t: e.empty(c), start: start, want: widen(start), k: n, size: even(1)}
	mean, rstd := make([]float32, n), make([]float32, n)
	terms := 0.0
	for r := range n {
		row := widen(x[r*c:][:c])
		_, m, s := ref.LayerNorm(row, nil, nil, normEps)
		mean[r], rstd[r] = float32(m), float32(s)
		a, b, bb := ref.LayerNormBackward(widen(d[r*c:][:c]), row, widen(g), normEps)
		dx.want = append(dx.want, a...)
		terms = max(terms, s)
		for i := range b {
			dgain.want[i] += b[i]
			dbias.want[i] += bb[i]
		}
	}
	dx.k, dx.size = c, even(terms)
	outs := []out{dx, dgain}
	bt := dbias.t
	if withBias {
		outs = append(outs, dbias)
	} else {
		bt = nil
	}
	xt, gt, mt, st := e.f32(x, n, c), e.f32(g), e.f32(mean), e.f32(rstd)
	return &trial{run: func() error { return e.b.LayerNormBackward(dx.t, dgain.t, bt, dy, xt, gt, mt, st) }, outs: outs}
}
