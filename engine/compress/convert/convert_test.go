package convert

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"mito/backend"
	"mito/backend/cpu"
	"mito/engine/arch"
	"mito/engine/internal/imports"
	"mito/engine/model"
	"mito/engine/train"
)

func TestImports(t *testing.T) {
	imports.Direct(t, "mito/engine/arch", "mito/engine/decode", "mito/engine/model", "mito/engine/train")
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// small is a configuration of four key and value heads; qk and biases where they matter.
func small(extras bool) arch.Config {
	return arch.Config{
		ModelType: arch.ModelType, VocabSize: 11, HiddenSize: 10, IntermediateSize: 14, Layers: 3, Heads: 8, KVHeads: 4, HeadDim: 6,
		Context: 24, Activation: arch.ActReLU2, Norm: arch.NormRMS, NormEps: 1e-5, Position: arch.PositionRoPE, RoPETheta: 100, TieEmbeddings: true,
		QKNorm: extras, AttentionBias: extras,
	}
}

func weights(c arch.Config) *model.Weights {
	r := rand.New(rand.NewPCG(1, 1))
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

func logits(t testing.TB, w *model.Weights) []float32 {
	t.Helper()
	b := cpu.New(1)
	m, err := model.New(b, w.Config, false)
	check(t, err)
	defer func() { check(t, errors.Join(m.Close(), b.Close())) }()
	check(t, m.Load(w))
	const rows, time = 2, 16
	a, err := m.NewActivations(rows, time, false)
	check(t, err)
	defer a.Close()
	in, at := make([]int32, rows*time), make([]int32, rows*time)
	for i := range in {
		in[i], at[i] = int32(i*7%11), int32(i%time)
	}
	check(t, backend.First(b.Upload(a.Inputs, in), b.Upload(a.Positions, at), m.Forward(a)))
	out := make([]float32, rows*time*w.Config.VocabSize)
	check(t, b.Download(out, a.Logits))
	return out
}

// A model whose key and value heads are alike within a group computes the same with one of them, which shows that every query
// head looks at the mean of what it looked at; heads that differ compute something else.
func TestEqualHeads(t *testing.T) {
	for _, extras := range []bool{false, true} {
		for _, heads := range []int{2, 1} {
			w := weights(small(extras))
			c := w.Config
			ratio := c.KVHeads / heads
			for _, m := range c.Modules() {
				if m.Part != arch.Key && m.Part != arch.Value {
					continue
				}
				copyHeads(w.Tensors[m.Weight().Name], ratio, c.HeadDim*m.Cols)
				if m.Bias {
					copyHeads(w.Tensors[m.BiasTensor().Name], ratio, c.HeadDim)
				}
			}
			got, err := Convert(w, nil, Options{KVHeads: heads})
			check(t, err)
			if got.Config.KVHeads != heads || got.Config.Heads != c.Heads {
				t.Fatalf("%d of %d heads", got.Config.KVHeads, got.Config.Heads)
			}
			if d := distance(logits(t, got), logits(t, w)); !(d < 1e-5) {
				t.Errorf("%d heads that were alike differ by %.3g", heads, d)
			}
			other, err := Convert(weights(small(extras)), nil, Options{KVHeads: heads})
			check(t, err)
			if d := distance(logits(t, other), logits(t, weights(small(extras)))); d < 1e-3 {
				t.Errorf("%d heads that were not alike differ by %.3g only", heads, d)
			}
		}
	}
}

func copyHeads(v []float32, ratio, size int) {
	for i := range len(v) / size {
		copy(v[i*size:][:size], v[i/ratio*ratio*size:][:size])
	}
}

func distance(x, y []float32) float64 {
	var d, n float64
	for i := range x {
		d += math.Pow(float64(x[i])-float64(y[i]), 2)
		n += math.Pow(float64(y[i]), 2)
	}
	return math.Sqrt(d / n)
}

// The mean is that of the heads in question.
func TestPool(t *testing.T) {
	v := []float32{1, 2, 3, 4, 5, 6, 7, 8, 20, 21, 22, 23, 24, 25, 26, 27}
	if got, want := pool(v, 2, 2, 4), []float32{3, 4, 5, 6, 22, 23, 24, 25}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// Layers that do not change keep heads, window and weights; a window changes what is seen and nothing else.
func TestLayers(t *testing.T) {
	w := weights(small(true))
	got, err := Convert(w, nil, Options{KVHeads: 2, Window: 5, Layers: []int{0, 2}})
	check(t, err)
	for i, want := range []arch.Layer{{KVHeads: 2, Window: 5}, {KVHeads: 4}, {KVHeads: 2, Window: 5}} {
		if l := got.Config.Layer(i); l.KVHeads != want.KVHeads || l.Window != want.Window {
			t.Errorf("layer %d: %+v", i, l)
		}
	}
	for name, v := range got.Tensors {
		if pooled := len(v) != len(w.Tensors[name]); pooled != (!strings.Contains(name, "layers.1.") && (strings.Contains(name, "k_proj") || strings.Contains(name, "v_proj"))) {
			t.Errorf("%s has %d values of %d", name, len(v), len(w.Tensors[name]))
		}
	}
	window, err := Convert(w, nil, Options{Window: 7})
	check(t, err)
	x, y := logits(t, window), logits(t, w)
	if n := 7 * w.Config.VocabSize; !slices.Equal(x[:n], y[:n]) {
		t.Error("a token within the window computes something else")
	}
	if slices.Equal(x, y) {
		t.Error("a window of 7 changes nothing")
	}
}

func TestCacheBytes(t *testing.T) {
	c := small(false)
	f32, i8 := CacheBytes(c)
	if f32 != 3*2*4*24*6*4 || i8 != 3*2*4*24*(6+4) {
		t.Errorf("%d and %d bytes", f32, i8)
	}
	to, err := Options{KVHeads: 1, Window: 12}.Config(c)
	check(t, err)
	if a, b := CacheBytes(to); a != f32/8 || b != i8/8 {
		t.Errorf("a quarter of the heads and half the positions: %d and %d bytes", a, b)
	}
}

func TestRefused(t *testing.T) {
	for says, o := range map[string]Options{
		"nothing to convert": {}, "a divisor of the 4": {KVHeads: 3}, "kv-heads is 4": {KVHeads: 4}, "kv-heads is 8": {KVHeads: 8},
		"kv-heads is -1": {KVHeads: -1}, "context of 24": {Window: 24}, "window is -1": {Window: -1}, "0 to 2": {KVHeads: 1, Layers: []int{3}},
		"one or more, or all": {KVHeads: 1, Layers: []int{}},
	} {
		var option *train.OptionError
		if _, err := Convert(weights(small(false)), nil, o); !errors.As(err, &option) || !strings.Contains(err.Error(), says) {
			t.Errorf("%+v: %v, want an *OptionError that says %q", o, err, says)
		}
	}
	w := weights(small(false))
	w.Config.Window = 6
	if _, err := Convert(w, nil, Options{Window: 7}); err == nil {
		t.Error("a window is made wider")
	}
}

// Heads that compute the same in other bases become one without loss where their mean loses it: values mixed by any matrix that
// the output undoes, and keys turned with their queries, pair by pair.
func TestFit(t *testing.T) {
	for _, position := range []string{arch.PositionRoPE, arch.PositionLearned} {
		for _, heads := range []int{2, 1} {
			c := small(false)
			c.Position, c.QKNorm = position, position == arch.PositionRoPE
			w := weights(c)
			r := rand.New(rand.NewPCG(7, 7))
			for layer := range c.Layers {
				tensor := func(p arch.Part) []float32 {
					return w.Tensors[c.Index()[arch.Place{Layer: layer, Part: p}].Weight().Name]
				}
				size, d := c.HeadDim*c.HiddenSize, c.HeadDim
				k, v := tensor(arch.Key), tensor(arch.Value)
				for h := range c.KVHeads {
					if first := h / (c.KVHeads / heads) * (c.KVHeads / heads); h != first {
						copy(k[h*size:][:size], k[first*size:][:size])
						mix(r, v[h*size:][:size], v[first*size:][:size], d, c.HiddenSize)
						turn(r.Float64(), k[h*size:][:size], d, c.HiddenSize)
					}
				}
				if c.QKNorm { // a norm keeps what is turned only where the gains of a pair are alike
					for _, p := range []arch.Part{arch.QueryNorm, arch.KeyNorm} {
						g := tensor(p)
						copy(g[d/2:], g[:d/2])
					}
				}
			}
			want := logits(t, w)
			moments, err := Measure(t.Context(), w, [][]int32{{1, 2, 3, 4, 5, 6, 7}, {9, 8, 1, 0, 10}}, 1)
			check(t, err)
			for pool, most := range map[string]float64{Fit: 1e-4, Mean: math.Inf(1)} {
				for _, m := range []Moments{nil, moments} {
					got, err := Convert(w, m, Options{KVHeads: heads, Pool: pool})
					check(t, err)
					for name, v := range got.Tensors {
						if r := rms(v) / rms(w.Tensors[name]); pool == Fit && (r < 0.1 || r > 10) {
							t.Errorf("%s is %.3g times as large as it was: what trains it moves it by as much", name, r)
						}
					}
					d := distance(logits(t, got), want)
					if !(d < most) || pool == Mean && d < 0.01 {
						t.Errorf("%s, %d heads, %s: the logits differ by %.3g", position, heads, pool, d)
					}
				}
			}
		}
	}
}

func rms(x []float32) float64 {
	sum := 0.0
	for _, v := range x {
		sum += float64(v) * float64(v)
	}
	return math.Sqrt(sum / float64(len(x)))
}

// mix sets dst to random combinations of the rows of src.
func mix(r *rand.Rand, dst, src []float32, rows, cols int) {
	out := make([]float32, len(dst))
	for i := range rows {
		for j := range rows {
			s := float32(r.NormFloat64())
			for k := range cols {
				out[i*cols+k] += s * src[j*cols+k]
			}
		}
	}
	copy(dst, out)
}

// turn turns the pairs of channels of a head, by another angle each.
func turn(by float64, k []float32, d, cols int) {
	for p := range d / 2 {
		s, c := math.Sincos(by * float64(p+1))
		for i := range cols {
			x, y := float64(k[p*cols+i]), float64(k[(p+d/2)*cols+i])
			k[p*cols+i], k[(p+d/2)*cols+i] = float32(c*x-s*y), float32(s*x+c*y)
		}
	}
}

// The factor is that of the damped moments of what was read.
func TestFactor(t *testing.T) {
	m := Moments{make([]float64, 9)}
	rows := []float32{1, 2, 3, 0, 1, -1, 2, 2, 0.5, 1, 1, 1}
	m.Observe(0, arch.NormedAttn, rows, 3, 4, 3)
	m.Observe(0, arch.Attended, rows, 3, 4, 3) // read by others
	l := m.factor(0, []float32{1, 1, 1})
	got := l.timesT(l)
	trace := 0.0
	for _, v := range rows {
		trace += float64(v) * float64(v)
	}
	for i := range 3 {
		for j := range i + 1 {
			want := 0.0
			if i == j {
				want = damping * trace / 3
			}
			for r := range 4 {
				want += float64(rows[3*r+i]) * float64(rows[3*r+j])
			}
			if math.Abs(got.v[3*i+j]-want) > 1e-9 {
				t.Errorf("%d,%d: %v, want %v", i, j, got.v[3*i+j], want)
			}
		}
	}
	x := matrix{2, 3, []float64{1, -2, 3, 4, 5, 6}}
	back := x.times(l).over(l)
	for i, v := range x.v {
		if math.Abs(back.v[i]-v) > 1e-9 {
			t.Errorf("%v, want %v", back.v, x.v)
		}
	}
}
