package student

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// edgeConfig is a small configuration of the edge default.
func edgeConfig() Config {
	return Config{
		ModelType: "mito", VocabSize: 37, HiddenSize: 32, IntermediateSize: 64, Layers: 2, Heads: 4, KVHeads: 2, HeadDim: 8,
		Context: 40, Activation: ActReLU2, Norm: NormRMS, NormEps: 1e-5, Position: PositionRoPE, RoPETheta: 10000, TieEmbeddings: true,
	}
}

// configs covers every option of a configuration, with sizes that leave tails.
func configs() map[string]Config {
	out := map[string]Config{"edge": edgeConfig()}
	add := func(name string, f func(c *Config)) {
		c := edgeConfig()
		f(&c)
		out[name] = c
	}
	add("mha", func(c *Config) { c.KVHeads = 4 })
	add("mqa", func(c *Config) { c.KVHeads = 1 })
	add("window", func(c *Config) { c.Window = 5 })
	add("window 1", func(c *Config) { c.Window = 1 })
	add("gelu", func(c *Config) { c.Activation = ActGELU })
	add("relu", func(c *Config) { c.Activation = ActReLU })
	add("qk-norm", func(c *Config) { c.QKNorm = true })
	add("untied", func(c *Config) { c.TieEmbeddings = false })
	add("llama", func(c *Config) { c.Activation, c.TieEmbeddings, c.IntermediateSize = ActSwiGLU, false, 44 })
	add("gpt2", func(c *Config) {
		c.Norm, c.Position, c.Activation = NormLayer, PositionLearned, ActGELU
		c.AttentionBias, c.MLPBias, c.KVHeads = true, true, 4
	})
	add("odd sizes", func(c *Config) {
		c.HiddenSize, c.Heads, c.KVHeads, c.HeadDim, c.IntermediateSize, c.VocabSize = 33, 3, 1, 10, 172, 65
		c.AttentionBias, c.QKNorm, c.Window = true, true, 7
	})
	add("one", func(c *Config) {
		c.HiddenSize, c.Heads, c.KVHeads, c.HeadDim, c.IntermediateSize, c.VocabSize, c.Layers = 1, 1, 1, 1, 1, 2, 1
		c.Position = PositionLearned
	})
	add("class 460K", func(c *Config) {
		c.HiddenSize, c.Heads, c.KVHeads, c.HeadDim, c.IntermediateSize, c.VocabSize, c.Layers = 96, 3, 3, 32, 384, 64, 4
		c.Context = 128
	})
	return out
}

// randomWeights draws weights whose activations stay of order one. Like the runtime it must not fuse products into sums.
func randomWeights(c Config, seed uint64) *Weights {
	rng := rand.New(rand.NewPCG(seed, 7))
	vector := func(n int, mid float32) []float32 {
		v := make([]float32, n)
		for i := range v {
			v[i] = mid + float32(0.2*(rng.Float32()-0.5))
		}
		return v
	}
	matrix := func(rows, cols int, bias bool) Matrix {
		m := Matrix{Rows: rows, Cols: cols, Q: make([]int8, rows*cols), Scale: make([]float32, rows)}
		for i := range m.Q {
			m.Q[i] = int8(rng.IntN(255) - 127)
		}
		for i := range m.Scale {
			m.Scale[i] = 0.0015 * (0.9 + float32(0.2*rng.Float32()))
		}
		if bias {
			m.Bias = vector(rows, 0)
		}
		return m
	}
	norm := func() (g, b []float32) {
		g = vector(c.HiddenSize, 1)
		if c.Norm == NormLayer {
			b = vector(c.HiddenSize, 0)
		}
		return g, b
	}
	w := &Weights{Config: c, Embedding: matrix(c.VocabSize, c.HiddenSize, false)}
	for i := range w.Embedding.Scale {
		w.Embedding.Scale[i] *= 10
	}
	if c.Position == PositionLearned {
		w.Positions = matrix(c.Context, c.HiddenSize, false)
	}
	for range c.Layers {
		var l Layer
		l.Norm1, l.Norm1Bias = norm()
		l.Norm2, l.Norm2Bias = norm()
		l.Query = matrix(c.Heads*c.HeadDim, c.HiddenSize, c.AttentionBias)
		l.Key = matrix(c.KVHeads*c.HeadDim, c.HiddenSize, c.AttentionBias)
		l.Value = matrix(c.KVHeads*c.HeadDim, c.HiddenSize, c.AttentionBias)
		l.Output = matrix(c.HiddenSize, c.Heads*c.HeadDim, c.AttentionBias)
		if c.QKNorm {
			l.QueryNorm, l.KeyNorm = vector(c.HeadDim, 1), vector(c.HeadDim, 1)
		}
		if c.Activation == ActSwiGLU {
			l.Gate = matrix(c.IntermediateSize, c.HiddenSize, c.MLPBias)
		}
		l.Up = matrix(c.IntermediateSize, c.HiddenSize, c.MLPBias)
		l.Down = matrix(c.HiddenSize, c.IntermediateSize, c.MLPBias)
		w.Layers = append(w.Layers, l)
	}
	w.Norm, w.NormBias = norm()
	if !c.TieEmbeddings {
		w.Head = matrix(c.VocabSize, c.HiddenSize, false)
	}
	return w
}

func newModel(t testing.TB, w *Weights, o Options) *Model {
	t.Helper()
	m, err := New(w, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	return m
}

func newSession(t testing.TB, m *Model, batch int) *Session {
	t.Helper()
	s, err := m.NewSession(batch)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func randomTokens(rng *rand.Rand, vocab, n int) []int32 {
	out := make([]int32, n)
	for i := range out {
		out[i] = int32(rng.IntN(vocab))
	}
	return out
}

func eachConfig(t *testing.T, f func(t *testing.T, c Config)) {
	t.Helper()
	for name, c := range configs() {
		t.Run(name, func(t *testing.T) { f(t, c) })
	}
}

func label(format string, a ...any) string { return fmt.Sprintf(format, a...) }
