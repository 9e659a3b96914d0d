package seam_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"mito/backend"
	_ "mito/backend/cpu"
	_ "mito/backend/cuda"
	"mito/engine/arch"
	"mito/engine/student"
	"mito/engine/student/seam"
)

func edge() arch.Config {
	return arch.Config{
		ModelType: "mito", VocabSize: 37, HiddenSize: 32, IntermediateSize: 64, Layers: 2, Heads: 4, KVHeads: 2, HeadDim: 8,
		Context: 40, Activation: arch.ActReLU2, Norm: arch.NormRMS, NormEps: 1e-5, Position: arch.PositionRoPE,
		RoPETheta: 10000, TieEmbeddings: true,
	}
}

// configs covers every option, with sizes that leave tails.
func configs() map[string]arch.Config {
	all := map[string]arch.Config{"edge": edge()}
	add := func(name string, change func(c *arch.Config)) {
		c := edge()
		change(&c)
		all[name] = c
	}
	add("mqa and window", func(c *arch.Config) { c.KVHeads, c.Window = 1, 5 })
	add("relu, untied", func(c *arch.Config) { c.Activation, c.TieEmbeddings = arch.ActReLU, false })
	add("llama", func(c *arch.Config) {
		c.Activation, c.TieEmbeddings, c.IntermediateSize = arch.ActSwiGLU, false, 44
	})
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
	add("ple, llama, wide", func(c *arch.Config) { c.Activation, c.PLEDim = arch.ActSwiGLU, 150 })
	add("class 460K", func(c *arch.Config) {
		c.HiddenSize, c.Heads, c.KVHeads, c.HeadDim, c.IntermediateSize, c.VocabSize, c.Layers = 96, 4, 4, 24, 384, 64, 4
		c.Context = 128
	})
	return all
}

func randomWeights(t *testing.T, c arch.Config) *student.Weights {
	t.Helper()
	w, err := student.NewWeights(c)
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 7))
	fill := func(v []float32, mid, spread float32) {
		for i := range v {
			v[i] = mid + float32(spread*(r.Float32()-0.5))
		}
	}
	err = w.Visit(func(name string, m *student.Matrix, v *[]float32) error {
		if m == nil {
			fill(*v, 0.9, 0.2)
			return nil
		}
		for i := range m.Q {
			m.Q[i] = int8(r.IntN(255) - 127)
		}
		fill(m.Scale, 0.0015, 0.0003)
		if name == "model.embed_tokens" {
			fill(m.Scale, 0.015, 0.003)
		}
		fill(m.Bias, 0, 0.2)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// Logits through each backend that this machine has are the edge runtime's, and so is the digest; that of a GPU may be one of an
// emulator, for which the whole stream is too long.
func TestDigestIsTheRuntimes(t *testing.T) {
	for _, name := range []string{"cpu", "cuda"} {
		t.Run(name, func(t *testing.T) {
			b, _, err := backend.Open(name, backend.Options{Threads: 2})
			if errors.Is(err, backend.ErrUnavailable) {
				t.Skip(err)
			}
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := b.Close(); err != nil {
					t.Error(err)
				}
			}()
			all := configs()
			peaked := edge()
			peaked.Scale = student.Peaked(peaked.Layer(0).Scale)
			all["peaked"] = peaked
			for config, c := range all {
				t.Run(config, func(t *testing.T) {
					w := randomWeights(t, c)
					m, err := student.New(w, student.Options{})
					if err != nil {
						t.Fatal(err)
					}
					defer m.Close()
					tokens := student.DigestStream(c)[0]
					got := logits(t, b, w, 1, len(tokens), tokens)
					s, err := m.NewSession(1)
					if err != nil {
						t.Fatal(err)
					}
					err = s.Score(0, tokens, func(i int, want []float32) error {
						for j, v := range want {
							if v != got[i*len(want)+j] {
								return fmt.Errorf("logit %d after token %d is %v, the runtime's is %v", j, i, got[i*len(want)+j], v)
							}
						}
						return nil
					})
					if err != nil {
						t.Error(err)
					}
					if name != "cpu" || testing.Short() {
						return
					}
					want, err := student.Prove(m, student.DigestOptions{Prefill: student.MaxSequence})
					if err != nil {
						t.Fatal(err)
					}
					if got, err := seam.Prove(b, w); err != nil || got != want {
						t.Errorf("%+v, %v; the runtime's is %+v", got, err, want)
					}
				})
			}
		})
	}
}

// Sequences of a batch do not see each other.
func TestBatch(t *testing.T) {
	b, _, err := backend.Open("cpu", backend.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	w := randomWeights(t, edge())
	const batch, time = 3, 11
	tokens := make([]int32, batch*time)
	for i := range tokens {
		tokens[i] = int32(i * 7 % 37)
	}
	all := logits(t, b, w, batch, time, tokens)
	for i := range batch {
		one := logits(t, b, w, 1, time, tokens[i*time:][:time])
		for j, v := range one {
			if all[i*len(one)+j] != v {
				t.Fatalf("sequence %d: logit %d is %v in the batch and %v alone", i, j, all[i*len(one)+j], v)
			}
		}
	}
}

func logits(t *testing.T, b backend.Backend, w *student.Weights, batch, time int, tokens []int32) []float32 {
	t.Helper()
	r, err := seam.New(b, w, batch, time)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}()
	dst := make([]float32, batch*time*w.Config.VocabSize)
	if err := r.Logits(dst, tokens); err != nil {
		t.Fatal(err)
	}
	return dst
}

func TestRefusals(t *testing.T) {
	b, _, err := backend.Open("cpu", backend.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	w := randomWeights(t, edge())
	var config *arch.FieldError
	if _, err := seam.New(b, w, 1, 41); !errors.As(err, &config) {
		t.Errorf("a sequence longer than the context: %v", err)
	}
	r, err := seam.New(b, w, 1, 2)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Logits(make([]float32, 2*37), []int32{0, 37}); !errors.Is(err, student.ErrToken) {
		t.Errorf("a token outside the vocabulary: %v", err)
	}
}
