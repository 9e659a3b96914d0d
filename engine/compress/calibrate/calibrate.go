package calibrate

import (
	"context"
	"errors"
	"fmt"

	"mito/engine/arch"
	"mito/engine/compress/quant"
	"mito/engine/decode"
	"mito/engine/model"
)

// reader is a row that products of a layer read; that of the head belongs to the layer behind the last.
type reader struct {
	layer int
	input arch.Input
}

// moments adds up the squares of the rows that products read. It is a decode.Observer.
type moments map[reader]*moment

type moment struct {
	sums []float64 // by channel
	rows int
}

// Observe takes rows of width elements of x, ld apart.
func (m moments) Observe(layer int, in arch.Input, x []float32, ld, rows, width int) {
	of := m[reader{layer, in}]
	if of == nil {
		of = &moment{sums: make([]float64, width)}
		m[reader{layer, in}] = of
	}
	of.rows += rows
	for r := range rows {
		for i, v := range x[r*ld:][:width] {
			of.sums[i] += float64(float64(v) * float64(v))
		}
	}
}

// damping is added to every mean square, as a share of their average: what calibration did not see may still come.
const damping = 0.01

// means returns the damped mean squares of each module's input.
func (m moments) means(c arch.Config) map[string][]float32 {
	out := map[string][]float32{}
	for _, mod := range c.Modules() {
		layer := mod.Layer
		if layer < 0 {
			layer = c.Layers
		}
		if of := m[reader{layer, mod.Part.Input()}]; of != nil {
			out[mod.Name] = of.mean()
		}
	}
	return out
}

func (m *moment) mean() []float32 {
	total := 0.0
	for _, v := range m.sums {
		total += v
	}
	mean := make([]float32, len(m.sums))
	for i, v := range m.sums {
		mean[i] = float32((v + float64(damping*total)/float64(len(m.sums))) / float64(m.rows))
	}
	return mean
}

// Run runs a float model over sequences of its training data, each at most a context long, and returns the mean squares
// of what its matrices read, by which quant.Quantize weighs the errors of their columns: the diagonal of the Hessian of a
// layer's output error (Frantar et al., arXiv:2210.17323). A tied embedding, which is looked up too, is weighed alike. Results
// do not depend on the threads. It stops soon after ctx ends. Errors: those of ctx and decode.NewFloat32, decode.ErrToken,
// decode.ErrContextFull.
func Run(ctx context.Context, w *model.Weights, sequences [][]int32, threads int) (c *quant.Calibration, err error) {
	seen := moments{}
	r, err := decode.NewFloat32(w, nil, decode.Options{Threads: threads, Observer: seen})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	s, err := r.NewSession(1)
	if err != nil {
		return nil, err
	}
	c = &quant.Calibration{Samples: &quant.Samples{}}
	for i, tokens := range sequences {
		s.Reset()
		err := s.Score(0, tokens, func(int, []float32) error { return ctx.Err() })
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil {
			return nil, fmt.Errorf("calibration: sequence %d: %w", i, err)
		}
		c.Samples.Add(tokens)
	}
	c.SecondMoment = seen.means(w.Config)
	return c, nil
}
