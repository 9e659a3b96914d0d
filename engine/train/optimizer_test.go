package train

import (
	"errors"
	"math"
	"testing"

	"mito/engine/data"
	"mito/engine/model"
	"mito/kernels/kerneltest"
	"mito/kernels/ref"
)

// expected follows a run in float64: every parameter, its moments and its average.
type expected struct {
	o                    Options
	p, first, second, mv map[string][]float64
}

func follow(tr *Trainer) *expected {
	e := &expected{
		o: tr.o, p: map[string][]float64{}, first: map[string][]float64{}, second: map[string][]float64{}, mv: map[string][]float64{},
	}
	for _, q := range tr.Model.Params.List {
		e.first[q.Name], e.second[q.Name] = make([]float64, q.Size()), make([]float64, q.Size())
		e.p[q.Name], e.mv[q.Name] = widen(q.Value.Float32s()), widen(q.Value.Float32s())
	}
	return e
}

func widen(x []float32) []float64 {
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = float64(v)
	}
	return y
}

// step takes the step numbered t from 1 with the gradients that the trainer is left with, and returns their norm.
func (e *expected) step(tr *Trainer, t int) (norm float64) {
	grads := map[string][]float64{}
	for _, q := range tr.Model.Params.List {
		grads[q.Name] = widen(q.Grad.Float32s())
		for _, g := range grads[q.Name] {
			norm += g * g
		}
	}
	norm = math.Sqrt(norm)
	scale := 1.0
	if e.o.ClipNorm > 0 && norm > e.o.ClipNorm {
		scale = e.o.ClipNorm / norm
	}
	rate, o := e.o.Rate(t-1), e.o
	weight := 1 - math.Min(o.EMA, float64(t)/float64(t+9))
	for _, q := range tr.Model.Params.List {
		p, g := e.p[q.Name], grads[q.Name]
		for i := range g {
			g[i] *= scale
		}
		decay := o.WeightDecay
		if q.Kind == model.Vector {
			decay = 0
		}
		if o.Optimizer == Muon && q.Kind == model.Matrix {
			m, n := q.Shape[0], q.Shape[1]
			wide := math.Sqrt(math.Max(1, float64(m)/float64(n)))
			e.p[q.Name], e.first[q.Name] = ref.Muon(p, g, e.first[q.Name], m, n, o.NSSteps, o.Momentum, o.MuonLR*rate, wide, decay, true)
		} else {
			first, second := e.first[q.Name], e.second[q.Name]
			for i := range p {
				p[i], first[i], second[i] = ref.AdamW(p[i], g[i], first[i], second[i], o.LR*rate, o.Beta1, o.Beta2, o.Eps, decay, t)
			}
		}
		for i, v := range e.p[q.Name] {
			e.mv[q.Name][i] += weight * (v - e.mv[q.Name][i])
		}
	}
	return norm
}

// Steps are those of the optimisers' papers on the gradient that was computed: clipping by the norm of all of it, bias
// corrections, schedule, decay on matrices and tables only, Muon's own learning rate, and the moving average.
func TestStepsAgainstReference(t *testing.T) {
	for _, optimizer := range []string{AdamW, Muon} {
		for _, clip := range []float64{0, 0.05} {
			o := testOptions(6)
			o.Optimizer, o.ClipNorm, o.EMA, o.Warmup = optimizer, clip, 0.2, 2
			tr := newTrainer(t, 2, o)
			want := follow(tr)
			for step := 1; step <= o.Steps; step++ {
				r := steps(t, tr, 1)
				norm := want.step(tr, step)
				if math.Abs(r.GradNorm-norm) > 1e-5*norm || clip > 0 && norm < 2*clip {
					t.Fatalf("%s: norm %v, want %v, clipped at %v", optimizer, r.GradNorm, norm, clip)
				}
				ships, err := tr.Weights()
				if err != nil {
					t.Fatal(err)
				}
				for i, q := range tr.Model.Params.List {
					// An update is of about the learning rate in each element; its rounding is 2⁻²⁰ of that after a few
					// operations, and a few units in the last place of the parameter for every step. Newton and Schulz's
					// iterations enlarge roundings 485 times.
					tolerance := math.Pow(2, -18) * o.LR
					if optimizer == Muon {
						tolerance = 485 * 32 * kerneltest.Eps * o.MuonLR
					}
					limit := func(i int) float64 {
						return float64(step) * (tolerance + 4*kerneltest.Eps*math.Abs(want.p[q.Name][i]))
					}
					average, err := ships[i].F32()
					if err != nil {
						t.Fatal(err)
					}
					if err := errors.Join(
						kerneltest.Close(q.Value.Float32s(), want.p[q.Name], limit),
						kerneltest.Close(average, want.mv[q.Name], limit),
					); err != nil {
						t.Fatalf("%s, clipped at %v, step %d: %s: %v", optimizer, clip, step, q.Name, err)
					}
				}
			}
		}
	}
}

// The loss that a step reports is the mean cross-entropy over the weights of the whole batch, smoothed as asked.
func TestReportedLoss(t *testing.T) {
	for _, smoothing := range []float64{0, 0.3} {
		o := testOptions(1)
		o.Dropout, o.Smoothing, o.MicroBatches = 0, smoothing, 3
		tr := newTrainer(t, 1, o)
		a, err := tr.Model.NewActivations(testRows, testTime, false)
		if err != nil {
			t.Fatal(err)
		}
		var b data.Batch
		if err := errors.Join(
			tr.source.Fill(&b, 0), tr.b.Upload(a.Inputs, b.Inputs), tr.b.Upload(a.Positions, b.Positions), tr.Model.Forward(a),
		); err != nil {
			t.Fatal(err)
		}
		logits := widen(a.Logits.Float32s())
		want := 0.0
		for i, w := range b.Weights {
			want += float64(w) * ref.CrossEntropy(logits[i*testVocab:][:testVocab], int(b.Targets[i]), smoothing)
		}
		want /= b.Weight()
		if got := steps(t, tr, 1).Loss; math.Abs(got-want) > 1e-5 {
			t.Errorf("smoothing %v: loss %v, want %v", smoothing, got, want)
		}
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// still gives the batch of step 0 at every step.
type still struct{ Source }

func (s still) Fill(b *data.Batch, _ int64) error { return s.Source.Fill(b, 0) }

// Dropout draws anew at every step and for every seed, and the same for the same ones.
func TestDropoutOfARun(t *testing.T) {
	losses := func(rate float64, seed uint64) (l [3]float64) {
		o := testOptions(3)
		o.Dropout, o.Seed, o.LR, o.WeightDecay = rate, seed, 1e-30, 0
		tr := trainerOf(t, 1, testConfig(), still{testSource(t)}, nil, o)
		for i := range l {
			l[i] = steps(t, tr, 1).Loss
		}
		return l
	}
	none, one, two := losses(0, 1), losses(0.5, 1), losses(0.5, 2)
	if none[0] != none[1] || none[1] != none[2] {
		t.Fatalf("losses %v without dropout on weights that stay", none)
	}
	all := append(append(one[:], two[:]...), none[0])
	for i, a := range all {
		for _, b := range all[:i] {
			if a == b {
				t.Errorf("two of the steps have one loss: %v and %v, %v without dropout", one, two, none[0])
			}
		}
	}
	if again := losses(0.5, 1); again != one {
		t.Errorf("losses %v, again %v", one, again)
	}
}
