package lora

import (
	"math"
	"testing"

	"mito/backend"
	"mito/engine/arch"
	"mito/engine/model"
	"mito/kernels/kerneltest"
)

// loss is the summed cross-entropy of the batch, in one pass of its rows or in two, with masks where there is dropout. It leaves
// the gradients.
func loss(t testing.TB, m *model.Model, seed uint64, ends ...int) float64 {
	t.Helper()
	b := m.Backend()
	check(t, m.ZeroGrad())
	total, start := 0.0, 0
	for _, end := range ends {
		a, err := m.NewActivations(end-start, time, true)
		check(t, err)
		batch(t, m, a, start)
		a.Seed = seed
		part := make([]float32, (end-start)*time)
		check(t, backend.First(
			m.Forward(a), b.CrossEntropy(a.Loss, a.DLogits, a.Logits, a.Targets, a.Weights, backend.CrossEntropyArgs{Scale: 1}),
			m.Backward(a), b.Download(part, a.Loss),
		))
		for _, l := range part {
			total += float64(l)
		}
		check(t, a.Close())
		start = end
	}
	check(t, m.FinishGrad())
	return total
}

func grads(t testing.TB, m *model.Model) map[string][]float32 {
	t.Helper()
	g := map[string][]float32{}
	for _, p := range m.Params.Trained() {
		v := make([]float32, p.Size())
		check(t, m.Backend().Download(v, p.Grad))
		g[p.Name] = v
	}
	return g
}

// With B = 0 a model computes the bits of its base, whatever A is.
func TestZeroIsTheBase(t *testing.T) {
	eachBackend(t, func(t *testing.T, b backend.Backend) {
		for _, c := range []arch.Config{small(), swiglu(), perLayer()} {
			w := weights(c, 1)
			plain, err := model.New(b, c, false)
			check(t, err)
			check(t, plain.Load(w))
			m := built(t, b, w, &Config{Rank: 3, Alpha: 5, Targets: all()})
			check(t, m.InitializeAdded(4, Init(1)))
			if got := m.Params.Added[0].Shape; got[0] != 3 || got[1] != c.HiddenSize {
				t.Errorf("A is %v", got)
			}
			check(t, kerneltest.Bits(logits(t, m), logits(t, plain)))
			check(t, plain.Close())
		}
	})
}

// A model with an adapter beside its weights computes what one with the adapter merged into them does: the scale is applied
// once, and neither transposed nor to the wrong layer. rsLoRA only changes the scale.
func TestMergedIsTheSame(t *testing.T) {
	eachBackend(t, func(t *testing.T, b backend.Backend) {
		for _, c := range []arch.Config{small(), swiglu(), perLayer()} {
			for _, lc := range []Config{
				{Rank: 3, Alpha: 6, Targets: all()}, {Rank: 4, Alpha: 2, RSLoRA: true, Targets: []string{"q_proj", "mlp.*"}},
				{Rank: 2, Alpha: 1, Targets: []string{"self_attn.v_proj", "down_proj"}, Layers: []int{1}},
			} {
				w := weights(c, 1)
				a := adapter(t, lc, c, 3)
				m := built(t, b, w, &lc)
				put(t, m, a)
				merged, err := a.Merge(w)
				check(t, err)
				plain, err := model.New(b, c, false)
				check(t, err)
				check(t, plain.Load(merged))
				got, want := logits(t, m), logits(t, plain)
				base := built(t, b, w, &lc)
				if d := relative(logits(t, base), want); d < 0.01 {
					t.Errorf("the adapter changes the logits by %.3g only", d)
				}
				if d := relative(got, want); !(d < 1e-5) {
					t.Errorf("%+v: beside and merged differ by %.3g", lc, d)
				}
				check(t, plain.Close())
			}
		}
	})
}

func relative(x, y []float32) float64 {
	var d, n float64
	for i := range x {
		d += math.Pow(float64(x[i])-float64(y[i]), 2)
		n += math.Pow(float64(y[i]), 2)
	}
	return math.Sqrt(d / n)
}

// The gradients are those of the loss, with and without dropout, whose masks a backward pass and a later forward pass find again;
// the float64 oracle of engine/model holds those of a product without dropout. Slopes of two steps cancel the third derivative (Richardson).
func TestGradients(t *testing.T) {
	eachBackend(t, func(t *testing.T, b backend.Backend) {
		for _, rate := range []float64{0, 0.3} {
			for _, layers := range [][]int{nil, {1, 2}} {
				lc := Config{Rank: 3, Alpha: 6, Dropout: rate, Targets: all(), Layers: layers}
				m := built(t, b, weights(swiglu(), 1), &lc)
				put(t, m, adapter(t, lc, m.Config, 3))
				loss(t, m, 77, rows)
				g := grads(t, m)
				for _, p := range m.Params.Added {
					length := 0.0
					for _, v := range g[p.Name] {
						length += float64(v) * float64(v)
					}
					length = math.Sqrt(length)
					old := make([]float32, p.Size())
					check(t, b.Download(old, p.Value))
					at := func(h float64) float64 {
						v := make([]float32, len(old))
						for i := range v {
							v[i] = float32(float64(old[i]) + h*float64(g[p.Name][i])/length)
						}
						check(t, b.Upload(p.Value, v))
						return loss(t, m, 77, rows)
					}
					over := func(h float64) float64 { return (at(h) - at(-h)) / (2 * h) }
					const h = 1e-2
					slope := (4*over(h/2) - over(h)) / 3
					check(t, b.Upload(p.Value, old))
					if math.Abs(slope-length) > 0.01*length+2e-3 {
						t.Errorf("dropout %v, layers %v: %s: slope %v along a gradient of length %v", rate, layers, p.Name, slope, length)
					}
				}
			}
		}
	})
}

// Micro-batches draw the masks of the whole batch, another step draws others, and inference draws none.
func TestDropout(t *testing.T) {
	eachBackend(t, func(t *testing.T, b backend.Backend) {
		w := weights(small(), 1)
		lc := Config{Rank: 3, Alpha: 6, Dropout: 0.4, Targets: all()}
		a := adapter(t, lc, w.Config, 3)
		m := built(t, b, w, &lc)
		put(t, m, a)
		whole := loss(t, m, 5, 2)
		want := grads(t, m)
		if parts := loss(t, m, 5, 1, 2); parts != whole {
			t.Errorf("micro-batches lose %v, the batch %v", parts, whole)
		}
		for name, g := range grads(t, m) {
			if err := kerneltest.Bits(g, want[name]); err != nil {
				t.Errorf("micro-batches: %s: %v", name, err)
			}
		}
		if other := loss(t, m, 6, 2); other == whole {
			t.Error("another seed drops the same")
		}
		plain := lc
		plain.Dropout = 0
		n := built(t, b, w, &plain)
		put(t, n, a)
		check(t, kerneltest.Bits(logits(t, m), logits(t, n)))
	})
}
