package convert

import (
	"context"
	"errors"
	"fmt"
	"math"

	"mito/engine/arch"
	"mito/engine/decode"
	"mito/engine/model"
)

// Moments are the second moments Σ x·xᵀ [C,C] of what queries, keys and values read, by layer.
type Moments [][]float64

// Observe implements decode.Observer.
func (m Moments) Observe(layer int, in arch.Input, x []float32, stride, rows, width int) {
	if in != arch.NormedAttn {
		return
	}
	for r := range rows {
		row := x[r*stride:][:width]
		for i, a := range row {
			dst := m[layer][i*width:][:i+1]
			for j, b := range row[:i+1] {
				dst[j] += float64(a) * float64(b)
			}
		}
	}
}

// Measure runs a float model over sequences, each at most a context long, and returns the moments. Errors: those of ctx and
// decode.NewFloat32, decode.ErrToken, decode.ErrContextFull.
func Measure(ctx context.Context, w *model.Weights, sequences [][]int32, threads int) (m Moments, err error) {
	for range w.Config.Layers {
		m = append(m, make([]float64, w.Config.HiddenSize*w.Config.HiddenSize))
	}
	r, err := decode.NewFloat32(w, nil, decode.Options{Threads: threads, Observer: m})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	s, err := r.NewSession(1)
	if err != nil {
		return nil, err
	}
	for i, tokens := range sequences {
		s.Reset()
		if err := s.Score(0, tokens, func(int, []float32) error { return ctx.Err() }); err != nil {
			return nil, fmt.Errorf("convert: sequence %d: %w", i, err)
		}
	}
	return m, nil
}

// damping is added to every square, as a share of their mean: what was not seen may still come.
const damping = 0.01

// factor is a lower triangular L with L·Lᵀ the damped moments of a layer; without moments it is the diagonal of the gains.
func (m Moments) factor(layer int, gain []float32) matrix {
	c := len(gain)
	l := newMatrix(c, c)
	trace := 0.0
	if m != nil {
		copy(l.v, m[layer])
		for i := range c {
			trace += l.v[i*c+i]
		}
	}
	if trace == 0 {
		clear(l.v)
		for i, v := range gain {
			if l.v[i*c+i] = float64(v); v == 0 {
				l.v[i*c+i] = 1
			}
		}
		return l
	}
	for i := range c { // Cholesky
		l.v[i*c+i] += damping * trace / float64(c)
		for j := range i + 1 {
			sum := l.v[i*c+j]
			for k := range j {
				sum -= l.v[i*c+k] * l.v[j*c+k]
			}
			if i == j {
				l.v[i*c+i] = math.Sqrt(max(sum, 1e-9*trace/float64(c)))
			} else {
				l.v[i*c+j] = sum / l.v[j*c+j]
			}
		}
	}
	return l
}

// over solves X·L = m for a lower triangular L, in place.
func (m matrix) over(l matrix) matrix {
	for r := range m.rows {
		x := m.row(r)
		for j := len(x) - 1; j >= 0; j-- {
			x[j] /= l.v[j*l.cols+j]
			for k, b := range l.row(j)[:j] {
				x[k] -= x[j] * b
			}
		}
	}
	return m
}
