package model

import (
	"errors"
	"testing"

	"mito/backend"
	"mito/kernels/kerneltest"
)

// Layers in the middle that see fewer tokens, with their positions: logits and gradients are those of the oracle, in whole
// batches and in micro-batches.
func TestMiddle(t *testing.T) {
	for _, v := range some("edge", "gpt2", "llama", "dropout", "window", "uneven layers", "ple", "ple, gpt2, dropout") {
		c := v.config()
		if c.LayerShapes == nil {
			c.Layers = 3
		}
		for _, d := range []Middle{{1, 2, 5}, {0, 3, 9}, {2, 3, 16}} {
			m := newModel(t, openCPU(t, 2), c)
			data := newBatch(c, 3, 16)
			data.dropout, data.smoothing = v.dropout, v.smoothing
			data.keep(d.From, d.To, d.Time)
			loss, logits, grads := data.train(t, m, 3)
			o := oracleOf(t, m, data)
			if err := kerneltest.Close(logits, o.logits(), func(int) float64 { return 20 * logitTolerance }); err != nil {
				t.Fatalf("%s %+v: logits: %v", v.name, d, err)
			}
			compareGradients(t, v.name, o, m.Params.List, grads)

			parts, _, again := data.train(t, m, 1, 3)
			check(t, kerneltest.Bits(parts, loss))
			for name, g := range again {
				if err := kerneltest.Bits(g, grads[name]); err != nil {
					t.Errorf("%s %+v: micro-batches: gradient of %s: %v", v.name, d, name, err)
				}
			}

			a, err := m.Activations(Batch{Rows: 3, Time: 16, Middle: data.middle})
			check(t, err)
			data.load(t, m, a, 0, 3)
			a.Dropout = 0
			data.loadKept(t, m, a, 0, 3)
			check(t, m.Forward(a))
			got := make([]float32, len(logits))
			check(t, m.b.Download(got, a.Logits))
			if v.dropout == 0 {
				if err := kerneltest.Bits(got, logits); err != nil {
					t.Errorf("%s %+v: inference: %v", v.name, d, err)
				}
			}
			check(t, a.Close())
		}
	}
}

// A pass that begins at a later layer, on the stream that a whole pass had there, has the bits of the whole.
func TestFromLaterLayer(t *testing.T) {
	for _, v := range variants {
		c := v.config()
		m := newModel(t, openCPU(t, 2), c)
		data := newBatch(c, 2, 16)
		data.dropout, data.smoothing = v.dropout, v.smoothing
		whole, err := m.NewActivations(2, 16, true)
		check(t, err)
		data.load(t, m, whole, 0, 2)
		check(t, m.ZeroGrad())
		data.pass(t, m, whole)
		check(t, m.FinishGrad())
		want := gradients(t, m)
		for from := range c.Layers + 1 {
			a, err := m.Activations(Batch{Rows: 2, Time: 16, Training: true, From: from})
			check(t, err)
			data.load(t, m, a, 0, 2)
			if from > 0 {
				check(t, m.b.Copy(a.Hidden(from), whole.Hidden(from)))
				if a.Hidden(from-1) != nil {
					t.Errorf("%s: the stream before layer %d takes memory", v.name, from-1)
				}
			}
			check(t, m.ZeroGrad())
			data.pass(t, m, a)
			check(t, m.FinishGrad())
			check(t, kerneltest.Bits(a.Logits.Float32s(), whole.Logits.Float32s()))
			for _, p := range m.Params.List {
				got := p.Grad.Float32s()
				switch {
				case p.level >= from && !(from > 0 && p == m.embed):
					if err := kerneltest.Bits(got, want[p.Name]); err != nil {
						t.Errorf("%s from layer %d: gradient of %s: %v", v.name, from, p.Name, err)
					}
				case p != m.embed && sum(got) != 0: // a tied head still has one
					t.Errorf("%s from layer %d: %s has a gradient", v.name, from, p.Name)
				}
			}
			check(t, a.Close())
		}
		check(t, whole.Close())
	}
}

func gradients(t *testing.T, m *Model) map[string][]float32 {
	t.Helper()
	g := map[string][]float32{}
	for _, p := range m.Params.Trained() {
		g[p.Name] = append([]float32(nil), p.Grad.Float32s()...)
	}
	return g
}

// An objective may read the residual stream and add to its gradient: half the mean square of what the second layer reads.
func TestTap(t *testing.T) {
	c := small()
	m := newModel(t, openCPU(t, 2), c)
	data := newBatch(c, 2, 16)
	for layer := 1; layer <= c.Layers; layer++ {
		a, err := m.Activations(Batch{Rows: 2, Time: 16, Training: true, Taps: []int{layer}})
		check(t, err)
		data.load(t, m, a, 0, 2)
		check(t, backend.First(
			m.ZeroGrad(), m.Forward(a),
			m.b.CrossEntropy(a.Loss, a.DLogits, a.Logits, a.Targets, a.Weights, backend.CrossEntropyArgs{Scale: data.scale()}),
		))
		hidden, grad := a.Hidden(layer).Float32s(), a.DHidden(layer).Float32s()
		for i, h := range hidden {
			grad[i] = h / float32(len(hidden))
		}
		check(t, backend.First(m.Backward(a), m.FinishGrad()))
		o := oracleOf(t, m, data)
		o.tap = layer
		compareGradients(t, "tap", o, m.Params.List, gradients(t, m))
		check(t, a.Close())
	}
}

// A second head is trained beside the first, from the same hidden states.
func TestAuxHead(t *testing.T) {
	c := small()
	c.AuxVocab = 5
	m := newModel(t, openCPU(t, 2), c)
	data := newBatch(c, 2, 16)
	a, err := m.NewActivations(2, 16, true)
	check(t, err)
	data.load(t, m, a, 0, 2)
	check(t, backend.First(
		m.ZeroGrad(), m.Forward(a),
		m.b.CrossEntropy(a.Loss, a.DLogits, a.Logits, a.Targets, a.Weights, backend.CrossEntropyArgs{Scale: data.scale()}),
	))
	targets := a.Targets.Int32s()
	for i := range targets {
		targets[i] %= int32(c.AuxVocab)
	}
	check(t, backend.First(
		m.b.CrossEntropy(a.Loss, a.DAuxLogits, a.AuxLogits, a.Targets, a.Weights, backend.CrossEntropyArgs{Scale: data.scale()}),
		m.Backward(a), m.FinishGrad(),
	))
	compareGradients(t, "second head", oracleOf(t, m, data), m.Params.List, gradients(t, m))
	check(t, a.Close())
}

func TestBatchRefused(t *testing.T) {
	m := newModel(t, openCPU(t, 1), small())
	for name, s := range map[string]Batch{
		"layer beyond the last":    {Rows: 1, Time: 4, From: 3},
		"negative layer":           {Rows: 1, Time: 4, From: -1},
		"middle before the first":  {Rows: 1, Time: 4, From: 1, Middle: &Middle{0, 2, 2}},
		"middle without layers":    {Rows: 1, Time: 4, Middle: &Middle{1, 1, 2}},
		"middle beyond the last":   {Rows: 1, Time: 4, Middle: &Middle{1, 3, 2}},
		"middle of no tokens":      {Rows: 1, Time: 4, Middle: &Middle{0, 1, 0}},
		"middle of more tokens":    {Rows: 1, Time: 4, Middle: &Middle{0, 1, 5}},
		"tap inside the middle":    {Rows: 1, Time: 4, Middle: &Middle{0, 2, 2}, Taps: []int{1}},
		"tap beyond the last":      {Rows: 1, Time: 4, Taps: []int{3}},
		"longer than the context":  {Rows: 1, Time: 25},
		"no row":                   {Rows: 0, Time: 2},
		"tap before the beginning": {Rows: 1, Time: 4, From: 1, Taps: []int{0}},
	} {
		var e *BatchError
		if a, err := m.Activations(s); !errors.As(err, &e) {
			t.Errorf("%s: %v, %v, want a *BatchError", name, a, err)
		}
	}
	a, err := m.Activations(Batch{Rows: 2, Time: 4, Middle: &Middle{0, 1, 2}})
	check(t, err)
	check(t, m.Keep(a, []int32{0, 3, 5, 6}))
	for name, kept := range map[string][]int32{"too few": {0, 1}, "of another sequence": {0, 4, 5, 6}, "descending": {1, 0, 5, 6}, "twice": {1, 1, 5, 6}, "behind the last": {0, 1, 6, 8}} {
		var e *BatchError
		if err := m.Keep(a, kept); !errors.As(err, &e) {
			t.Errorf("kept rows, %s: %v, want a *BatchError", name, err)
		}
	}
	plain, err := m.NewActivations(1, 4, false)
	check(t, err)
	if err := m.Keep(plain, nil); err == nil {
		t.Error("rows kept in a batch without a middle")
	}
}
