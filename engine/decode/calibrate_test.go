package decode

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"mito/engine/arch"
	"mito/engine/compress/quant"
)

// TestCalibrateMoments holds the moments of a model that can be computed by hand against what Calibrate finds: the first norm
// of a token's embedding is what the first products read.
func TestCalibrateMoments(t *testing.T) {
	eachConfig(t, func(t *testing.T, c arch.Config) {
		_, w := floatModel(t, c, 4)
		rng := rand.New(rand.NewPCG(4, 4))
		var sequences [][]int32
		for range 5 {
			tokens := make([]int32, 1+rng.IntN(c.Context))
			for i := range tokens {
				tokens[i] = int32(rng.IntN(c.VocabSize))
			}
			sequences = append(sequences, tokens)
		}
		got := must(Calibrate(t.Context(), w, sequences, Options{}))
		if got.Samples.Len() == 0 {
			t.Error("no samples were kept")
		}
		norm := floatNorm{gain: w.Tensors["model.layers.0.input_layernorm.weight"], bias: w.Tensors["model.layers.0.input_layernorm.bias"],
			layer: c.Norm == arch.NormLayer, eps: c.NormEps}
		want, rows, n := make([]float64, c.HiddenSize), 0, c.HiddenSize
		x := make([]float32, n)
		for _, tokens := range sequences {
			for pos, token := range tokens {
				copy(x, w.Tensors["model.embed_tokens.weight"][int(token)*n:])
				if c.Position == arch.PositionLearned {
					for i, v := range w.Tensors["model.embed_positions.weight"][pos*n:][:n] {
						x[i] += v
					}
				}
				norm.apply(x, x)
				for i, v := range x {
					want[i] += float64(v) * float64(v)
				}
				rows++
			}
		}
		mean := 0.0
		for i := range want {
			want[i] /= float64(rows)
			mean += want[i] / float64(n)
		}
		for _, name := range []string{"q_proj", "k_proj", "v_proj"} {
			for i, v := range got.SecondMoment["model.layers.0.self_attn."+name] {
				if e := want[i] + damping*mean; math.Abs(float64(v)-e) > 1e-6*e {
					t.Fatalf("%s, channel %d: %v, want %v", name, i, v, e)
				}
			}
		}
		// Every matrix but the ones that are looked up has its moments, of its width: Quantize takes them all.
		if _, _, err := quant.Quantize(t.Context(), c, w.Tensors, quant.Options{Calibration: got}); err != nil {
			t.Error(err)
		}
		for _, m := range c.Modules() {
			reads := m.Part.Input() != arch.NoInput
			if n := len(got.SecondMoment[m.Name]); reads && n != m.Cols || !reads && n != 0 {
				t.Errorf("%s: %d moments", m.Name, n)
			}
		}
	})
}

// TestCalibrateRowByRow feeds the same tokens one at a time, which leaves no room for mistaken strides.
func TestCalibrateRowByRow(t *testing.T) {
	eachConfig(t, func(t *testing.T, c arch.Config) {
		_, w := floatModel(t, c, 4)
		tokens := make([]int32, c.Context)
		for i := range tokens {
			tokens[i] = int32(i * 7 % c.VocabSize)
		}
		got := must(Calibrate(t.Context(), w, [][]int32{tokens}, Options{Threads: 2})).SecondMoment
		s := newFloatSession(must(NewFloat32(w, nil, Options{})).(*float32Runtime), 1)
		seen, worker := moments{}, <-s.workers
		worker.seen = seen
		s.workers <- worker
		for i := range tokens {
			must(s.Step(tokens[i : i+1]))
		}
		for name, want := range seen.means(c) {
			if !slices.Equal(got[name], want) {
				t.Errorf("%s: %v, row by row %v", name, got[name], want)
			}
		}
	})
}

func TestCalibrateRefuses(t *testing.T) {
	c := edge()
	_, w := floatModel(t, c, 4)
	for _, tc := range []struct {
		tokens []int32
		want   error
	}{{[]int32{int32(c.VocabSize)}, ErrToken}, {make([]int32, c.Context+1), ErrContextFull}} {
		if _, err := Calibrate(t.Context(), w, [][]int32{tc.tokens}, Options{}); !errors.Is(err, tc.want) {
			t.Errorf("got %v, want %v", err, tc.want)
		}
	}
}
