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

// moments adds up what products read. It is a decode.Observer.
type moments struct {
	of       map[reader]*moment
	hessians bool // products of channels too
}

func newMoments(hessians bool) moments { return moments{map[reader]*moment{}, hessians} }

type moment struct {
	sums     []float64 // of squares, by channel
	largest  []float32 // magnitudes, by channel
	products []float64 // of channels [K,K], the lower triangle, or nil
	rows     int
}

// Observe takes rows of width elements of x, ld apart.
func (m moments) Observe(layer int, in arch.Input, x []float32, ld, rows, width int) {
	of := m.of[reader{layer, in}]
	if of == nil {
		of = &moment{sums: make([]float64, width), largest: make([]float32, width)}
		if m.hessians {
			of.products = make([]float64, width*width)
		}
		m.of[reader{layer, in}] = of
	}
	of.rows += rows
	for r := range rows {
		row := x[r*ld:][:width]
		for i, v := range row {
			of.sums[i] += float64(float64(v) * float64(v))
			of.largest[i] = max(of.largest[i], v, -v)
		}
		if of.products != nil {
			of.add(row)
		}
	}
}

// add adds the products of the channels of a row.
func (m *moment) add(row []float32) {
	for i, v := range row {
		if v == 0 {
			continue
		}
		line, f := m.products[i*len(row):][:i+1], float64(v)
		for j, w := range row[:i+1] {
			line[j] += float64(f * float64(w))
		}
	}
}

// damping is added to every mean square, as a share of their average: what calibration did not see may still come.
const damping = 0.01

// visit calls f for every matrix whose input was seen.
func (m moments) visit(c arch.Config, f func(name string, of *moment)) {
	for _, mod := range c.Modules() {
		layer := mod.Layer
		if layer < 0 {
			layer = c.Layers
		}
		if of := m.of[reader{layer, mod.Part.Input()}]; of != nil {
			f(mod.Name, of)
		}
	}
}

// means returns the damped mean squares of each module's input.
func (m moments) means(c arch.Config) map[string][]float32 {
	out := map[string][]float32{}
	m.visit(c, func(name string, of *moment) { out[name] = of.mean() })
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

// hessian returns the means of the products of channels, whole.
func (m *moment) hessian() []float64 {
	k := len(m.sums)
	h := make([]float64, k*k)
	for i := range k {
		for j := range i + 1 {
			v := m.products[i*k+j] / float64(m.rows)
			h[i*k+j], h[j*k+i] = v, v
		}
	}
	return h
}

// Options say what a calibration gathers.
type Options struct {
	Threads  int
	Hessians bool // the products of channels too, by which GPTQ rounds
}

// Run runs a float model over sequences of its training data, each at most a context long, and returns the mean squares
// of what its matrices read, by which quant.Quantize weighs the errors of their columns: the diagonal of the Hessian of a
// layer's output error (Frantar et al., arXiv:2210.17323). A tied embedding, which is looked up too, is weighed alike. Results
// do not depend on the threads. It stops soon after ctx ends. Errors: those of ctx and decode.NewFloat32, decode.ErrToken,
// decode.ErrContextFull.
func Run(ctx context.Context, w *model.Weights, sequences [][]int32, o Options) (c *quant.Calibration, err error) {
	seen := newMoments(o.Hessians)
	r, err := decode.NewFloat32(w, nil, decode.Options{Threads: o.Threads, Observer: seen})
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
	c.SecondMoment, c.Largest = seen.means(w.Config), map[string][]float32{}
	seen.visit(w.Config, func(name string, of *moment) { c.Largest[name] = of.largest })
	if o.Hessians {
		c.Hessian = map[string][]float64{}
		byInput := map[*moment][]float64{}
		seen.visit(w.Config, func(name string, of *moment) {
			if byInput[of] == nil {
				byInput[of] = of.hessian()
			}
			c.Hessian[name] = byInput[of]
		})
	}
	return c, nil
}
