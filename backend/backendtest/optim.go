package backendtest

import (
	"math"

	"gorgonia.org/tensor"

	"mito/backend"
	"mito/kernels/ref"
)

// optimCases are the optimisers on a matrix [n,c].
func optimCases(n, c int) []Case {
	var cs []Case
	for _, decay := range []float32{0, 0.1} {
		cs = append(cs, Case{Op: "AdamW", Size: sized("decay", decay, n, c), Bytes: 28 * float64(n*c), build: func(e *env) *trial {
			return adamW(e, n, c, decay, 0)
		}})
	}
	cs = append(cs, Case{Op: "AdamW", Size: sized("part", n, c), Bytes: 28 * float64(n*c), build: func(e *env) *trial {
		return adamW(e, n, c, 0.1, (n*c+2)/3)
	}})
	for _, maxNorm := range []float32{0, 0.5, 1e6} {
		cs = append(cs, Case{Op: "ClipScale", Size: sized("max", maxNorm, n, c), build: func(e *env) *trial { return clipScale(e, maxNorm) }})
	}
	for _, weight := range []float32{0, 0.01, 1} {
		cs = append(cs, Case{Op: "Lerp", Size: sized("weight", weight, n, c), Bytes: 12 * float64(n*c), build: func(e *env) *trial {
			return lerp(e, n, c, weight, false)
		}})
	}
	cs = append(cs, Case{Op: "Lerp", Size: sized("step", n, c), Bytes: 12 * float64(n*c), build: func(e *env) *trial {
		return lerp(e, n, c, 0.5, true)
	}})
	s := float64(min(n, c))
	flops := 10 * (4*float64(n*c)*s + 2*s*s*s) // of two matrices
	for _, nesterov := range []bool{true, false} {
		name := "nesterov"
		if !nesterov {
			name = "plain"
		}
		cs = append(cs, Case{Op: "Muon", Size: sized(name, n, c), Flops: flops, Bytes: 40 * float64(n*c), build: func(e *env) *trial {
			return muon(e, n, c, nesterov)
		}})
	}
	return cs
}

// scalars makes the tensor of the step's scalars after t steps.
func (e *env) scalars(t int, beta1, beta2 float32) ([]float32, *tensor.Dense) {
	s := make([]float32, backend.StepLen)
	s[backend.StepLR], s[backend.StepMuonLR], s[backend.StepGradScale] = 0.01, 0.02, 0.5
	s[backend.StepBias1] = float32(1 - math.Pow(float64(beta1), float64(t)))
	s[backend.StepBias2] = float32(1 - math.Pow(float64(beta2), float64(t)))
	s[backend.StepLossScale], s[backend.StepEMA] = 0.375, 0.3
	backend.PutSeed(s, 0xfedcba9876543210)
	return s, e.f32(s)
}

// stepIf is scalars, or what the absence of a step means: factors of 1, a seed of 0 and no tensor.
func (e *env) stepIf(with bool) ([]float32, *tensor.Dense) {
	if with {
		return e.scalars(1, 0.9, 0.99)
	}
	s := make([]float32, backend.StepLen)
	s[backend.StepLossScale], s[backend.StepEMA] = 1, 1
	return s, nil
}

func adamW(e *env, n, c int, decay float32, noDecay int) *trial {
	const t = 3
	good := backend.AdamWArgs{Beta1: 0.9, Beta2: 0.99, Eps: 1e-8, WeightDecay: decay, NoDecay: noDecay}
	p, g, m, v := e.normal(n*c), e.normal(n*c), e.normal(n*c), e.positive(n*c)
	s, st := e.scalars(t, good.Beta1, good.Beta2)
	// p takes its decay and the step, each rounded at p's size; m and v are two products and their sum.
	po, mo, vo := out{name: "p", start: p, tol: tolerance{c: 3}}, out{name: "m", start: m, tol: tolerance{c: 3}}, out{name: "v", start: v, tol: tolerance{c: 3}}
	for i := range p {
		decay := decay
		if i >= n*c-noDecay {
			decay = 0
		}
		a, b, d := ref.AdamW(float64(p[i]), float64(g[i])*float64(s[backend.StepGradScale]), float64(m[i]), float64(v[i]),
			float64(s[backend.StepLR]), float64(good.Beta1), float64(good.Beta2), float64(good.Eps), float64(decay), t)
		po.want, mo.want, vo.want = append(po.want, a), append(mo.want, b), append(vo.want, d)
	}
	for _, o := range []*out{&po, &mo, &vo} {
		o.t = e.empty(n, c)
	}
	gt := e.f32(g, n, c)
	tr := trialOf(func(t []*tensor.Dense) error { return e.b.AdamW(t[0], t[1], t[2], t[3], t[4], good) },
		to(po), from("g", gt), to(mo), to(vo), from("step", st))
	refuse := func(what string, spoil func(a *backend.AdamWArgs)) {
		tr.refuse(what, func() error {
			args := good
			spoil(&args)
			return e.b.AdamW(po.t, gt, mo.t, vo.t, st, args)
		})
	}
	for _, bad := range badShares {
		refuse("beta1", func(a *backend.AdamWArgs) { a.Beta1 = bad })
		refuse("beta2", func(a *backend.AdamWArgs) { a.Beta2 = bad })
	}
	refuse("eps", func(a *backend.AdamWArgs) { a.Eps = 0 })
	for _, bad := range []int{-1, n*c + 1} {
		refuse("elements without decay", func(a *backend.AdamWArgs) { a.NoDecay = bad })
	}
	return tr
}

// badShares do not lie in [0,1].
var badShares = []float32{-0.5, 1.5, float32(math.NaN())}

func clipScale(e *env, maxNorm float32) *trial {
	start, st := e.scalars(1, 0.9, 0.99)
	want := widen(start)
	sumsq := float32(7)
	want[backend.StepGradScale] = 1
	if norm := math.Sqrt(float64(sumsq)); maxNorm > 0 && norm > float64(maxNorm) {
		want[backend.StepGradScale] = float64(maxNorm) / norm
	}
	o := out{name: "step", t: st, start: start, want: want, tol: tolerance{c: 2, size: even(0)}} // a root and a quotient
	qt := e.f32([]float32{sumsq})
	tr := trialOf(func(t []*tensor.Dense) error { return e.b.ClipScale(t[0], t[1], maxNorm) }, to(o), from("sumsq", qt))
	for _, bad := range []float32{-1, float32(math.NaN())} {
		tr.refuse("norm", func() error { return e.b.ClipScale(o.t, qt, bad) })
	}
	return tr
}

func lerp(e *env, n, c int, weight float32, withStep bool) *trial {
	x, start := e.normal(n*c), e.normal(n*c)
	s, step := e.stepIf(withStep)
	o := out{name: "dst", t: e.empty(n, c), start: start, want: widen(start)}
	way := make([]float64, n*c)
	for i, v := range x {
		way[i] = float64(weight) * float64(s[backend.StepEMA]) * (float64(v) - o.want[i])
		o.want[i] += way[i]
	}
	o.tol = tolerance{c: 3, size: func(i int) float64 { return math.Abs(way[i]) }} // a difference, a product, a sum
	if withStep {
		o.tol.c++ // and the weight
	}
	xt := e.f32(x, n, c)
	tr := trialOf(func(t []*tensor.Dense) error { return e.b.Lerp(t[0], t[1], weight, t[2]) },
		to(o), from("x", xt), from("step", step).orNil())
	for _, bad := range badShares {
		tr.refuse("weight", func() error { return e.b.Lerp(o.t, xt, bad, nil) })
	}
	return tr
}

// muon updates a matrix [n,c] and behind it, with a gap, one [c,n].
func muon(e *env, n, c int, nesterov bool) *trial {
	const gap = 5
	args := backend.MuonArgs{Momentum: 0.95, Nesterov: nesterov, Steps: 5, WeightDecay: 0.1}
	size := n * c
	matrices := []backend.MuonMatrix{{Offset: 0, M: n, N: c, LRScale: 1.25}, {Offset: size + gap, M: c, N: n, LRScale: 0.75}}
	all := 2*size + gap
	p, g, buf := e.normal(all), e.normal(all), e.normal(all)
	s, st := e.scalars(1, 0.9, 0.99)
	lr := float64(s[backend.StepMuonLR])
	po, bo := out{name: "p", t: e.empty(all), start: p, want: widen(p)}, out{name: "buf", t: e.empty(all), start: buf, want: widen(buf)}
	scaled := widen(g)
	for i := range scaled {
		scaled[i] *= float64(s[backend.StepGradScale])
	}
	update := make([]float64, all)
	for _, m := range matrices {
		lo, hi := m.Offset, m.Offset+size
		pw, bw := ref.Muon(widen(p[lo:hi]), scaled[lo:hi], widen(buf[lo:hi]), m.M, m.N, args.Steps, float64(args.Momentum), lr,
			float64(m.LRScale), float64(args.WeightDecay), nesterov)
		copy(po.want[lo:hi], pw)
		copy(bo.want[lo:hi], bw)
		for i := lo; i < hi; i++ {
			update[i] = po.want[i] - (1-lr*float64(args.WeightDecay))*float64(p[i])
		}
	}
	// Two products and their sum.
	bo.tol = tolerance{c: 2, size: func(i int) float64 { return math.Abs(scaled[i]) + math.Abs(float64(args.Momentum*buf[i])) }}
	// The step is lr·lrScale times a matrix whose singular values are near one; it is what the tolerance is for. Small
	// singular values grow by 3.4445 in each of five iterations, and rounding errors with them: 485 times.
	po.tol = tolerance{c: 485, size: even(rms(update)), f: 64, factors: even(rms(update))}
	plan, err := backend.PlanMuon(matrices...)
	if err != nil {
		e.tb.Fatal(err)
	}
	gt, work, table := e.f32(g, all), e.empty(plan.Work()), e.i32(plan.Table(), len(matrices), backend.MuonColumns)
	tr := trialOf(func(t []*tensor.Dense) error { return e.b.Muon(t[0], t[1], t[2], t[3], t[4], t[5], plan, args) },
		to(po), from("g", gt), to(bo), from("work", work).ofAnySize(), from("table", table), from("step", st))
	call := func(plan *backend.MuonPlan, args backend.MuonArgs) error {
		return e.b.Muon(po.t, gt, bo.t, work, table, st, plan, args)
	}
	refuse := func(what string, spoil func(a *backend.MuonArgs)) {
		tr.refuse(what, func() error {
			args := args
			spoil(&args)
			return call(plan, args)
		})
	}
	for _, bad := range badShares {
		refuse("momentum", func(a *backend.MuonArgs) { a.Momentum = bad })
	}
	refuse("steps", func(a *backend.MuonArgs) { a.Steps = 0 })
	tr.refuse("plan", func() error { return call(nil, args) })
	return tr
}
