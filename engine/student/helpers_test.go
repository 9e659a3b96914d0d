package student

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"mito/engine/arch"
)

// edgeConfig is a small configuration of the edge default.
func edgeConfig() arch.Config {
	return arch.Config{
		ModelType: "mito", VocabSize: 37, HiddenSize: 32, IntermediateSize: 64, Layers: 2, Heads: 4, KVHeads: 2, HeadDim: 8,
		Context: 40, Activation: arch.ActReLU2, Norm: arch.NormRMS, NormEps: 1e-5, Position: arch.PositionRoPE, RoPETheta: 10000, TieEmbeddings: true,
	}
}

// configs covers every option of a configuration, with sizes that leave tails.
func configs() map[string]arch.Config {
	out := map[string]arch.Config{"edge": edgeConfig()}
	add := func(name string, f func(c *arch.Config)) {
		c := edgeConfig()
		f(&c)
		out[name] = c
	}
	add("mha", func(c *arch.Config) { c.KVHeads = 4 })
	add("mqa", func(c *arch.Config) { c.KVHeads = 1 })
	add("window", func(c *arch.Config) { c.Window = 5 })
	add("window 1", func(c *arch.Config) { c.Window = 1 })
	add("gelu", func(c *arch.Config) { c.Activation = arch.ActGELU })
	add("relu", func(c *arch.Config) { c.Activation = arch.ActReLU })
	add("qk-norm", func(c *arch.Config) { c.QKNorm = true })
	add("untied", func(c *arch.Config) { c.TieEmbeddings = false })
	add("llama", func(c *arch.Config) { c.Activation, c.TieEmbeddings, c.IntermediateSize = arch.ActSwiGLU, false, 44 })
	add("gpt2", func(c *arch.Config) {
		c.Norm, c.Position, c.Activation = arch.NormLayer, arch.PositionLearned, arch.ActGELU
		c.AttentionBias, c.MLPBias, c.KVHeads = true, true, 4
	})
	add("odd sizes", func(c *arch.Config) {
		c.HiddenSize, c.Heads, c.KVHeads, c.HeadDim, c.IntermediateSize, c.VocabSize = 33, 3, 1, 10, 172, 65
		c.AttentionBias, c.QKNorm, c.Window = true, true, 7
	})
	add("uneven", func(c *arch.Config) {
		c.Layers = 3
		c.SetLayers([]arch.Layer{
			{Heads: 2, KVHeads: 1, IntermediateSize: 64, Window: 5}, {Heads: 6, KVHeads: 3, IntermediateSize: 20, Scale: 1}, {Heads: 3, KVHeads: 3, IntermediateSize: 33},
		})
	})
	add("ple", func(c *arch.Config) { c.PLEDim = 16 })
	add("ple, gpt2", func(c *arch.Config) {
		c.Norm, c.Position, c.Activation, c.PLEDim = arch.NormLayer, arch.PositionLearned, arch.ActGELU, 5
		c.AttentionBias, c.MLPBias, c.KVHeads = true, true, 4
	})
	add("ple, llama, wide", func(c *arch.Config) { c.Activation, c.TieEmbeddings, c.PLEDim = arch.ActSwiGLU, false, 150 })
	add("one", func(c *arch.Config) {
		c.HiddenSize, c.Heads, c.KVHeads, c.HeadDim, c.IntermediateSize, c.VocabSize, c.Layers = 1, 1, 1, 1, 1, 2, 1
		c.Position = arch.PositionLearned
	})
	add("class 460K", func(c *arch.Config) {
		c.HiddenSize, c.Heads, c.KVHeads, c.HeadDim, c.IntermediateSize, c.VocabSize, c.Layers = 96, 3, 3, 32, 384, 64, 4
		c.Context = 128
	})
	return out
}

// randomWeights draws weights whose activations stay of order one. Like the runtime it must not fuse products into sums.
func randomWeights(c arch.Config, seed uint64) *Weights {
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
		if c.Norm == arch.NormLayer {
			b = vector(c.HiddenSize, 0)
		}
		return g, b
	}
	w := &Weights{Config: c, Embedding: matrix(c.VocabSize, c.HiddenSize, false)}
	for i := range w.Embedding.Scale {
		w.Embedding.Scale[i] *= 10
	}
	if c.Position == arch.PositionLearned {
		w.Positions = matrix(c.Context, c.HiddenSize, false)
	}
	for i := range c.Layers {
		shape := c.Layer(i)
		var l Layer
		l.Norm1, l.Norm1Bias = norm()
		l.Norm2, l.Norm2Bias = norm()
		l.Query = matrix(shape.Heads*c.HeadDim, c.HiddenSize, c.AttentionBias)
		l.Key = matrix(shape.KVHeads*c.HeadDim, c.HiddenSize, c.AttentionBias)
		l.Value = matrix(shape.KVHeads*c.HeadDim, c.HiddenSize, c.AttentionBias)
		l.Output = matrix(c.HiddenSize, shape.Heads*c.HeadDim, c.AttentionBias)
		if c.QKNorm {
			l.QueryNorm, l.KeyNorm = vector(c.HeadDim, 1), vector(c.HeadDim, 1)
		}
		if c.Activation == arch.ActSwiGLU {
			l.Gate = matrix(shape.IntermediateSize, c.HiddenSize, c.MLPBias)
		}
		l.Up = matrix(shape.IntermediateSize, c.HiddenSize, c.MLPBias)
		l.Down = matrix(c.HiddenSize, shape.IntermediateSize, c.MLPBias)
		if c.PLEDim > 0 {
			l.PLE = PLE{matrix(c.VocabSize, c.PLEDim, false), matrix(c.PLEDim, c.HiddenSize, false), matrix(c.HiddenSize, c.PLEDim, false)}
			for i := range l.PLE.Table.Scale {
				l.PLE.Table.Scale[i] *= 10
			}
		}
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

func eachConfig(t *testing.T, f func(t *testing.T, c arch.Config)) {
	t.Helper()
	for name, c := range configs() {
		t.Run(name, func(t *testing.T) { f(t, c) })
	}
}

func label(format string, a ...any) string { return fmt.Sprintf(format, a...) }
