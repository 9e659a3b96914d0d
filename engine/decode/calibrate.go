package decode

import (
	"fmt"

	"mito/engine/compress/quant"
	"mito/engine/model"
)

// inputs says which products of a layer read the same row.
type inputs int

const (
	readByQKV inputs = iota
	readByOut
	readByUp
	readByDown
	readsOfLayer
)

// readByHead is the only one of the layer behind the last.
const readByHead inputs = 0

// modules names the matrices that read it.
func (in inputs) modules(layer, layers int) []string {
	if layer == layers {
		return []string{"lm_head"}
	}
	var names []string
	for _, name := range [readsOfLayer][]string{
		readByQKV: {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"}, readByOut: {"self_attn.o_proj"},
		readByUp: {"mlp.gate_proj", "mlp.up_proj"}, readByDown: {"mlp.down_proj"},
	}[in] {
		names = append(names, fmt.Sprintf("model.layers.%d.%s", layer, name))
	}
	return names
}

// moments adds up the squares of the rows that products read. Nil adds nothing.
type moments struct {
	sums [][]float64 // [layer·readsOfLayer + inputs][channel]
	rows []int
}

func newMoments(layers int) *moments {
	n := (layers + 1) * int(readsOfLayer)
	return &moments{sums: make([][]float64, n), rows: make([]int, n)}
}

// add takes rows of width elements of x, ld apart.
func (m *moments) add(layer int, in inputs, x []float32, ld, rows, width int) {
	if m == nil {
		return
	}
	at := layer*int(readsOfLayer) + int(in)
	if m.sums[at] == nil {
		m.sums[at] = make([]float64, width)
	}
	m.rows[at] += rows
	for r := range rows {
		for i, v := range x[r*ld:][:width] {
			m.sums[at][i] += float64(float64(v) * float64(v))
		}
	}
}

// damping is added to every mean square, as a share of their average: what calibration did not see may still come.
const damping = 0.01

// means returns the damped mean squares of each module.
func (m *moments) means(layers int) map[string][]float32 {
	out := map[string][]float32{}
	for at, sums := range m.sums {
		if sums == nil {
			continue
		}
		total := 0.0
		for _, v := range sums {
			total += v
		}
		mean := make([]float32, len(sums))
		for i, v := range sums {
			mean[i] = float32((v + float64(damping*total)/float64(len(sums))) / float64(m.rows[at]))
		}
		for _, name := range inputs(at%int(readsOfLayer)).modules(at/int(readsOfLayer), layers) {
			out[name] = mean
		}
	}
	return out
}

// Calibrate runs a float model over sequences of its training data, each at most a context long, and returns the mean squares
// of what its matrices read, by which quant.Quantize weighs the errors of their columns: the diagonal of the Hessian of a
// layer's output error (Frantar et al., arXiv:2210.17323). A tied embedding, which is looked up too, is weighed alike. Results
// do not depend on the threads. Errors: those of NewFloat32, ErrToken, ErrContextFull.
func Calibrate(w *model.Weights, sequences [][]int32, o Options) (c *quant.Calibration, err error) {
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
	seen := newMoments(r.cfg.Layers)
	worker := <-s.workers // one sequence has one
	worker.seen = seen
	s.workers <- worker
	c = &quant.Calibration{Samples: &quant.Samples{}}
	for i, tokens := range sequences {
		s.Reset()
		if err := s.Score(0, tokens, func(int, []float32) error { return nil }); err != nil {
			return nil, fmt.Errorf("decode: calibration: sequence %d: %w", i, err)
		}
		c.Samples.Add(tokens)
	}
	c.SecondMoment = seen.means(r.cfg.Layers)
	return c, nil
}
