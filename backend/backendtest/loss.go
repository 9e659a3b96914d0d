package backendtest

import (
	"math"
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
	for _, f := range []crossEntropyForm{
		{name: "plain", grad: true}, {name: "smooth", smoothing: 0.1, grad: true}, {name: "value"},
		{name: "inplace", smoothing: 0.05, grad: true, alias: true}, {name: "step", grad: true, step: true},
	} {
		cs = append(cs, Case{Op: "CrossEntropy", Size: sized(f.name, n, v), Bytes: 8 * float64(n*v), build: func(e *env) *trial {
			return crossEntropy(e, f, n, v)
		}})
	}
	return cs
}

type crossEntropyForm struct {
	name              string
	smoothing         float32
	grad, alias, step bool
}

func crossEntropy(e *env, f crossEntropyForm, n, v int) *trial {
	logits, targets, w := e.normal(n*v), e.ids(n, v), e.weights(n)
	s, step := e.stepIf(f.step)
	args := backend.CrossEntropyArgs{Smoothing: f.smoothing, Scale: 0.125}
	scale := 0.125 * float64(s[backend.StepLossScale])
	for i := range targets {
		if w[i] == 0 {
			targets[i] = int32(v) + 7 // allowed where the weight is zero
		}
	}
	// The log of a sum has the sum's relative error for an absolute one; the largest logit, its sum with that, the
	// target's logit and the weight round numbers of a few units.
	loss := out{name: "loss", t: e.empty(n), want: make([]float64, n), tol: tolerance{c: 4 + lanes(v), size: even(1)}}
	d, lt := e.dst("dlogits", logits, f.alias, n, v)
	d.want = make([]float64, n*v)
	probs := make([]float64, n*v) // the larger of probability and target, scaled: what is subtracted
	for r := range n {
		if w[r] == 0 {
			continue
		}
		row := widen(logits[r*v:][:v])
		loss.want[r] = float64(w[r]) * ref.CrossEntropy(row, int(targets[r]), float64(f.smoothing))
		for i, g := range ref.CrossEntropyGrad(row, int(targets[r]), float64(f.smoothing)) {
			d.want[r*v+i] = scale * float64(w[r]) * g
		}
		for i, p := range ref.Softmax(row, 1) {
			probs[r*v+i] = scale * float64(w[r]) * p
		}
		probs[r*v+int(targets[r])] = scale * float64(w[r])
	}
	d.tol = tolerance{c: 8 + lanes(v), size: at(probs)} // those of Softmax
	call := func(dlogits, logits, targets, step *tensor.Dense, smoothing float32, t ...*tensor.Dense) error {
		args := args
		args.Step, args.Smoothing = step, smoothing
		return e.b.CrossEntropy(t[0], dlogits, logits, targets, t[1], args)
	}
	grad := from("dlogits", nil)
	if f.grad {
		grad = to(d)
	}
	wt, tt := e.f32(w), e.i32(targets)
	logitsArg := from("logits", lt)
	logitsArg.any = !f.grad
	tr := trialOf(func(t []*tensor.Dense) error { return call(t[1], t[2], t[3], t[5], f.smoothing, t[0], t[4]) },
		to(loss), grad.orNil(), logitsArg, from("targets", tt), from("weights", wt), from("step", step).orNil())
	for _, bad := range []float32{-0.1, 1, float32(math.NaN())} {
		tr.refuse("smoothing", func() error { return call(nil, lt, tt, nil, bad, loss.t, wt) })
	}
	all := e.f32(e.positive(n))
	tr.refuseIDs(e, make([]int32, n), v, func(ids *tensor.Dense) error { return call(nil, lt, ids, nil, 0, loss.t, all) })
	return tr
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
	args := backend.DistillArgs{Temperature: temp, Scale: 0.25}
	scale := 0.25 * float64(s[backend.StepLossScale])
	kl := out{name: "kl", t: e.empty(n), want: make([]float64, n)}
	d := out{name: "dlogits", t: e.empty(n, v), start: start, want: widen(start)}
	probs := make([]float32, 0, n*v)
	ids := make([]int32, 0, n*k)
	top, tail := make([]float32, 0, n*k), make([]float32, n)
	size, logs := absolute(start), make([]float64, n)
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
		for i, q := range ref.Softmax(row, 1/float64(temp)) {
			logs[r] += float64(w[r]*temp*temp*p[i]) * (math.Abs(math.Log(float64(p[i]))) + math.Abs(math.Log(q)))
			d.want[r*v+i] += scale * float64(w[r]) * grad[i]
			size[r*v+i] += scale * float64(w[r]) * float64(temp) * (q + float64(p[i]))
		}
	}
	// The logs of two probabilities, each rounded and one with the error of a sum in it, are subtracted and averaged.
	kl.tol = tolerance{c: 3 + lanes(v)/2, size: at(logs)}
	d.tol = tolerance{c: 4 + lanes(v)/2, size: at(size)} // those of Softmax, against what is there and the teacher's, which have none
	lt, wt := e.f32(logits, n, v), e.f32(w)
	with := func(step *tensor.Dense, temp float32) backend.DistillArgs {
		args := args
		args.Step, args.Temperature = step, temp
		return args
	}
	if k == 0 {
		pt := e.f32(probs, n, v)
		tr := trialOf(func(t []*tensor.Dense) error { return e.b.Distill(t[0], t[1], t[2], t[3], t[4], with(t[5], temp)) },
			to(kl), to(d), from("logits", lt), from("probs", pt), from("weights", wt), from("step", step).orNil())
		for _, bad := range badTemperatures {
			tr.refuse("temperature", func() error { return e.b.Distill(kl.t, d.t, lt, pt, wt, with(nil, bad)) })
		}
		tr.refuse("dlogits in the place of logits", func() error { return e.b.Distill(kl.t, lt, lt, pt, wt, with(nil, temp)) })
		return tr
	}
	pt, tt := e.f32(top, n, k), e.f32(tail)
	p := from("probs", pt)
	p.any = k == v // a column more is too many, whatever ids holds
	tr := trialOf(func(t []*tensor.Dense) error {
		return e.b.DistillTopK(t[0], t[1], t[2], t[3], t[4], t[5], t[6], with(t[7], temp))
	},
		to(kl), to(d), from("logits", lt), from("ids", e.i32(ids, n, k)), p, from("tail", tt), from("weights", wt), from("step", step).orNil())
	for _, bad := range badTemperatures {
		tr.refuse("temperature", func() error {
			return e.b.DistillTopK(kl.t, d.t, lt, e.i32(ids, n, k), pt, tt, wt, with(nil, bad))
		})
	}
	tr.refuseIDs(e, ids, v, func(ids *tensor.Dense) error {
		return e.b.DistillTopK(kl.t, d.t, lt, ids, pt, tt, wt, with(nil, temp))
	}, n, k)
	return tr
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
	one := func(op string, f func(x float64) float64, tol float64, call func(e *env) func(dst, x *tensor.Dense) error) Case {
		return Case{Op: op, Size: sized(n, c), Bytes: 4 * float64(n*c), build: func(e *env) *trial {
			x := e.normal(n * c)
			start := []float32{0.75}
			want, abs := 0.75, 0.75
			for _, v := range x {
				t := f(float64(v))
				want += t
				abs += math.Abs(t)
			}
			o := out{name: "dst", t: e.empty(1), start: start, want: []float64{want}, tol: tolerance{c: tol, size: even(abs)}}
			reduce := call(e)
			return trialOf(func(t []*tensor.Dense) error { return reduce(t[0], t[1]) }, to(o), from("x", e.f32(x, n, c)).ofAnySize())
		}}
	}
	return []Case{
		// Signs are random and the sum is kept in many lanes: what is left is the last rounding and a few before it.
		one("Sum", func(x float64) float64 { return x }, 1, func(e *env) func(dst, x *tensor.Dense) error { return e.b.Sum }),
		// In float64, rounded and added once.
		one("SumSquares", func(x float64) float64 { return x * x }, 2, func(e *env) func(dst, x *tensor.Dense) error {
			return e.b.SumSquares
		}),
	}
}
