package decode

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"mito/backend/cpu"
	"mito/engine/model"
	"mito/engine/student"
	"mito/engine/tokenizer"
)

func edge() model.Config {
	return model.Config{
		ModelType: "mito", VocabSize: 37, HiddenSize: 32, IntermediateSize: 64, Layers: 2, Heads: 4, KVHeads: 2, HeadDim: 8,
		Context: 40, Activation: model.ActReLU2, Norm: model.NormRMS, NormEps: 1e-5, Position: model.PositionRoPE,
		RoPETheta: 10000, TieEmbeddings: true,
	}
}

// configs covers every option of a configuration, with sizes that leave tails.
func configs() map[string]model.Config {
	out := map[string]model.Config{"edge": edge()}
	add := func(name string, f func(c *model.Config)) {
		c := edge()
		f(&c)
		out[name] = c
	}
	add("mha", func(c *model.Config) { c.KVHeads = 4 })
	add("mqa", func(c *model.Config) { c.KVHeads = 1 })
	add("window", func(c *model.Config) { c.Window = 5 })
	add("window 1", func(c *model.Config) { c.Window = 1 })
	add("gelu", func(c *model.Config) { c.Activation = model.ActGELU })
	add("relu", func(c *model.Config) { c.Activation = model.ActReLU })
	add("qk-norm", func(c *model.Config) { c.QKNorm = true })
	add("untied", func(c *model.Config) { c.TieEmbeddings = false })
	add("learned", func(c *model.Config) { c.Position = model.PositionLearned })
	add("layernorm", func(c *model.Config) { c.Norm = model.NormLayer })
	add("biases", func(c *model.Config) { c.AttentionBias, c.MLPBias = true, true })
	add("llama", func(c *model.Config) {
		c.Activation, c.TieEmbeddings, c.IntermediateSize = model.ActSwiGLU, false, 44
	})
	add("gpt2", func(c *model.Config) {
		c.Norm, c.Position, c.Activation = model.NormLayer, model.PositionLearned, model.ActGELU
		c.AttentionBias, c.MLPBias, c.KVHeads = true, true, 4
	})
	add("odd sizes", func(c *model.Config) {
		c.HiddenSize, c.Heads, c.KVHeads, c.HeadDim, c.IntermediateSize, c.VocabSize = 33, 3, 1, 10, 172, 65
		c.AttentionBias, c.MLPBias, c.QKNorm, c.Window, c.Activation = true, true, true, 7, model.ActSwiGLU
	})
	add("one", func(c *model.Config) {
		c.HiddenSize, c.Heads, c.KVHeads, c.HeadDim, c.IntermediateSize, c.VocabSize, c.Layers = 1, 1, 1, 1, 1, 2, 1
		c.Position = model.PositionLearned
	})
	return out
}

func eachConfig(t *testing.T, f func(t *testing.T, c model.Config)) {
	all := configs()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		t.Run(name, func(t *testing.T) { f(t, all[name]) })
	}
}

// floatModel draws a model whose activations stay of order one and whose gains and biases all matter.
func floatModel(t testing.TB, c model.Config, seed uint64) (*model.Model, *model.Weights) {
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

func studentWeights(t testing.TB, c model.Config, seed uint64) *student.Weights {
	t.Helper()
	w := must(student.NewWeights(student.Config(c)))
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

// runtimes opens the same configuration in float32 and in INT8.
func runtimes(t testing.TB, c model.Config, tok tokenizer.Tokenizer, threads int) map[string]Runtime {
	t.Helper()
	_, w := floatModel(t, c, 1)
	out := map[string]Runtime{
		Float32: must(NewFloat32(w, tok, Options{Threads: threads})),
		Int8:    must(NewInt8(studentWeights(t, c, 1), tok, Options{Threads: threads})),
	}
	for _, r := range out {
		t.Cleanup(func() { check(t, r.Close()) })
	}
	return out
}

func randomTokens(rng *rand.Rand, vocab, n int) []int32 {
	x := make([]int32, n)
	for i := range x {
		x[i] = int32(rng.IntN(vocab))
	}
	return x
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

// sameBits returns the first place where a and b differ, -1 for none.
func sameBits(a, b []float32) int {
	if len(a) != len(b) {
		return 0
	}
	for i := range a {
		if math.Float32bits(a[i]) != math.Float32bits(b[i]) {
			return i
		}
	}
	return -1
}

func label(format string, args ...any) string { return fmt.Sprintf(format, args...) }
