package qat

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"mito/backend"
	_ "mito/backend/cpu"
	_ "mito/backend/cuda"
	"mito/engine/arch"
	"mito/engine/compress/quant"
	"mito/engine/model"
	"mito/engine/student"
)

func small() arch.Config {
	return arch.Config{
		ModelType: arch.ModelType, VocabSize: 37, HiddenSize: 40, IntermediateSize: 70, Layers: 2, Heads: 4, KVHeads: 2, HeadDim: 6,
		Context: 24, Activation: arch.ActReLU2, Norm: arch.NormRMS, NormEps: 1e-5, Position: arch.PositionRoPE, RoPETheta: 100, TieEmbeddings: true,
	}
}

// configs covers every option, with sizes that leave tails.
func configs() map[string]arch.Config {
	all := map[string]arch.Config{"edge": small()}
	add := func(name string, change func(c *arch.Config)) {
		c := small()
		change(&c)
		all[name] = c
	}
	add("gpt2", func(c *arch.Config) {
		c.Norm, c.Position, c.Activation, c.KVHeads = arch.NormLayer, arch.PositionLearned, arch.ActGELU, 4
		c.AttentionBias, c.MLPBias = true, true
	})
	add("llama", func(c *arch.Config) { c.Activation, c.TieEmbeddings = arch.ActSwiGLU, false })
	add("layernorm with rope", func(c *arch.Config) { c.Norm, c.Activation = arch.NormLayer, arch.ActReLU })
	add("ple", func(c *arch.Config) { c.PLEDim = 20 })
	add("ple and gate", func(c *arch.Config) { c.PLEDim, c.Activation, c.MLPBias = 33, arch.ActSwiGLU, true })
	add("qk-norm and window", func(c *arch.Config) { c.QKNorm, c.Window, c.KVHeads = true, 5, 1 })
	add("uneven", func(c *arch.Config) {
		c.SetLayers([]arch.Layer{{Heads: 2, KVHeads: 1, IntermediateSize: 64, Window: 7}, {Heads: 3, KVHeads: 3, IntermediateSize: 20, Scale: 1}})
	})
	return all
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func eachBackend(t *testing.T, f func(t *testing.T, b backend.Backend)) {
	for _, name := range backend.Names() {
		t.Run(name, func(t *testing.T) {
			b, _, err := backend.Open(name, backend.Options{Threads: 2})
			if errors.Is(err, backend.ErrUnavailable) {
				t.Skip(err)
			}
			check(t, err)
			t.Cleanup(func() { check(t, b.Close()) })
			f(t, b)
		})
	}
}

// rounded is a model in training whose passes round.
func rounded(t *testing.T, b backend.Backend, c arch.Config, rules string) (*model.Model, *Rounding) {
	t.Helper()
	list, err := quant.ParseRules(rules)
	check(t, err)
	r, err := New(c, list)
	check(t, err)
	m, err := model.Build(b, c, model.Options{Grads: true, Rounding: r})
	check(t, err)
	t.Cleanup(func() { check(t, m.Close()) })
	check(t, m.Initialize(3, model.Init{Std: 0.3, FanIn: 1}))
	check(t, r.Begin(m, func(p *model.Param, v []float32) error { return b.Upload(p.Value, v) }))
	return m, r
}

const rows, tokens = 2, 19

func batch(t *testing.T, m *model.Model, seed uint64) (*model.Activations, []int32) {
	t.Helper()
	a, err := m.NewActivations(rows, tokens, true)
	check(t, err)
	t.Cleanup(func() { check(t, a.Close()) })
	rng := rand.New(rand.NewPCG(seed, 1))
	ids, places := make([]int32, rows*tokens), make([]int32, rows*tokens)
	for i := range ids {
		ids[i], places[i] = int32(rng.IntN(m.Config.VocabSize)), int32(i%tokens)
	}
	check(t, backend.First(m.Backend().Upload(a.Inputs, ids), m.Backend().Upload(a.Positions, places)))
	return a, ids
}

func logits(t *testing.T, m *model.Model, a *model.Activations) []float32 {
	t.Helper()
	check(t, m.Forward(a))
	out := make([]float32, rows*tokens*m.Config.VocabSize)
	check(t, m.Backend().Download(out, a.Logits))
	return out
}

// The logits of the forward pass of a training step are bitwise those of the student that ships, for every architecture and
// width, after a step too.
func TestLogitsAreTheStudents(t *testing.T) {
	eachBackend(t, func(t *testing.T, b backend.Backend) {
		for name, c := range configs() {
			for _, rules := range []string{"8", "mlp.*=4,attn.*=ternary,embed=6"} {
				t.Run(name+" "+rules, func(t *testing.T) {
					m, r := rounded(t, b, c, rules)
					a, ids := batch(t, m, 5)
					for step := range 2 {
						if step > 0 {
							descend(t, m, r, a, 0.01)
						}
						got := logits(t, m, a)
						w, _, err := r.Student(m, m.Params.Value)
						check(t, err)
						s, err := student.New(w, student.Options{})
						check(t, err)
						session, err := s.NewSession(rows)
						check(t, err)
						for row := range rows {
							check(t, session.Score(row, ids[row*tokens:][:tokens], func(i int, want []float32) error {
								have := got[(row*tokens+i)*c.VocabSize:][:c.VocabSize]
								for j := range want {
									if math.Float32bits(want[j]) != math.Float32bits(have[j]) {
										t.Fatalf("step %d, sequence %d, token %d: logit %d is %v in training and %v in the student", step, row, i, j, have[j], want[j])
									}
								}
								return nil
							}))
						}
					}
				})
			}
		}
	})
}

// Numbers that are too small for a student are 0 in training too.
func TestTinyNumbers(t *testing.T) {
	b, _, err := backend.Open("cpu", backend.Options{Threads: 1})
	check(t, err)
	m, r := rounded(t, b, configs()["gpt2"], "8")
	for _, name := range []string{"model.norm.bias", "model.layers.0.mlp.up_proj.bias", "model.norm.weight"} {
		p := m.Params.Lookup(name)
		v := make([]float32, p.Size())
		for i := range v {
			v[i] = 1e-20
		}
		check(t, b.Upload(p.Value, v))
	}
	check(t, r.Refresh(m))
	_, _, err = r.Student(m, m.Params.Value)
	check(t, err)
	v := make([]float32, m.Config.HiddenSize)
	check(t, b.Download(v, m.Params.Lookup("model.norm.bias").Value))
	if slices.Max(v) != 0 {
		t.Errorf("a bias is %v", v[0])
	}
}

// gradients runs a forward and a backward pass and completes the gradients.
func gradients(t *testing.T, m *model.Model, r *Rounding, a *model.Activations) {
	t.Helper()
	check(t, m.Forward(a))
	d := make([]float32, rows*tokens*m.Config.VocabSize)
	rng := rand.New(rand.NewPCG(8, 8))
	for i := range d {
		d[i] = float32(rng.NormFloat64()) / rows / tokens
	}
	check(t, backend.First(m.ZeroGrad(), m.Backend().Upload(a.DLogits, d), m.Backward(a), m.FinishGrad(), r.Finish(m)))
}

// descend moves the parameters against their gradients.
func descend(t *testing.T, m *model.Model, r *Rounding, a *model.Activations, rate float32) {
	t.Helper()
	gradients(t, m, r, a)
	v, g := make([]float32, m.Params.Length()), make([]float32, m.Params.Length())
	check(t, backend.First(m.Backend().Download(v, m.Params.Value), m.Backend().Download(g, m.Params.Grad)))
	for i := range v {
		v[i] -= rate * g[i]
	}
	check(t, backend.First(m.Backend().Upload(m.Params.Value, v), r.Refresh(m)))
}

// Logits up to a token do not change by a bit with the tokens behind it.
func TestNoScaleSeesALaterToken(t *testing.T) {
	b, _, err := backend.Open("cpu", backend.Options{Threads: 1})
	check(t, err)
	for name, c := range configs() {
		m, _ := rounded(t, b, c, "4")
		a, ids := batch(t, m, 5)
		before := logits(t, m, a)
		const at = 9
		for i := at + 1; i < tokens; i++ {
			ids[i] = (ids[i] + 1) % int32(c.VocabSize)
		}
		check(t, b.Upload(a.Inputs, ids))
		after := logits(t, m, a)
		if !slices.Equal(before[:(at+1)*c.VocabSize], after[:(at+1)*c.VocabSize]) {
			t.Errorf("%s: logits depend on later tokens", name)
		}
		if slices.Equal(before[(at+1)*c.VocabSize:tokens*c.VocabSize], after[(at+1)*c.VocabSize:tokens*c.VocabSize]) {
			t.Errorf("%s: the change changed nothing", name)
		}
	}
}

// While it is off, nothing differs from a model without rounding but the last digits of the rotary tables; where there are none,
// not a bit.
func TestOff(t *testing.T) {
	b, _, err := backend.Open("cpu", backend.Options{Threads: 1})
	check(t, err)
	c := configs()["gpt2"]
	r, err := New(c, nil)
	check(t, err)
	run := func(o model.Options) ([]float32, []float32) {
		o.Grads = true
		m, err := model.Build(b, c, o)
		check(t, err)
		defer func() { check(t, m.Close()) }()
		check(t, m.Initialize(3, model.Init{Std: 0.3, FanIn: 1}))
		a, _ := batch(t, m, 5)
		gradients(t, m, r, a)
		var grads []float32
		for _, p := range m.Params.List {
			g := make([]float32, p.Size())
			check(t, b.Download(g, p.Grad))
			grads = append(grads, g...)
		}
		out := make([]float32, rows*tokens*c.VocabSize)
		check(t, b.Download(out, a.Logits))
		return out, grads
	}
	l1, g1 := run(model.Options{})
	l2, g2 := run(model.Options{Rounding: r})
	if !slices.Equal(l1, l2) || !slices.Equal(g1, g2) {
		t.Error("a rounding that is off changes a pass")
	}
}

// The gradients of weights, scales and integers are those of the package's equations, whose left sides are here computed one
// weight at a time; weights beyond the largest code get none.
func TestGradients(t *testing.T) {
	b, _, err := backend.Open("cpu", backend.Options{Threads: 1})
	check(t, err)
	for _, rules := range []string{"8", "3"} {
		m, r := rounded(t, b, small(), rules)
		x := r.matrices[3]
		// A weight far outside, and scales that clip.
		w, u := make([]float32, x.Rows*x.Cols), make([]float32, x.Rows)
		check(t, backend.First(b.Download(w, x.weight.Value), b.Download(u, x.scale.Value)))
		w[7] *= 100
		u[1] -= 1
		check(t, backend.First(b.Upload(x.weight.Value, w), b.Upload(x.scale.Value, u), r.Refresh(m)))
		a, _ := batch(t, m, 5)
		check(t, m.Forward(a))
		d := make([]float32, rows*tokens*m.Config.VocabSize)
		for i := range d {
			d[i] = float32(i%7-3) / 100
		}
		check(t, backend.First(m.ZeroGrad(), b.Upload(a.DLogits, d), m.Backward(a), m.FinishGrad()))
		raw := make([]float32, len(w))
		check(t, b.Download(raw, x.weight.Grad))
		check(t, r.Finish(m))
		dw, du := make([]float32, len(w)), make([]float32, len(u))
		check(t, backend.First(b.Download(dw, x.weight.Grad), b.Download(du, x.scale.Grad)))
		clipped, n := 0, len(x.groups)/x.Rows
		for row := range x.Rows {
			want := 0.0
			for i := range x.Cols {
				at := row*x.Cols + i
				group := 0
				if n > 1 {
					group = i / 32
				}
				step := math.Exp(float64(u[row])) * float64(x.groups[row*n+group])
				code := float64(w[at]) / step
				most := float64(quant.MaxCode(x.bits))
				if math.Abs(code) > most+0.5 {
					clipped++
					want += float64(raw[at]) * step * math.Copysign(most, code)
					if dw[at] != 0 {
						t.Fatalf("%s: weight %d is clipped and has a gradient of %v", rules, at, dw[at])
					}
					continue
				}
				want += float64(raw[at]) * step * (math.Round(code) - code)
				if dw[at] != raw[at] {
					t.Fatalf("%s: weight %d has a gradient of %v, want %v", rules, at, dw[at], raw[at])
				}
			}
			if math.Abs(want-float64(du[row])) > 1e-4*(1e-3+math.Abs(want)) {
				t.Errorf("%s: row %d: gradient of the scale %v, want %v", rules, row, du[row], want)
			}
		}
		if clipped < 2 {
			t.Errorf("%s: %d weights are clipped", rules, clipped)
		}
	}
}

// What a rounding begins with is what quantising the model gives, and a student of codes can be stored.
func TestBeginsWithTheSearch(t *testing.T) {
	b, _, err := backend.Open("cpu", backend.Options{Threads: 1})
	check(t, err)
	c := small()
	m, r := rounded(t, b, c, "8")
	w, report, err := r.Student(m, m.Params.Value)
	check(t, err)
	host, err := m.Host()
	check(t, err)
	want, _, err := quant.Quantize(t.Context(), c, host.Tensors, quant.Options{})
	check(t, err)
	_ = w.Visit(func(name string, x *student.Matrix, _ *[]float32) error {
		return want.Visit(func(other string, y *student.Matrix, _ *[]float32) error {
			if name != other || x == nil {
				return nil
			}
			differ := 0
			for i := range x.Q {
				if x.Q[i] != y.Q[i] {
					differ++
				}
			}
			for i := range x.Scale { // the logarithm and back
				if math.Abs(float64(x.Scale[i]/y.Scale[i]-1)) > 1e-6 {
					t.Errorf("%s: scale %v, want %v", name, x.Scale[i], y.Scale[i])
				}
			}
			if differ > len(x.Q)/1000 {
				t.Errorf("%s: %d of %d weights differ from the search's", name, differ, len(x.Q))
			}
			return nil
		})
	})
	if len(report.Matrices) != len(r.matrices) {
		t.Errorf("the report has %d matrices", len(report.Matrices))
	}
	m, r = rounded(t, b, c, "mlp.*=4,attn.*=ternary")
	w, report, err = r.Student(m, m.Params.Value)
	check(t, err)
	_, err = quant.Contents(w, report)
	check(t, err)
}
