package quant

import (
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"mito/engine/arch"
	"mito/engine/compress/hessian"
	"mito/engine/student"
)

// correlated draws rows of inputs that depend on each other, as a layer's do, and returns their Hessian.
func correlated(rng *rand.Rand, k int) []float64 {
	mix, h := make([]float64, k*k/2+k), make([]float64, k*k)
	for i := range mix {
		mix[i] = rng.NormFloat64()
	}
	x := make([]float64, k)
	for range 4 * k {
		few := make([]float64, len(mix)/k)
		for i := range few {
			few[i] = rng.NormFloat64()
		}
		for i := range x {
			x[i] = 0.3 * rng.NormFloat64()
			for j, v := range few {
				x[i] += v * mix[j*k+i]
			}
		}
		for i := range k {
			for j := range k {
				h[i*k+j] += x[i] * x[j] / float64(4*k)
			}
		}
	}
	return h
}

// GPTQ leaves a smaller error of the product than the search, in every row no larger one, at every width; what it leaves are codes of
// the width.
func TestGPTQ(t *testing.T) {
	for _, k := range []int{7, 33, 96} {
		rng := rand.New(rand.NewPCG(uint64(k), 1))
		h := correlated(rng, k)
		damped := hessian.Damped(h, k)
		weight := make([]float32, k)
		for i := range weight {
			weight[i] = float32(damped[i*k+i])
		}
		for _, bits := range []int{Ternary, 3, 4, 6, 8} {
			const rows = 12
			x := randomRow(rng, rows*k)
			m := student.Matrix{Rows: rows, Cols: k, Q: make([]int8, rows*k), Scale: make([]float32, rows)}
			if err := quantizeMatrix(t.Context(), &m, x, weight, bits, searchRow); err != nil {
				t.Fatal(err)
			}
			var before, after float64
			errs := make([]float64, rows)
			for r := range rows {
				errs[r] = outputError(m.Q[r*k:][:k], x[r*k:][:k], m.Scale[r], damped)
				before += errs[r]
			}
			if err := compensate(t.Context(), &m, x, weight, h, bits); err != nil {
				t.Fatal(err)
			}
			for r := range rows {
				e := outputError(m.Q[r*k:][:k], x[r*k:][:k], m.Scale[r], damped)
				if e > errs[r]*(1+1e-9) {
					t.Errorf("%d columns, %d bits: row %d has an error of %g, the search %g", k, bits, r, e, errs[r])
				}
				after += e
			}
			if k > 7 && after > 0.8*before {
				t.Errorf("%d columns, %d bits: an error of %g, the search leaves %g", k, bits, after, before)
			}
			if bits < 8 {
				if _, err := Contents(weightsOf(m), &Report{Matrices: []MatrixError{{Name: "lm_head", Bits: bits}}}); err != nil && strings.Contains(err.Error(), "no codes") {
					t.Error(err)
				}
			}
		}
	}
}

// weightsOf is no model: only its head is looked at.
func weightsOf(m student.Matrix) *student.Weights { return &student.Weights{Head: m} }

// Clipping at few standard deviations clips, at many nothing.
func TestSigma(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	x := randomRow(rng, 96)
	x[3] = 9
	for _, bits := range []int{4, 8} {
		few, many, plain := make([]int8, 96), make([]int8, 96), make([]int8, 96)
		s := clippedRow(few, x, bits, 2)
		if got := float64(s) * float64(few[3]); got > 5 {
			t.Errorf("%d bits: a weight of 9 is %v", bits, got)
		}
		wide, rtn := clippedRow(many, x, bits, 100), nearestRow(plain, x, nil, bits)
		if wide != rtn {
			t.Errorf("%d bits: scale %v, round to nearest %v", bits, wide, rtn)
		}
	}
	if _, err := Sigma.scaler(-1); !errors.Is(err, ErrMethod) {
		t.Errorf("negative deviations: %v", err)
	}
}

// Smoothing changes no product of a norm with what reads it, and makes their sizes more alike.
func TestSmooth(t *testing.T) {
	for name, c := range configs() {
		tensors := randomTensors(t, c, 3)
		cal := &Calibration{SecondMoment: map[string][]float32{}, Largest: map[string][]float32{}, Hessian: map[string][]float64{}}
		for _, m := range c.Modules() {
			if m.Part.Input() == arch.NoInput {
				continue
			}
			rng := rand.New(rand.NewPCG(uint64(m.Layer+1), uint64(m.Part.Input()))) // what reads one input saw the same
			large, squares, h := make([]float32, m.Cols), make([]float32, m.Cols), make([]float64, m.Cols*m.Cols)
			for i := range large {
				large[i] = float32(math.Exp(rng.NormFloat64()))
				squares[i] = large[i] * large[i] / 4
				h[i*m.Cols+i] = float64(squares[i])
			}
			cal.SecondMoment[m.Name], cal.Largest[m.Name], cal.Hessian[m.Name] = squares, large, h
		}
		out, moved, err := smooth(c, tensors, cal, 0.5)
		if err != nil {
			t.Fatal(err)
		}
		const up, norm = "model.layers.1.mlp.up_proj", "model.layers.1.post_attention_layernorm.weight"
		cols := len(tensors[norm])
		for _, m := range c.Modules() {
			if m.Layer != 1 || m.Part.Input() != arch.NormedMLP {
				continue
			}
			changed, w := 0, m.Weight().Name
			for i, v := range tensors[w] {
				was, is := float64(v)*float64(tensors[norm][i%cols]), float64(out[w][i])*float64(out[norm][i%cols])
				if math.Abs(was-is) > 1e-6*math.Abs(was)+1e-12 {
					t.Fatalf("%s: %s: weight %d times its gain is %v, was %v", name, w, i, is, was)
				}
				if out[w][i] != v {
					changed++
				}
			}
			if changed == 0 {
				t.Errorf("%s: %s: nothing was moved", name, w)
			}
		}
		for i := range cols {
			s := float64(out[norm][i]) / float64(tensors[norm][i])
			if got, want := float64(moved.Largest[up][i]), float64(cal.Largest[up][i])*s; math.Abs(got-want) > 1e-5*want {
				t.Fatalf("%s: largest of channel %d is %v, want %v", name, i, got, want)
			}
			if got, want := moved.Hessian[up][i*cols+i], cal.Hessian[up][i*cols+i]*s*s; math.Abs(got-want) > 1e-5*want {
				t.Fatalf("%s: Hessian of channel %d is %v, want %v", name, i, got, want)
			}
		}
		if _, _, err := smooth(c, tensors, nil, 0.5); !errors.Is(err, ErrMissing) {
			t.Errorf("without a calibration: %v", err)
		}
		if _, _, err := smooth(c, tensors, cal, 1); !errors.Is(err, ErrSmooth) {
			t.Errorf("by a power of 1: %v", err)
		}
	}
}

func TestGPTQNeedsHessians(t *testing.T) {
	c := config0()
	seen := &Samples{}
	seen.Add([]int32{1})
	for _, cal := range []*Calibration{nil, {Samples: seen}} {
		if _, _, err := Quantize(t.Context(), c, randomTensors(t, c, 1), Options{Method: GPTQ, Calibration: cal}); !errors.Is(err, ErrMissing) {
			t.Errorf("gptq without Hessians: %v", err)
		}
	}
}

// Against every choice there is: what Choose takes fits, and costs at most a third more than the best.
func TestChoose(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 6))
	for range 60 {
		var choices []Choice
		for i := range 4 {
			c := Choice{Module: string(rune('a' + i))}
			cost, bytes := 0.0, 100+rng.IntN(200)
			for _, bits := range []int{8, 6, 4, 3} {
				c.Widths = append(c.Widths, Width{bits, bytes * bits / 8, cost})
				cost += rng.Float64() * float64(9-bits)
			}
			choices = append(choices, c)
		}
		const fixed = 50
		budget := fixed + 350 + rng.IntN(300)
		best, smallest := math.Inf(1), math.MaxInt
		var visit func(i, bytes int, cost float64)
		visit = func(i, bytes int, cost float64) {
			if i == len(choices) {
				smallest = min(smallest, bytes)
				if bytes <= budget {
					best = min(best, cost)
				}
				return
			}
			for _, w := range choices[i].Widths {
				visit(i+1, bytes+w.Bytes, cost+w.Cost)
			}
		}
		visit(0, fixed, 0)
		rules, err := Choose(choices, fixed, budget)
		if smallest > budget {
			if !errors.Is(err, ErrBudget) || !strings.Contains(err.Error(), "the weights take") {
				t.Errorf("a budget of %d, the smallest is %d: %v", budget, smallest, err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		bytes, cost := fixed, 0.0
		for i, r := range rules {
			for _, w := range choices[i].Widths {
				if w.Bits == r.Bits {
					bytes, cost = bytes+w.Bytes, cost+w.Cost
				}
			}
		}
		if bytes > budget || cost > best*1.34+1e-9 {
			t.Errorf("%d bytes of %d at a cost of %v, the best is %v", bytes, budget, cost, best)
		}
	}
}
