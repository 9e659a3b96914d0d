package prune

import (
	"context"
	"errors"
	"fmt"

	"gorgonia.org/tensor"

	"mito/backend"
	"mito/engine/arch"
	"mito/engine/compress/quant"
	"mito/engine/data"
	"mito/engine/model"
)

// Calibration is training data that scores are computed from.
type Calibration struct {
	Batch   data.Batch
	Samples *quant.Samples // its rows, as hashes
}

// NewCalibration takes the rows of a batch.
func NewCalibration(b data.Batch) *Calibration {
	c := &Calibration{Batch: b, Samples: &quant.Samples{}}
	for r := range b.Rows {
		c.Samples.Add(b.Inputs[r*b.Time:][:b.Time])
	}
	return c
}

// chunkTokens is about what goes through the model at once.
const chunkTokens = 1024

// chunks cuts the batch into parts of whole rows, all of one size but for the last.
func (c *Calibration) chunks() []data.Batch {
	rows := max(1, chunkTokens/max(1, c.Batch.Time))
	var list []data.Batch
	for lo := 0; lo < c.Batch.Rows; lo += rows {
		list = append(list, c.Batch.Slice(lo, min(lo+rows, c.Batch.Rows)))
	}
	return list
}

// place is a row that matrices of a layer read.
type place struct {
	layer int
	input arch.Input
}

// inputs are the second moments of what matrices read.
type inputs struct {
	full    bool // whole Hessians; else their diagonals
	wanted  func(layer int) bool
	sums    map[place][]float64 // [K,K], or [K]
	rows    float64
	live    []bool // rows of the pass that count: what stands behind the last target of a sequence is filling
	b       backend.Backend
	x       []float32
	xs, hs  map[int]*tensor.Dense // by width: the rows that count, and their Hessian
	slabs   []backend.Slab
	product []float32
}

// observer is a dense product that shows its input.
type observer struct {
	model.Dense
	at   place
	seen *inputs
}

func (o observer) Forward(b backend.Backend, y, x *tensor.Dense, s model.State) error {
	if err := o.seen.add(o.at, x); err != nil {
		return err
	}
	return o.Dense.Forward(b, y, x, s)
}

// watch gives the first matrix of each input an observer.
func (in *inputs) watch(l *model.Linear, _ *model.Declarer) model.Product {
	m := l.Module
	switch m.Part {
	case arch.Query, arch.Output, arch.Up, arch.Down, arch.PLEOut:
		if in.wanted(m.Layer) {
			return observer{model.Dense{W: l.Weight, B: l.Bias}, place{m.Layer, m.Part.Input()}, in}
		}
	}
	return nil
}

// add adds up x·xᵀ over the rows that count.
func (in *inputs) add(at place, x *tensor.Dense) error {
	shape := x.Shape()
	n, k := shape[0], shape[1]
	in.x = grow(in.x, n*k)
	if err := in.b.Download(in.x, x); err != nil {
		return err
	}
	for r, live := range in.live {
		if !live {
			clear(in.x[r*k:][:k])
		}
	}
	if !in.full {
		sum := in.sum(at, k)
		for i, v := range in.x[:n*k] {
			sum[i%k] += float64(float64(v) * float64(v))
		}
		return nil
	}
	xs, hs, err := in.room(n, k)
	if err != nil {
		return err
	}
	in.product = grow(in.product, k*k)
	if err := backend.First(
		in.b.Upload(xs, in.x), in.b.MatMul(hs, xs, xs, backend.MatMulArgs{TransA: true}), in.b.Download(in.product, hs),
	); err != nil {
		return err
	}
	sum := in.sum(at, k*k)
	for i, v := range in.product {
		sum[i] += float64(v)
	}
	return nil
}

func (in *inputs) sum(at place, n int) []float64 {
	if in.sums[at] == nil {
		in.sums[at] = make([]float64, n)
	}
	return in.sums[at]
}

// room finds the tensors for n rows of k.
func (in *inputs) room(n, k int) (xs, hs *tensor.Dense, err error) {
	if in.xs[k] == nil || in.xs[k].Shape()[0] != n {
		slab, err := backend.Reserve(in.b,
			backend.Want{To: &xs, DType: backend.F32, Shape: []int{n, k}}, backend.Want{To: &hs, DType: backend.F32, Shape: []int{k, k}})
		if err != nil {
			return nil, nil, err
		}
		in.slabs, in.xs[k], in.hs[k] = append(in.slabs, slab), xs, hs
	}
	return in.xs[k], in.hs[k], nil
}

func grow(x []float32, n int) []float32 {
	if cap(x) < n {
		return make([]float32, n)
	}
	return x[:n]
}

// run runs weights over the calibration; after is called behind the pass over each part, with the model and the pass.
func run(ctx context.Context, b backend.Backend, w *model.Weights, cal *Calibration, o model.Options,
	before func(data.Batch), after func(m *model.Model, a *model.Activations, part data.Batch) error) (err error) {
	m, err := model.Build(b, w.Config, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	for _, p := range m.Params.List {
		if len(w.Tensors[p.Name]) != p.Size() {
			return fmt.Errorf("prune: %s has %d values, want %d", p.Name, len(w.Tensors[p.Name]), p.Size())
		}
		if err := b.Upload(p.Value, w.Tensors[p.Name]); err != nil {
			return err
		}
	}
	var a *model.Activations
	defer func() {
		if a != nil {
			err = errors.Join(err, a.Close())
		}
	}()
	for _, part := range cal.chunks() {
		if err := ctx.Err(); err != nil {
			return err
		}
		if a == nil || a.Batch != part.Rows {
			if a != nil {
				if err := a.Close(); err != nil {
					return err
				}
			}
			if a, err = m.NewActivations(part.Rows, part.Time, o.Grads); err != nil {
				a = nil
				return err
			}
		}
		before(part)
		if err := backend.First(
			b.Upload(a.Inputs, part.Inputs), b.Upload(a.Targets, part.Targets),
			b.Upload(a.Weights, part.Weights), b.Upload(a.Positions, part.Positions),
		); err != nil {
			return err
		}
		if err := m.Forward(a); err != nil {
			return err
		}
		if err := after(m, a, part); err != nil {
			return err
		}
	}
	return nil
}

// moments runs weights over the calibration and returns E[x·xᵀ], or with full false its diagonal, of the inputs of the layers
// that are wanted.
func moments(ctx context.Context, b backend.Backend, w *model.Weights, cal *Calibration, full bool, wanted func(layer int) bool) (_ map[place][]float64, err error) {
	in := &inputs{full: full, wanted: wanted, sums: map[place][]float64{}, b: b, xs: map[int]*tensor.Dense{}, hs: map[int]*tensor.Dense{}}
	defer func() {
		for _, s := range in.slabs {
			err = errors.Join(err, s.Free())
		}
	}()
	err = run(ctx, b, w, cal, model.Options{Product: in.watch}, func(part data.Batch) {
		in.live = counted(part)
		for _, live := range in.live {
			if live {
				in.rows++
			}
		}
	}, func(*model.Model, *model.Activations, data.Batch) error { return nil })
	if err != nil {
		return nil, err
	}
	for _, sum := range in.sums {
		for i := range sum {
			sum[i] /= max(1, in.rows)
		}
	}
	return in.sums, nil
}

// counted says which tokens of a batch count: those up to the last target of their sequence.
func counted(b data.Batch) []bool {
	live := make([]bool, len(b.Inputs))
	for r := range b.Rows {
		seen := false
		for i := (r+1)*b.Time - 1; i >= r*b.Time; i-- {
			seen = seen || b.Weights[i] != 0
			live[i] = seen
		}
	}
	return live
}

// sensitivities returns Σ (g·w)² over the parts of the calibration by the names of tensors, g the gradient of the part's mean
// loss.
func sensitivities(ctx context.Context, b backend.Backend, w *model.Weights, cal *Calibration) (map[string][]float64, error) {
	sums := map[string][]float64{}
	for name, v := range w.Tensors {
		sums[name] = make([]float64, len(v))
	}
	var grad []float32
	err := run(ctx, b, w, cal, model.Options{Grads: true}, func(data.Batch) {}, func(m *model.Model, a *model.Activations, part data.Batch) error {
		weight := part.Weight()
		if weight == 0 {
			return nil
		}
		if err := backend.First(
			m.ZeroGrad(),
			b.CrossEntropy(a.Loss, a.DLogits, a.Logits, a.Targets, a.Weights, backend.CrossEntropyArgs{Scale: float32(1 / weight)}),
			m.Backward(a), m.FinishGrad(),
		); err != nil {
			return err
		}
		for _, p := range m.Params.Trained() {
			grad = grow(grad, p.Size())
			if err := b.Download(grad, p.Grad); err != nil {
				return err
			}
			sum := sums[p.Name]
			for i, v := range w.Tensors[p.Name] {
				gw := float64(v) * float64(grad[i])
				sum[i] += float64(gw * gw)
			}
		}
		return nil
	})
	return sums, err
}
