package quant

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"math"
	"math/rand/v2"
	"testing"

	"mito/engine/arch"
	"mito/engine/student"
)

var widths = []int{1, 7, 31, 33, 96, 172}

func randomRow(rng *rand.Rand, n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(rng.NormFloat64())
	}
	return x
}

func scalerOf(t *testing.T, m Method) scaler {
	t.Helper()
	s, err := m.scaler(0)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Every method that is listed can be used, and the default is the first.
func TestMethods(t *testing.T) {
	x := []float32{0.5, -2, 1.25}
	for _, m := range Methods() {
		q := make([]int8, len(x))
		if scale := scalerOf(t, m)(q, x, nil, wholeBits); !(scale > 0) || q[1] >= 0 {
			t.Errorf("%s: scale %v, codes %v", m, scale, q)
		}
	}
	if Methods()[0] != Search {
		t.Errorf("the first is %s", Methods()[0])
	}
}

// TestRoundToNearest compares with a scalar oracle in float64, at widths that leave every kind of tail.
func TestRoundToNearest(t *testing.T) {
	for _, width := range widths {
		const rows = 5
		rng := rand.New(rand.NewPCG(1, uint64(width)))
		x := randomRow(rng, rows*width)
		for i := range width {
			x[2*width+i] = 0 // a row of zeros
			x[3*width+i] *= 1e-8
		}
		m := student.Matrix{Rows: rows, Cols: width, Q: make([]int8, rows*width), Scale: make([]float32, rows)}
		quantizeMatrix(t.Context(), &m, x, nil, wholeBits, scalerOf(t, RoundToNearest))
		for r := range rows {
			var a float64
			for _, v := range x[r*width:][:width] {
				a = max(a, math.Abs(float64(v)))
			}
			if scale := float32(a) / 127; m.Scale[r] != scale {
				t.Fatalf("width %d, row %d: scale %v, want %v", width, r, m.Scale[r], scale)
			}
			for i, v := range x[r*width:][:width] {
				want := 0.0
				if a > 0 {
					want = float64(v) * 127 / a
				}
				// Three float32 roundings of a value up to 127 may cross a boundary between integers by 2e-5.
				if got := float64(m.Q[r*width+i]); math.Abs(got-want) > 0.5+3e-5 {
					t.Fatalf("width %d, row %d: %v became %v, want %v rounded", width, r, v, got, want)
				}
			}
		}
	}
}

func TestSearchIsNeverWorse(t *testing.T) {
	better := 0
	for _, width := range widths {
		for seed := range uint64(20) {
			rng := rand.New(rand.NewPCG(seed, uint64(width)))
			x, weight := randomRow(rng, width), make([]float32, width)
			for i := range weight {
				weight[i] = rng.Float32() + 0.01
			}
			if seed%2 == 0 {
				weight = nil
			}
			q := make([]int8, width)
			m := student.Matrix{Rows: 1, Cols: width, Q: make([]int8, width), Scale: make([]float32, 1)}
			quantizeMatrix(t.Context(), &m, x, nil, wholeBits, scalerOf(t, RoundToNearest))
			scale := SearchRow(q, x, weight)
			was, is := rowError(m.Q, x, weight, m.Scale[0]), rowError(q, x, weight, scale)
			if is > was {
				t.Errorf("width %d: error %g, round to nearest has %g", width, is, was)
			}
			if is < 0.9*was {
				better++
			}
			for i, v := range q {
				if v == -128 {
					t.Fatalf("width %d: -128 at %d", width, i)
				}
			}
		}
	}
	if better < 20 {
		t.Errorf("the search gained a tenth in %d of 120 rows only", better)
	}
}

// TestSearchIsTheSameEverywhere holds the integers and scales of many rows against those that amd64 chooses: the student that
// ships does not depend on the machine that quantised it.
func TestSearchIsTheSameEverywhere(t *testing.T) {
	const golden = "fc3aba3949e213d92e556ca8f8c048b976283b9bb818c5b19e8b31d84b3d0b7c"
	rng := rand.New(rand.NewPCG(7, 7))
	sum := sha256.New()
	for i := range 600 {
		width := widths[i%len(widths)]
		x, weight, q := make([]float32, width), make([]float32, width), make([]int8, width)
		for i := range x {
			x[i], weight[i] = rng.Float32()-0.5, rng.Float32()
		}
		if i%2 == 0 {
			weight = nil
		}
		scale := SearchRow(q, x, weight)
		for _, v := range q {
			sum.Write([]byte{byte(v)})
		}
		sum.Write(binary.LittleEndian.AppendUint32(nil, math.Float32bits(scale)))
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != golden {
		t.Errorf("%s, want %s", got, golden)
	}
}

func TestSearchRowOfZeros(t *testing.T) {
	q := []int8{3, 4}
	if s := SearchRow(q, []float32{0, 0}, nil); s != 0 || q[0] != 0 || q[1] != 0 {
		t.Errorf("scale %v, %v", s, q)
	}
}

func config0() arch.Config {
	return arch.Config{
		ModelType: "mito", VocabSize: 65, HiddenSize: 96, IntermediateSize: 172, Layers: 2, Heads: 4, KVHeads: 2, HeadDim: 24,
		Context: 48, Activation: arch.ActReLU2, Norm: arch.NormRMS, NormEps: 1e-5, Position: arch.PositionRoPE,
		RoPETheta: 10000, TieEmbeddings: true,
	}
}

// configs has the edge default and one with every tensor that is optional.
func configs() map[string]arch.Config {
	full := config0()
	full.Norm, full.Position, full.Activation = arch.NormLayer, arch.PositionLearned, arch.ActSwiGLU
	full.AttentionBias, full.MLPBias, full.QKNorm, full.TieEmbeddings = true, true, true, false
	small := config0()
	small.HiddenSize, small.IntermediateSize, small.HeadDim, small.VocabSize, small.Context = 32, 64, 8, 16, 12
	ple := small
	ple.PLEDim, ple.Activation, ple.MLPBias = 40, arch.ActSwiGLU, true
	return map[string]arch.Config{"edge": config0(), "full": full, "small": small, "ple": ple}
}

func randomTensors(t testing.TB, c arch.Config, seed uint64) map[string][]float32 {
	t.Helper()
	w, err := student.NewWeights(c)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(seed, 1))
	out := map[string][]float32{}
	err = w.Visit(func(name string, m *student.Matrix, v *[]float32) error {
		if m == nil {
			out[name] = randomRow(rng, len(*v))
			return nil
		}
		x := randomRow(rng, len(m.Q))
		for i := range x {
			x[i] /= float32(math.Sqrt(float64(m.Cols)))
		}
		out[name+".weight"] = x
		if m.Bias != nil {
			out[name+".bias"] = randomRow(rng, m.Rows)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestQuantizeIsClose(t *testing.T) {
	for name, c := range configs() {
		for _, method := range []Method{Search, RoundToNearest} {
			tensors := randomTensors(t, c, 1)
			w, r, err := Quantize(t.Context(), c, tensors, Options{Method: method})
			if err != nil {
				t.Fatal(err)
			}
			if err := w.Validate(); err != nil {
				t.Fatal(err)
			}
			for _, m := range r.Matrices {
				// A step of max/127 has the error step/√12; a normal row of up to 172 reaches about 3.5 deviations.
				if m.Relative > 3.5/127/math.Sqrt(12)*1.2 || m.Relative == 0 {
					t.Errorf("%s, %s: %s has the error %g", name, method, m.Name, m.Relative)
				}
			}
			want := 0
			for _, x := range tensors {
				want += len(x)
			}
			if w.Params() != want {
				t.Errorf("%s: %d parameters, want %d", name, w.Params(), want)
			}
		}
	}
}

func TestQuantizeRefuses(t *testing.T) {
	c := config0()
	seen, other := &Samples{}, &Samples{}
	seen.Add([]int32{1, 2, 3})
	seen.Add([]int32{4})
	other.Add([]int32{9})
	for name, tc := range map[string]struct {
		change func(x map[string][]float32, o *Options)
		want   error
	}{
		"missing":    {func(x map[string][]float32, _ *Options) { delete(x, "model.norm.weight") }, ErrMissing},
		"short":      {func(x map[string][]float32, _ *Options) { x["model.norm.weight"] = []float32{1} }, ErrShape},
		"unexpected": {func(x map[string][]float32, _ *Options) { x["lm_head.weight"] = []float32{1} }, ErrUnexpected},
		"NaN": {func(x map[string][]float32, _ *Options) {
			x["model.layers.1.mlp.up_proj.weight"][3] = float32(math.NaN())
		}, ErrNotFinite},
		"Inf":    {func(x map[string][]float32, _ *Options) { x["model.norm.weight"][0] = float32(math.Inf(-1)) }, ErrNotFinite},
		"method": {func(_ map[string][]float32, o *Options) { o.Method = "guess" }, ErrMethod},
		"overlap": {func(_ map[string][]float32, o *Options) {
			o.Calibration, o.Evaluation = &Calibration{Samples: seen}, seen
		}, ErrOverlap},
		"no samples": {func(_ map[string][]float32, o *Options) { o.Calibration = &Calibration{} }, ErrMissing},
		"moments": {func(_ map[string][]float32, o *Options) {
			o.Calibration = &Calibration{Samples: seen, SecondMoment: map[string][]float32{"model.layers.0.mlp.up_proj": {1}}}
		}, ErrShape},
	} {
		x, o := randomTensors(t, c, 1), Options{}
		tc.change(x, &o)
		if _, _, err := Quantize(t.Context(), c, x, o); !errors.Is(err, tc.want) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	_, r, err := Quantize(t.Context(), c, randomTensors(t, c, 1), Options{Calibration: &Calibration{Samples: seen}, Evaluation: other})
	if err != nil || r.Calibration == nil || r.Calibration.Samples != 2 || r.Calibration.Hash != seen.Hash() {
		t.Errorf("separate data: %v, %+v", err, r)
	}
}

func TestSamplesHash(t *testing.T) {
	var a, b, c Samples
	a.Add([]int32{1})
	a.Add([]int32{2, 3})
	b.Add([]int32{2, 3})
	b.Add([]int32{1})
	b.Add([]int32{1})
	c.Add([]int32{1, 2})
	c.Add([]int32{3})
	if a.Hash() != b.Hash() || a.Len() != 2 || b.Len() != 2 {
		t.Error("the order or repetition of samples matters")
	}
	if a.Hash() == c.Hash() || a.Overlap(&c) != 0 || a.Overlap(&b) != 2 || a.Overlap(nil) != 0 {
		t.Error("different samples count as equal")
	}
}

func TestCalibrationMovesError(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	x, weight := randomRow(rng, 96), make([]float32, 96)
	for i := range weight {
		weight[i] = 1e-4
		if i < 8 {
			weight[i], x[i] = 1, x[i]*0.1 // small weights that matter
		}
	}
	plain, weighed := make([]int8, 96), make([]int8, 96)
	a := rowError(plain, x, weight, SearchRow(plain, x, nil))
	b := rowError(weighed, x, weight, SearchRow(weighed, x, weight))
	if b >= a {
		t.Errorf("weighed error %g with calibration, %g without", b, a)
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

// The search asks its context at every row.
func TestQuantizeStops(t *testing.T) {
	c := config0()
	tensors := randomTensors(t, c, 1)
	for _, times := range []int{0, 5, 100} {
		if w, _, err := Quantize(&ending{t.Context(), times}, c, tensors, Options{}); !errors.Is(err, context.Canceled) || w != nil {
			t.Errorf("done after %d questions: %v, %v", times, w, err)
		}
	}
}
