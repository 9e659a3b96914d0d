package decode

import (
	"context"
	"fmt"

	"mito/engine/arch"
	"mito/engine/compress/quant"
	"mito/engine/model"
)

// reader is a row that products of a layer read; that of the head belongs to the layer behind the last.
type reader struct {
	layer int
	input arch.Input
}

// moments adds up the squares of the rows that products read. Nil adds nothing.
type moments map[reader]*moment

type moment struct {
	sums []float64 // by channel
	rows int
}

// add takes rows of width elements of x, ld apart.
func (m moments) add(layer int, in arch.Input, x []float32, ld, rows, width int) {
	if m == nil {
		return
	}
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

// Calibrate runs a float model over sequences of its training data, each at most a context long, and returns the mean squares
// of what its matrices read, by which quant.Quantize weighs the errors of their columns: the diagonal of the Hessian of a
// layer's output error (Frantar et al., arXiv:2210.17323). A tied embedding, which is looked up too, is weighed alike. Results
// do not depend on the threads. Errors: ctx's, those of NewFloat32, ErrToken, ErrContextFull.
func Calibrate(ctx context.Context, w *model.Weights, sequences [][]int32, o Options) (c *quant.Calibration, err error) {
	runtime, err := NewFloat32(w, nil, o)
	if err != nil {
		return nil, err
	}
	r := runtime.(*float32Runtime)
	defer func() {
		if closeErr := r.Close(); err == nil {
			err = closeErr
		}
	}()
	s := newFloatSession(r, 1)
	seen := moments{}
	worker := <-s.workers // one sequence has one
	worker.seen = seen
	s.workers <- worker
	c = &quant.Calibration{Samples: &quant.Samples{}}
	for i, tokens := range sequences {
		s.Reset()
		if err := s.Score(0, tokens, func(int, []float32) error { return ctx.Err() }); err != nil {
			return nil, fmt.Errorf("decode: calibration: sequence %d: %w", i, err)
		}
		c.Samples.Add(tokens)
	}
	c.SecondMoment = seen.means(r.cfg)
	return c, nil
}
