package lora

import (
	"errors"
	"math/rand/v2"
	"testing"

	"mito/backend"
	_ "mito/backend/cpu"
	_ "mito/backend/cuda"
	"mito/engine/arch"
	"mito/engine/model"
)

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// eachBackend runs f on every backend that this binary has and this machine can run.
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

// small is a configuration with odd sizes and tied embeddings.
func small() arch.Config {
	return arch.Config{
		ModelType: arch.ModelType, VocabSize: 11, HiddenSize: 10, IntermediateSize: 14, Layers: 3, Heads: 4, KVHeads: 2, HeadDim: 6,
		Context: 24, Activation: arch.ActReLU2, Norm: arch.NormRMS, NormEps: 1e-5, Position: arch.PositionRoPE, RoPETheta: 100, TieEmbeddings: true,
	}
}

func swiglu() arch.Config {
	c := small()
	c.Activation, c.TieEmbeddings, c.MLPBias, c.QKNorm = arch.ActSwiGLU, false, true, true
	return c
}

func perLayer() arch.Config {
	c := small()
	c.PLEDim = 5
	return c
}

// weights draws those of a configuration.
func weights(c arch.Config, seed uint64) *model.Weights {
	r := rand.New(rand.NewPCG(seed, 1))
	w := &model.Weights{Config: c, Tensors: map[string][]float32{}}
	for _, ts := range c.Tensors() {
		v := make([]float32, ts.Size())
		for i := range v {
			v[i] = float32(r.NormFloat64() * 0.3)
		}
		w.Tensors[ts.Name] = v
	}
	return w
}

// adapter draws one with both factors.
func adapter(t testing.TB, c Config, a arch.Config, seed uint64) *Adapter {
	t.Helper()
	modules, err := c.Modules(a)
	check(t, err)
	r := rand.New(rand.NewPCG(seed, 2))
	values := map[string][]float32{}
	for _, m := range modules {
		for _, f := range []struct {
			name string
			n    int
		}{{suffixA, c.Rank * m.Cols}, {suffixB, c.Rank * m.Rows}} {
			v := make([]float32, f.n)
			for i := range v {
				v[i] = float32(r.NormFloat64() * 0.3)
			}
			values[m.Name+f.name] = v
		}
	}
	ad, err := c.FromTensors(modules, "", values)
	check(t, err)
	return ad
}

// built is a frozen model with the products of a configuration.
func built(t testing.TB, b backend.Backend, w *model.Weights, c *Config) *model.Model {
	t.Helper()
	modules, err := c.Modules(w.Config)
	check(t, err)
	m, err := model.Build(b, w.Config, model.Options{Grads: true, Trained: func(string) bool { return false }, Product: c.Products(modules)})
	check(t, err)
	t.Cleanup(func() { check(t, m.Close()) })
	check(t, m.Load(w))
	return m
}

// put gives a model the values of an adapter.
func put(t testing.TB, m *model.Model, a *Adapter) {
	t.Helper()
	values := a.Values()
	for _, p := range m.Params.Added {
		check(t, m.Backend().Upload(p.Value, values[p.Name]))
	}
}

const rows, time = 2, 8

// batch fills activations with rows of tokens, from row on.
func batch(t testing.TB, m *model.Model, a *model.Activations, row int) {
	t.Helper()
	n := a.Batch * a.Time
	in, target, at, weight := make([]int32, n), make([]int32, n), make([]int32, n), make([]float32, n)
	for i := range n {
		g := row*a.Time + i
		in[i], target[i], at[i], weight[i] = int32(g*7%m.Config.VocabSize), int32((g*5+3)%m.Config.VocabSize), int32(i%a.Time), 1
	}
	b := m.Backend()
	check(t, backend.First(b.Upload(a.Inputs, in), b.Upload(a.Targets, target), b.Upload(a.Positions, at), b.Upload(a.Weights, weight)))
	a.Row = int64(row * a.Time)
}

func logits(t testing.TB, m *model.Model) []float32 {
	t.Helper()
	a, err := m.NewActivations(rows, time, false)
	check(t, err)
	defer a.Close()
	batch(t, m, a, 0)
	check(t, m.Forward(a))
	out := make([]float32, rows*time*m.Config.VocabSize)
	check(t, m.Backend().Download(out, a.Logits))
	return out
}

func all() []string { return []string{"*_proj"} }
