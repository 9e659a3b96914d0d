package model

import (
	"errors"
	"math"
	"slices"
	"testing"

	"mito/backend"
	_ "mito/backend/cpu"
	_ "mito/backend/cuda"
	"mito/engine/arch"
	"mito/kernels/kerneltest"
)

// eachBackend runs f on every backend that this binary has and this machine can run.
func eachBackend(t *testing.T, f func(t *testing.T, b backend.Backend)) {
	for _, name := range backend.Names() {
		t.Run(name, func(t *testing.T) {
			b, _, err := backend.Open(name, backend.Options{Threads: 2})
			if errors.Is(err, backend.ErrUnavailable) {
				t.Skip(err)
			}
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { check(t, b.Close()) })
			f(t, b)
		})
	}
}

func openCPU(t testing.TB, threads int) backend.Backend {
	b, _, err := backend.Open("cpu", backend.Options{Threads: threads})
	check(t, err)
	t.Cleanup(func() { check(t, b.Close()) })
	return b
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// small is a configuration with odd sizes that the variants change.
func small() arch.Config {
	return arch.Config{
		ModelType: arch.ModelType, VocabSize: 11, HiddenSize: 10, IntermediateSize: 14, Layers: 2, Heads: 4, KVHeads: 2, HeadDim: 6,
		Context: 24, Activation: arch.ActReLU2, Norm: arch.NormRMS, NormEps: 1e-5, Position: arch.PositionRoPE, RoPETheta: 100, TieEmbeddings: true,
	}
}

// variant is a configuration and a way to train it.
type variant struct {
	name      string
	change    func(c *arch.Config)
	dropout   float32
	smoothing float32
}

// gpt2 and llama are the two well-known members of the family.
func gpt2(c *arch.Config) {
	c.KVHeads, c.Activation, c.Norm, c.Position = c.Heads, arch.ActGELU, arch.NormLayer, arch.PositionLearned
	c.AttentionBias, c.MLPBias = true, true
}

func llama(c *arch.Config) { c.Activation, c.TieEmbeddings = arch.ActSwiGLU, false }

var variants = []variant{
	{name: "edge", change: func(c *arch.Config) {}},
	{name: "gpt2", change: gpt2},
	{name: "llama", change: llama},
	{name: "mha", change: func(c *arch.Config) { c.KVHeads = 4 }},
	{name: "mqa", change: func(c *arch.Config) { c.KVHeads = 1 }},
	{name: "window", change: func(c *arch.Config) { c.Window = 5 }},
	{name: "window of one", change: func(c *arch.Config) { c.Window = 1 }},
	{name: "learned", change: func(c *arch.Config) { c.Position = arch.PositionLearned }},
	{name: "layernorm", change: func(c *arch.Config) { c.Norm = arch.NormLayer }},
	{name: "relu", change: func(c *arch.Config) { c.Activation = arch.ActReLU }},
	{name: "gelu", change: func(c *arch.Config) { c.Activation = arch.ActGELU }},
	{name: "swiglu with biases", change: func(c *arch.Config) { c.Activation, c.MLPBias = arch.ActSwiGLU, true }},
	{name: "qk-norm", change: func(c *arch.Config) { c.QKNorm = true }},
	{name: "qk-norm, learned, layernorm", change: func(c *arch.Config) { gpt2(c); c.QKNorm = true }},
	{name: "untied", change: func(c *arch.Config) { c.TieEmbeddings = false }},
	{name: "biases", change: func(c *arch.Config) { c.AttentionBias, c.MLPBias = true, true }},
	{name: "three layers", change: func(c *arch.Config) { c.Layers = 3 }},
	{name: "uneven layers", change: func(c *arch.Config) {
		c.SetLayers([]arch.Layer{
			{Heads: 2, KVHeads: 1, IntermediateSize: 14, Window: 5}, {Heads: 6, KVHeads: 3, IntermediateSize: 5, Scale: 1}, {Heads: 3, KVHeads: 3, IntermediateSize: 9},
		})
	}},
	{name: "uneven layers, swiglu, qk-norm", change: func(c *arch.Config) {
		c.Activation, c.QKNorm = arch.ActSwiGLU, true
		c.SetLayers([]arch.Layer{{Heads: 1, KVHeads: 1, IntermediateSize: 3}, {Heads: 4, KVHeads: 2, IntermediateSize: 14, Window: 2}})
	}},
	{name: "ple", change: func(c *arch.Config) { c.PLEDim = 5 }},
	{name: "ple, gpt2, dropout", change: func(c *arch.Config) { gpt2(c); c.PLEDim = 3 }, dropout: 0.2},
	{name: "ple, llama", change: func(c *arch.Config) { llama(c); c.PLEDim = 16 }},
	{name: "one layer", change: func(c *arch.Config) { c.Layers = 1 }},
	{name: "dropout", change: func(c *arch.Config) {}, dropout: 0.3},
	{name: "dropout, learned", change: gpt2, dropout: 0.2},
	{name: "smoothing", change: func(c *arch.Config) {}, smoothing: 0.1},
}

// some are the variants of these names.
func some(names ...string) []variant {
	return slices.DeleteFunc(slices.Clone(variants), func(v variant) bool { return !slices.Contains(names, v.name) })
}

func (v variant) config() arch.Config {
	c := small()
	v.change(&c)
	return c
}

// batch is what a step sees.
type batch struct {
	rows, time                 int
	inputs, targets, positions []int32
	weights                    []float32
	dropout, smoothing         float32
	seed                       uint64
	middle                     *Middle
	kept                       []int32 // with middle
}

// keep has layers from to to-1 see a drawn part of every row.
func (b *batch) keep(from, to, time int) {
	r := kerneltest.Rand("kept")
	b.middle, b.kept = &Middle{From: from, To: to, Time: time}, nil
	for row := range b.rows {
		at := r.Perm(b.time)[:time]
		slices.Sort(at)
		for _, i := range at {
			b.kept = append(b.kept, int32(row*b.time+i))
		}
	}
}

// loadKept uploads what the layers in the middle see, of rows that begin at row lo of the batch.
func (b *batch) loadKept(t testing.TB, m *Model, a *Activations, lo, hi int) {
	t.Helper()
	kept := slices.Clone(b.kept[lo*b.middle.Time : hi*b.middle.Time])
	for i := range kept {
		kept[i] -= int32(lo * b.time)
	}
	check(t, m.Keep(a, kept))
}

// newBatch draws rows of time tokens; some targets have no weight or a fraction of one.
func newBatch(c arch.Config, rows, time int) *batch {
	r := kerneltest.Rand("batch")
	b := &batch{rows: rows, time: time, seed: 0x1234567890abcdef}
	for row := range rows {
		for i := range time {
			b.inputs = append(b.inputs, int32(r.IntN(c.VocabSize)))
			b.targets = append(b.targets, int32(r.IntN(c.VocabSize)))
			b.positions = append(b.positions, int32(i))
			b.weights = append(b.weights, []float32{1, 1, 0.5, 0}[(row*5+i)%4])
		}
	}
	return b
}

// scale is that of the gradient of the mean loss.
func (b *batch) scale() float32 {
	sum := 0.0
	for _, w := range b.weights {
		sum += float64(w)
	}
	return float32(1 / sum)
}

// newModel builds a model with random parameters, gains and biases too.
func newModel(t testing.TB, b backend.Backend, c arch.Config) *Model {
	t.Helper()
	return buildModel(t, b, c, Options{Grads: true})
}

// buildModel is newModel with options. The parameters of the configuration are those of newModel.
func buildModel(t testing.TB, b backend.Backend, c arch.Config, o Options) *Model {
	t.Helper()
	m, err := Build(b, c, o)
	check(t, err)
	t.Cleanup(func() { check(t, m.Close()) })
	r := kerneltest.Rand("weights")
	check(t, m.set(slices.Concat(m.Params.List, m.Params.Added), func(p *Param) ([]float32, error) {
		w := kerneltest.Normal(r, make([]float32, p.Size()))
		std := float32(0.4)
		if len(p.Shape) == 2 && p.Kind == Matrix {
			std = float32(1 / math.Sqrt(float64(p.Shape[1])))
		}
		for i := range w {
			w[i] *= std
			if p.gain {
				w[i]++
			}
		}
		return w, nil
	}))
	return m
}

// load puts rows lo to hi of a batch into activations.
func (b *batch) load(t testing.TB, m *Model, a *Activations, lo, hi int) {
	t.Helper()
	lo, hi = lo*b.time, hi*b.time
	check(t, backend.First(
		m.b.Upload(a.Inputs, b.inputs[lo:hi]), m.b.Upload(a.Targets, b.targets[lo:hi]),
		m.b.Upload(a.Positions, b.positions[lo:hi]), m.b.Upload(a.Weights, b.weights[lo:hi]),
	))
	a.Dropout, a.Seed, a.Row = b.dropout, b.seed, int64(lo)
}

// pass runs forward, loss and backward over loaded activations.
func (b *batch) pass(t testing.TB, m *Model, a *Activations) {
	t.Helper()
	check(t, backend.First(
		m.Forward(a),
		m.b.CrossEntropy(a.Loss, a.DLogits, a.Logits, a.Targets, a.Weights, backend.CrossEntropyArgs{Smoothing: b.smoothing, Scale: b.scale()}),
		m.Backward(a),
	))
}

// train computes loss, logits and gradients of a batch, in micro-batches that end at the given rows.
func (b *batch) train(t testing.TB, m *Model, ends ...int) (loss, logits []float32, grads map[string][]float32) {
	t.Helper()
	check(t, m.ZeroGrad())
	start := 0
	for _, end := range ends {
		a, err := m.Activations(Batch{Rows: end - start, Time: b.time, Training: true, Middle: b.middle})
		check(t, err)
		b.load(t, m, a, start, end)
		if b.middle != nil {
			b.loadKept(t, m, a, start, end)
		}
		b.pass(t, m, a)
		part := make([]float32, (end-start)*b.time)
		check(t, m.b.Download(part, a.Loss))
		loss = append(loss, part...)
		out := make([]float32, len(part)*m.Config.VocabSize)
		check(t, m.b.Download(out, a.Logits))
		logits = append(logits, out...)
		check(t, a.Close())
		start = end
	}
	check(t, m.FinishGrad())
	grads = map[string][]float32{}
	for _, p := range m.Params.Trained() {
		g := make([]float32, p.Size())
		check(t, m.b.Download(g, p.Grad))
		grads[p.Name] = g
	}
	return loss, logits, grads
}

func sum(x []float32) (s float64) {
	for _, v := range x {
		s += float64(v)
	}
	return s
}
