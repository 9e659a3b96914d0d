package prune

import (
	"bytes"
	"math"
	"slices"
	"testing"

	"mito/engine/arch"
	"mito/engine/checkpoint"
	"mito/engine/data"
	"mito/engine/model"
)

// logits are those of a model on a calibration.
func logits(t *testing.T, w *model.Weights, cal *Calibration) (all []float32) {
	t.Helper()
	err := run(t.Context(), open(t), w, cal, model.Options{}, func(data.Batch) {}, func(_ *model.Model, a *model.Activations, _ data.Batch) error {
		all = append(all, a.Logits.Float32s()...)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// silence makes units write nothing: their columns of what reads them are zero, and so are biases that could not go with them.
func silence(w *model.Weights, part arch.Part, layer int, columns []int) {
	m := w.Config.Index()[arch.Place{Layer: layer, Part: part}]
	for r := range m.Rows {
		for _, c := range columns {
			w.Tensors[m.Weight().Name][r*m.Cols+c] = 0
		}
	}
}

// removed counts the parameters that units hold.
func removed(c arch.Config, k Kind, layer, units int) int64 {
	l, width, d := c.Layer(layer), c.HiddenSize, c.HeadDim
	share := l.Heads / l.KVHeads
	one := func(flag bool, n int) int {
		if flag {
			return n
		}
		return 0
	}
	switch k {
	case Heads:
		return int64(units * (2*share*d*width + 2*d*width + one(c.AttentionBias, share*d+2*d)))
	case Neurons:
		gate := one(c.Activation == arch.ActSwiGLU, 1)
		return int64(units * ((2+gate)*width + one(c.MLPBias, 1+gate)))
	}
	return 0
}

// Units that say nothing go first, by every score, and leave the logits as they were; sizes shrink by the formula, in the
// configuration and in the file.
func TestSilentUnitsGo(t *testing.T) {
	b := open(t)
	for name, c := range configs() {
		cal := NewCalibration(tokens(6, 16, c.VocabSize))
		for _, kind := range []Kind{Heads, Neurons} {
			for _, score := range []Score{Taylor, OBC} {
				w := weights(c, 11)
				want, plan := int64(0), Whole(c)
				keep := Options{Kind: kind, Score: score, Keep: 16}
				for i := range c.Layers {
					l := c.Layer(i)
					if kind == Heads {
						each := l.Heads / l.KVHeads
						keep.Keep = each // one key/value head, which is in the middle where there are three
						plan.Groups[i] = []int{l.KVHeads / 2}
						gone := without(l.KVHeads, plan.Groups[i])
						silence(w, arch.Output, i, spread(gone, each*c.HeadDim))
						want += removed(c, kind, i, len(gone))
						continue
					}
					plan.Neurons[i] = upTo(l.IntermediateSize)[3:19]
					gone := without(l.IntermediateSize, plan.Neurons[i])
					silence(w, arch.Down, i, gone)
					want += removed(c, kind, i, len(gone))
				}
				before := logits(t, w, cal)
				got, err := Structured(t.Context(), b, w, cal, keep)
				if err != nil {
					t.Fatalf("%s, %s, %s: %v", name, kind, score, err)
				}
				if n := c.Params() - got.Config.Params(); n != want {
					t.Errorf("%s, %s, %s: %d parameters went, the formula says %d", name, kind, score, n, want)
				}
				if !got.Config.Equal(plan.Config(c)) {
					t.Errorf("%s, %s, %s: %+v, want %+v", name, kind, score, got.Config, plan.Config(c))
				}
				checkFile(t, got)
				closeTo(t, name+" "+string(kind)+" "+string(score), logits(t, got, cal), before)
			}
		}
	}
}

// checkFile holds the size of a file against four bytes a parameter and the header.
func checkFile(t *testing.T, w *model.Weights) {
	t.Helper()
	var list []checkpoint.Tensor
	header := 0
	for _, x := range w.Config.Tensors() {
		if int64(len(w.Tensors[x.Name])) != x.Size() {
			t.Fatalf("%s has %d values, want %d", x.Name, len(w.Tensors[x.Name]), x.Size())
		}
		list = append(list, checkpoint.FromF32(x.Name, x.Shape, w.Tensors[x.Name]))
		header += 70 + len(x.Name)
	}
	if len(list) != len(w.Tensors) {
		t.Errorf("%d tensors, the configuration has %d", len(w.Tensors), len(list))
	}
	var file bytes.Buffer
	if err := checkpoint.Encode(&file, list, nil); err != nil {
		t.Fatal(err)
	}
	if got, want := file.Len(), int(4*w.Config.Params())+header; math.Abs(float64(got-want)) > 0.1*float64(header)+64 {
		t.Errorf("%d bytes, the formula says %d", got, want)
	}
}

func closeTo(t *testing.T, what string, got, want []float32) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d logits, want %d", what, len(got), len(want))
	}
	for i := range got {
		if d := math.Abs(float64(got[i] - want[i])); d > 1e-3*(1+math.Abs(float64(want[i]))) {
			t.Fatalf("%s: logit %d is %v, was %v", what, i, got[i], want[i])
		}
	}
}

// A layer that adds nothing goes, and nothing changes but the size.
func TestSilentLayerGoes(t *testing.T) {
	b := open(t)
	for name, c := range configs() {
		c.AttentionBias, c.MLPBias = false, false
		cal := NewCalibration(tokens(6, 16, c.VocabSize))
		w := weights(c, 12)
		silence(w, arch.Output, 0, upTo(c.Index()[arch.Place{Part: arch.Output}].Cols))
		silence(w, arch.Down, 0, upTo(c.Layer(0).IntermediateSize))
		if c.PLEDim > 0 {
			silence(w, arch.PLEOut, 0, upTo(c.PLEDim))
		}
		before := logits(t, w, cal)
		got, err := Structured(t.Context(), b, w, cal, Options{Kind: Layers, Score: Taylor, Keep: c.Layers - 1})
		if err != nil {
			t.Fatal(err)
		}
		plan := Whole(c)
		plan.Layers = plan.Layers[1:]
		if !got.Config.Equal(plan.Config(c)) {
			t.Errorf("%s: %+v, want the layers from 1 on: %+v", name, got.Config, plan.Config(c))
		}
		checkFile(t, got)
		closeTo(t, name, logits(t, got, cal), before)
	}
}

// Width takes the same channels out of everything on the residual stream.
func TestWidth(t *testing.T) {
	b := open(t)
	for name, c := range configs() {
		w, cal := weights(c, 13), NewCalibration(tokens(6, 16, c.VocabSize))
		// Channel 2 and the last are nearly nothing.
		small := []int{2, c.HiddenSize - 1}
		for _, m := range c.Modules() {
			if m.Part == arch.QueryNorm || m.Part == arch.KeyNorm || m.Part == arch.PLETable {
				continue
			}
			for i := range w.Tensors[m.Weight().Name] {
				at := i % m.Cols
				if m.Part.Residual() {
					at = i / m.Cols
				}
				if slices.Contains(small, at) {
					w.Tensors[m.Weight().Name][i] *= 1e-4
				}
			}
		}
		for _, score := range []Score{Magnitude, Wanda, Taylor} {
			got, err := Structured(t.Context(), b, w, cal, Options{Kind: Width, Score: score, Keep: c.HiddenSize - 2})
			if err != nil {
				t.Fatal(err)
			}
			plan := Whole(c)
			plan.Width = without(c.HiddenSize, small)
			want, err := plan.Shrink(w)
			if err != nil {
				t.Fatal(err)
			}
			for _, x := range got.Config.Tensors() {
				if !slices.Equal(got.Tensors[x.Name], want.Tensors[x.Name]) {
					t.Errorf("%s, %s: other channels of %s went", name, score, x.Name)
				}
			}
			if got.Config.HiddenSize != c.HiddenSize-2 || got.Config.HeadDim != c.HeadDim {
				t.Errorf("%s: %+v", name, got.Config)
			}
			checkFile(t, got)
			logits(t, got, cal)
		}
	}
}

// A sparsity is that of all layers together; each keeps something, and neurons come in whole lanes.
func TestSparsityOverLayers(t *testing.T) {
	b := open(t)
	c := arch.Edge(13, 16, 3, 24, 4, 4)
	c.IntermediateSize = 128
	w := weights(c, 14)
	down := c.Index()[arch.Place{Layer: 1, Part: arch.Down}].Weight().Name
	for i := range w.Tensors[down] {
		if i%128 >= 40 { // most neurons of the second layer are nearly silent
			w.Tensors[down][i] *= 1e-3
		}
	}
	cal := NewCalibration(tokens(6, 16, c.VocabSize))
	got, err := Structured(t.Context(), b, w, cal, Options{Kind: Neurons, Score: Taylor, Sparsity: 0.25})
	if err != nil {
		t.Fatal(err)
	}
	total, least := 0, 1<<30
	for i := range c.Layers {
		f := got.Config.Layer(i).IntermediateSize
		if f%lane != 0 {
			t.Errorf("layer %d has %d neurons", i, f)
		}
		total, least = total+f, min(least, f)
	}
	if total < 256 || total > 320 || got.Config.Layer(1).IntermediateSize != least || got.Config.LayerShapes == nil {
		t.Errorf("%d neurons are left: %+v", total, got.Config.LayerShapes)
	}
	for _, score := range Scores() {
		got, err := Structured(t.Context(), b, w, cal, Options{Kind: Heads, Score: score, Sparsity: 0.99})
		if err != nil {
			t.Fatal(err)
		}
		for i := range c.Layers {
			if l := got.Config.Layer(i); l.Heads != 1 {
				t.Errorf("%s: layer %d has %d heads", score, i, l.Heads)
			}
		}
	}
}
