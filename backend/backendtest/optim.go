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
			return adamW(e, n, c, decay)
		}})
	}
	for _, maxNorm := range []float32{0, 0.5, 1e6} {
		cs = append(cs, Case{Op: "ClipScale", Size: sized("max", maxNorm, n, c), build: func(e *env) *trial { return clipScale(e, maxNorm) }})
	}
	for _, f := range []struct {
		weight float32
		step   bool
	}{{weight: 0}, {weight: 0.01}, {weight: 1}, {0.5, true}} {
		name := "weight"
		if f.step {
			name = "step"
		}
		cs = append(cs, Case{Op: "Lerp", Size: sized(name, f.weight, n, c), Bytes: 12 * float64(n*c), build: func(e *env) *trial {
			x, start := e.normal(n*c), e.normal(n*c)
			o := out{name: "dst", t: e.empty(n, c), start: start, want: widen(start)}
			s, step := e.stepIf(f.step)
			for i, v := range x {
				o.want[i] += float64(f.weight) * float64(s[backend.StepEMA]) * (float64(v) - o.want[i])
			}
			xt := e.f32(x, n, c)
			return &trial{run: func() error { return e.b.Lerp(o.t, xt, f.weight, step) }, outs: []out{o}}
		}})
	}
	s := float64(min(n, c))
	flops := 5 * (4*float64(n*c)*s + 2*s*s*s)
	for _, nesterov := range []bool{true, false} {
		name := "nesterov"
		if !nesterov {
			name = "plain"
		}
		cs = append(cs, Case{Op: "Muon", Size: sized(name, n, c), Flops: flops, Bytes: 20 * float64(n*c), build: func(e *env) *trial {
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

func adamW(e *env, n, c int, decay float32) *trial {
	const t = 3
	args := backend.AdamWArgs{Beta1: 0.9, Beta2: 0.99, Eps: 1e-8, WeightDecay: decay}
	p, g, m, v := e.normal(n*c), e.normal(n*c), e.normal(n*c), e.positive(n*c)
	s, st := e.scalars(t, args.Beta1, args.Beta2)
	size := even(1)
	po, mo, vo := out{name: "p", start: p, size: size}, out{name: "m", start: m, size: size}, out{name: "v", start: v, size: size}
	for i := range p {
		a, b, d := ref.AdamW(float64(p[i]), float64(g[i])*float64(s[backend.StepGradScale]), float64(m[i]), float64(v[i]),
			float64(s[backend.StepLR]), float64(args.Beta1), float64(args.Beta2), float64(args.Eps), float64(decay), t)
		po.want, mo.want, vo.want = append(po.want, a), append(mo.want, b), append(vo.want, d)
	}
	for _, o := range []*out{&po, &mo, &vo} {
		o.t = e.empty(n, c)
	}
	gt := e.f32(g, n, c)
	return &trial{run: func() error { return e.b.AdamW(po.t, gt, mo.t, vo.t, st, args) }, outs: []out{po, mo, vo}}
}

func clipScale(e *env, maxNorm float32) *trial {
	start, st := e.scalars(1, 0.9, 0.99)
	want := widen(start)
	sumsq := float32(7)
	want[backend.StepGradScale] = 1
	if norm := math.Sqrt(float64(sumsq)); maxNorm > 0 && norm > float64(maxNorm) {
		want[backend.StepGradScale] = float64(maxNorm) / norm
	}
	o := out{name: "step", t: st, start: start, want: want, size: even(0)}
	qt := e.f32([]float32{sumsq})
	return &trial{run: func() error { return e.b.ClipScale(o.t, qt, maxNorm) }, outs: []out{o}}
}

func muon(e *env, n, c int, nesterov bool) *trial {
	args := backend.MuonArgs{Momentum: 0.95, Nesterov: nesterov, Steps: 5, WeightDecay: 0.1, LRScale: 1.25}
	p, g, buf := e.normal(n*c), e.normal(n*c), e.normal(n*c)
	s, st := e.scalars(1, 0.9, 0.99)
	scaled := widen(g)
	for i := range scaled {
		scaled[i] *= float64(s[backend.StepGradScale])
	}
	lr := float64(s[backend.StepMuonLR])
	po, bo := out{name: "p", t: e.empty(n, c), start: p}, out{name: "buf", t: e.empty(n, c), start: buf}
	po.want, bo.want = ref.Muon(widen(p), scaled, widen(buf), n, c, args.Steps, float64(args.Momentum), lr,
		float64(args.LRScale), float64(args.WeightDecay), nesterov)
	// The step is lr·lrScale times a matrix whose singular values are near one; it is what the tolerance is for.
	update := make([]float64, n*c)
	for i := range update {
		update[i] = po.want[i] - (1-lr*float64(args.WeightDecay))*float64(p[i])
	}
	po.size = even(rms(update))
	gt, work := e.f32(g, n, c), e.empty(backend.MuonWork(n, c))
	return &trial{run: func() error { return e.b.Muon(po.t, gt, bo.t, work, st, args) }, outs: []out{po, bo}}
}
