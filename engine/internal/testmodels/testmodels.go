// Package testmodels draws small models for the tests of other packages.
package testmodels

import (
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"mito/backend/cpu"
	"mito/engine/arch"
	"mito/engine/model"
	"mito/engine/student"
)

// Alphabet has as many characters as the models have logits.
const Alphabet = "abcdefghijklmnopqrstuvwxyz0123456789="

// Edge is a small configuration of the edge default.
func Edge() arch.Config {
	return arch.Config{
		ModelType: "mito", VocabSize: 37, HiddenSize: 32, IntermediateSize: 64, Layers: 2, Heads: 4, KVHeads: 2, HeadDim: 8,
		Context: 40, Activation: arch.ActReLU2, Norm: arch.NormRMS, NormEps: 1e-5, Position: arch.PositionRoPE,
		RoPETheta: 10000, TieEmbeddings: true,
	}
}

// Configs covers every option of a configuration, with sizes that leave tails.
func Configs() map[string]arch.Config {
	out := map[string]arch.Config{"edge": Edge()}
	add := func(name string, f func(c *arch.Config)) {
		c := Edge()
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
	add("learned", func(c *arch.Config) { c.Position = arch.PositionLearned })
	add("layernorm", func(c *arch.Config) { c.Norm = arch.NormLayer })
	add("biases", func(c *arch.Config) { c.AttentionBias, c.MLPBias = true, true })
	add("llama", func(c *arch.Config) {
		c.Activation, c.TieEmbeddings, c.IntermediateSize = arch.ActSwiGLU, false, 44
	})
	add("gpt2", func(c *arch.Config) {
		c.Norm, c.Position, c.Activation = arch.NormLayer, arch.PositionLearned, arch.ActGELU
		c.AttentionBias, c.MLPBias, c.KVHeads = true, true, 4
	})
	add("odd sizes", func(c *arch.Config) {
		c.HiddenSize, c.Heads, c.KVHeads, c.HeadDim, c.IntermediateSize, c.VocabSize = 33, 3, 1, 10, 172, 65
		c.AttentionBias, c.MLPBias, c.QKNorm, c.Window, c.Activation = true, true, true, 7, arch.ActSwiGLU
	})
	add("ple", func(c *arch.Config) { c.PLEDim = 16 })
	add("ple, llama", func(c *arch.Config) { c.Activation, c.TieEmbeddings, c.PLEDim = arch.ActSwiGLU, false, 50 })
	add("uneven", func(c *arch.Config) {
		c.SetLayers([]arch.Layer{
			{Heads: 2, KVHeads: 1, IntermediateSize: 64, Window: 5}, {Heads: 6, KVHeads: 3, IntermediateSize: 20, Scale: 1}, {Heads: 3, KVHeads: 3, IntermediateSize: 33},
		})
	})
	add("one", func(c *arch.Config) {
		c.HiddenSize, c.Heads, c.KVHeads, c.HeadDim, c.IntermediateSize, c.VocabSize, c.Layers = 1, 1, 1, 1, 1, 2, 1
		c.Position = arch.PositionLearned
	})
	return out
}

// Each runs f for every configuration.
func Each(t *testing.T, f func(t *testing.T, c arch.Config)) {
	all := Configs()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		t.Run(name, func(t *testing.T) { f(t, all[name]) })
	}
}

// Float draws a model whose activations stay of order one and whose gains and biases all matter.
func Float(t testing.TB, c arch.Config, seed uint64) (*model.Model, *model.Weights) {
	t.Helper()
	b := cpu.New(1)
	m := must(model.New(b, c, false))
	t.Cleanup(func() {
		check(t, m.Close())
		check(t, b.Close())
	})
	rng := rand.New(rand.NewPCG(seed, 3))
	for _, p := range m.Params.List {
		v := make([]float32, p.Size())
		std := 1 / math.Sqrt(float64(p.Shape[len(p.Shape)-1]))
		for i := range v {
			switch {
			case p.Kind != model.Vector:
				v[i] = float32(rng.NormFloat64() * std)
			case i%2 == 0:
				v[i] = 1 + 0.3*(rng.Float32()-0.5)
			default:
				v[i] = 1.2 * (rng.Float32() - 0.5)
			}
		}
		check(t, b.Upload(p.Value, v))
	}
	return m, must(m.Host())
}

// Student draws INT8 weights whose activations stay of order one.
func Student(t testing.TB, c arch.Config, seed uint64) *student.Weights {
	t.Helper()
	w := must(student.NewWeights(c))
	rng := rand.New(rand.NewPCG(seed, 5))
	check(t, w.Visit(func(name string, m *student.Matrix, v *[]float32) error {
		if m == nil {
			for i := range *v {
				(*v)[i] = 1 + 0.2*(rng.Float32()-0.5)
			}
			return nil
		}
		for i := range m.Q {
			m.Q[i] = int8(rng.IntN(255) - 127)
		}
		for i := range m.Scale {
			m.Scale[i] = float32(1.5 / (127 * math.Sqrt(float64(m.Cols))))
		}
		for i := range m.Bias {
			m.Bias[i] = 0.2 * (rng.Float32() - 0.5)
		}
		return nil
	}))
	return w
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
