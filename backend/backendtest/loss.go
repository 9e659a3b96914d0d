package backendtest

import (
	"sort"

	"gorgonia.org/tensor"

	"mito/backend"
	"mito/kernels/ref"
)

// weights are loss masks with zeros and fractions among them.
func (e *env) weights(n int) []float32 {
	w := e.positive(n)
	for i := range w {
		if i%3 == 1 {
			w[i] = 0
		}
	}
	return w
}

// lossCases are CrossEntropy with and without smoothing and gradient, and in place of the logits.
func lossCases(n, v int) []Case {
	var cs []Case
	for _, f := range []struct {
		name      string
		smoothing float32
		grad      bool
		alias     bool
		step      bool
	}{
		{name: "plain", grad: true}, {name: "smooth", smoothing: 0.1, grad: true}, {name: "value"},
		{name: "inplace", smoothing: 0.05, grad: true, alias: true}, {name: "step", grad: true, step: true},
	} {
		cs = append(cs, Case{Op: "CrossEntropy", Size: sized(f.name, n, v), Bytes: 8 * float64(n*v), build: func(e *env) *trial {
			logits, targets, w := e.normal(n*v), e.ids(n, v), e.weights(n)
			s, step := e.stepIf(f.step)
			args := backend.CrossEntropyArgs{Smoothing: f.smoothing, Scale: 0.125, Step: step}
			scale := 0.125 * float64(s[backend.StepLossScale])
			for i := range targets {
				if w[i] == 0 {
					targets[i] = int32(v) + 7 // allowed where the weight is zero
				}
			}
			loss := out{name: "loss", t: e.empty(n), want: make([]float64, n), k: v, size: even(1)}
			d, lt := e.dst("dlogits", logits, f.alias, n, v)
			d.want, d.size = make([]float64, n*v), even(scale/4)
			for r := range n {
				if w[r] == 0 {
					continue
				}
				row := widen(logits[r*v:][:v])
				loss.want[r] = float64(w[r]) * ref.CrossEntropy(row, int(targets[r]), float64(f.smoothing))
				for i, g := range ref.CrossEntropyGrad(row, int(targets[r]), float64(f.smoothing)) {
					d.want[r*v+i] = scale * float64(w[r]) * g
				}
			}
			tt, wt, dt := e.i32(targets), e.f32(w), d.t
			outs := []out{loss, d}
			if !f.grad {
				outs, dt = outs[:1], nil
			}
			return &trial{run: func() error { return e.b.CrossEntropy(loss.t, dt, lt, tt, wt, args) }, outs: outs}
		}})
	}
	return cs
}

// distillCases compare with a whole teacher and with its largest probabilities.
func distillCases(n, v int) []Case {
	var cs []Case
	for _, temp := range []float32{1, 2.5} {
		cs = append(cs, Case{Op: "Distill", Size: sized("T", temp, n, v), Bytes: 16 * float64(n*v), build: func(e *env) *trial {
			return distill(e, n, v, 0, temp)
		}})
		for _, k := range []int{1, 5, v} {
			if k > v {
				continue
			}
			cs = append(cs, Case{Op: "DistillTopK", Size: sized("T", temp, "K", k, n, v), Bytes: 12 * float64(n*v), build: func(e *env) *trial {
				return distill(e, n, v, k, temp)
			}})
		}
	}
	return cs
}

// distill is Distill with k 0, else DistillTopK.
func distill(e *env, n, v, k int, temp float32) *trial {
	logits, w, start := e.normal(n*v), e.weights(n), e.normal(n*v)
	for i := range start {
		start[i] *= 0.1
	}
	s, step := e.stepIf(temp != 1)
	args := backend.DistillArgs{Temperature: temp, Scale: 0.25, Step: step}
	scale := 0.25 * float64(s[backend.StepLossScale])
	kl := out{name: "kl", t: e.empty(n), want: make([]float64, n), k: v, size: even(float64(temp * temp))}
	d := out{name: "dlogits", t: e.empty(n, v), start: start, want: widen(start), size: even(scale)}
	probs := make([]float32, 0, n*v)
	ids := make([]int32, 0, n*k)
	top, tail := make([]float32, 0, n*k), make([]float32, n)
	for r := range n {
		row := widen(logits[r*v:][:v])
		p := narrow(ref.Softmax(widen(e.normal(v)), 1/float64(temp)))
		probs = append(probs, p...)
		var value float64
		var grad []float64
		if k == 0 {
			value, grad = ref.KL(row, widen(p), float64(temp)), ref.KLGrad(row, widen(p), float64(temp))
		} else {
			id, q, rest := largest(p, k)
			ids, top, tail[r] = append(ids, id...), append(top, q...), rest
			value = ref.KLTopK(row, id, widen(q), float64(rest), float64(temp))
			grad = ref.KLTopKGrad(row, id, widen(q), float64(rest), float64(temp))
		}
		kl.want[r] = float64(w[r]) * value
		for i, g := range grad {
			d.want[r*v+i] += scale * float64(w[r]) * g
		}
	}
	lt, wt := e.f32(logits, n, v), e.f32(w)
	if k == 0 {
		pt := e.f32(probs, n, v)
		return &trial{run: func() error { return e.b.Distill(kl.t, d.t, lt, pt, wt, args) }, outs: []out{kl, d}}
	}
	it, pt, tt := e.i32(ids, n, k), e.f32(top, n, k), e.f32(tail)
	return &trial{run: func() error { return e.b.DistillTopK(kl.t, d.t, lt, it, pt, tt, wt, args) }, outs: []out{kl, d}}
}

// largest gives the k largest probabilities with their ids, and the mass of the others.
func largest(p []float32, k int) (ids []int32, probs []float32, tail float32) {
	for i := range p {
		ids = append(ids, int32(i))
	}
	sort.Slice(ids, func(i, j int) bool { return p[ids[i]] > p[ids[j]] })
	rest := 0.0
	for i, id := range ids {
		if i < k {
			probs = append(probs, p[id])
		} else {
			rest += float64(p[id])
		}
	}
	return ids[:k], probs, float32(rest)
}

// reduceCases are the sums of a whole tensor.
func reduceCases(n, c int) []Case {
	one := func(op string, f func(x float64) float64, call func(e *env) func(dst, x *tensor.Dense) error) Case {
		return Case{Op: op, Size: sized(n, c), Bytes: 4 * float64(n*c), build: func(e *env) *trial {
			x := e.normal(n * c)
			start := []float32{0.75}
			want, abs := 0.75, 0.75
			for _, v := range x {
				t := f(float64(v))
				want += t
				abs += max(t, -t)
			}
			// Lanes and pairs: a chain of additions is short against the number of terms.
			o := out{name: "dst", t: e.empty(1), start: start, want: []float64{want}, size: even(abs)}
			return simple(o, e.f32(x, n, c), call(e))
		}}
	}
	return []Case{
		one("Sum", func(x float64) float64 { return x }, func(e *env) func(dst, x *tensor.Dense) error { return e.b.Sum }),
		one("SumSquares", func(x float64) float64 { return x * x }, func(e *env) func(dst, x *tensor.Dense) error { return e.b.SumSquares }),
	}
}
