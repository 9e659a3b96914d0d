package calibrate

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"mito/engine/arch"
	"mito/engine/compress/quant"
	"mito/engine/decode"
	"mito/engine/internal/imports"
	"mito/engine/internal/testmodels"
	"mito/kernels/vec"
)

// TestCalibrateMoments holds the moments of a model that can be computed by hand against what Calibrate finds: the first norm
// of a token's embedding is what the first products read.
func TestCalibrateMoments(t *testing.T) {
	testmodels.Each(t, func(t *testing.T, c arch.Config) {
		_, w := testmodels.Float(t, c, 4)
		rng := rand.New(rand.NewPCG(4, 4))
		var sequences [][]int32
		for range 5 {
			tokens := make([]int32, 1+rng.IntN(c.Context))
			for i := range tokens {
				tokens[i] = int32(rng.IntN(c.VocabSize))
			}
			sequences = append(sequences, tokens)
		}
		got := must(Run(t.Context(), w, sequences, Options{Threads: 1}))
		if got.Samples.Len() == 0 {
			t.Error("no samples were kept")
		}
		gain, bias := w.Tensors["model.layers.0.input_layernorm.weight"], w.Tensors["model.layers.0.input_layernorm.bias"]
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
				if c.Norm == arch.NormLayer {
					vec.LayerNorm(x, x, gain, bias, c.NormEps)
				} else {
					vec.RMSNorm(x, x, gain, c.NormEps)
				}
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
	testmodels.Each(t, func(t *testing.T, c arch.Config) {
		_, w := testmodels.Float(t, c, 4)
		tokens := make([]int32, c.Context)
		for i := range tokens {
			tokens[i] = int32(i * 7 % c.VocabSize)
		}
		got := must(Run(t.Context(), w, [][]int32{tokens}, Options{Threads: 2})).SecondMoment
		seen := newMoments(false)
		s := must(must(decode.NewFloat32(w, nil, decode.Options{Observer: seen})).NewSession(1))
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
	c := testmodels.Edge()
	_, w := testmodels.Float(t, c, 4)
	for _, tc := range []struct {
		tokens []int32
		want   error
	}{{[]int32{int32(c.VocabSize)}, decode.ErrToken}, {make([]int32, c.Context+1), decode.ErrContextFull}} {
		if _, err := Run(t.Context(), w, [][]int32{tc.tokens}, Options{Threads: 1}); !errors.Is(err, tc.want) {
			t.Errorf("got %v, want %v", err, tc.want)
		}
	}
}

// TestStop wants an ended context noticed within a sequence, and no calibration of part of the data.
func TestStop(t *testing.T) {
	c := testmodels.Edge()
	_, w := testmodels.Float(t, c, 4)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if got, err := Run(ctx, w, [][]int32{{1, 2, 3}}, Options{Threads: 1}); !errors.Is(err, context.Canceled) || got != nil {
		t.Errorf("%v, error %v", got, err)
	}
	for _, times := range []int{1, 20, 50} {
		e := &ending{t.Context(), times}
		if _, err := Run(e, w, [][]int32{make([]int32, 30), make([]int32, 30)}, Options{Threads: 1}); !errors.Is(err, context.Canceled) {
			t.Errorf("done after %d questions: error %v", times, err)
		}
	}
}

// ending is a context that is done once it was asked so many times.
type ending struct {
	context.Context
	left int
}

func (e *ending) Err() error {
	if e.left--; e.left < 0 {
		return context.Canceled
	}
	return nil
}

func TestImports(t *testing.T) {
	imports.Direct(t, "mito/engine/arch", "mito/engine/compress/quant", "mito/engine/decode", "mito/engine/model", "mito/engine/student")
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
