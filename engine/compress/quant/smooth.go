package quant

import (
	"errors"
	"fmt"
	"math"

	"mito/engine/arch"
)

// ErrSmooth is a power of smoothing that cannot be.
var ErrSmooth = errors.New("smoothing")

// smooth moves the sizes of channels from activations to weights, in front of products that read a norm (Xiao et al., SmoothQuant,
// arXiv:2211.10438): with a the largest magnitude that a calibration saw of a channel and b that of its column in the matrices that read it,
//
//	s = a^power / b^(1-power),  gain /= s,  bias /= s,  column *= s
//
// which changes no product, but rounds the row of activations in steps that fit more of its channels. It returns the tensors and
// the calibration that hold for them; those given stay as they are. A power of 0 changes nothing. Errors: ErrSmooth, ErrMissing.
func smooth(c arch.Config, tensors map[string][]float32, cal *Calibration, power float64) (map[string][]float32, *Calibration, error) {
	if power == 0 {
		return tensors, cal, nil
	}
	if !(power > 0 && power < 1) {
		return nil, nil, fmt.Errorf("quant: %w by a power of %v, want more than 0 and less than 1", ErrSmooth, power)
	}
	if cal == nil || cal.Largest == nil {
		return nil, nil, fmt.Errorf("quant: %w: smoothing without a calibration", ErrMissing)
	}
	out := map[string][]float32{}
	for name, x := range tensors {
		out[name] = x
	}
	moved := &Calibration{Samples: cal.Samples, SecondMoment: clone(cal.SecondMoment), Largest: clone(cal.Largest), Hessian: clone(cal.Hessian)}
	index := c.Index()
	for layer := range c.Layers {
		for norm, readers := range map[arch.Part][]arch.Part{
			arch.Norm1: {arch.Query, arch.Key, arch.Value}, arch.Norm2: {arch.Gate, arch.Up, arch.PLEGate},
		} {
			var list []arch.Module
			for _, p := range readers {
				if m, ok := index[arch.Place{Layer: layer, Part: p}]; ok {
					list = append(list, m)
				}
			}
			smoothNorm(out, moved, index[arch.Place{Layer: layer, Part: norm}], list, power)
		}
	}
	if m, ok := index[arch.Place{Layer: -1, Part: arch.Head}]; ok && !c.TieEmbeddings {
		smoothNorm(out, moved, index[arch.Place{Layer: -1, Part: arch.FinalNorm}], []arch.Module{m}, power)
	}
	return out, moved, nil
}

func clone[T any](m map[string]T) map[string]T {
	if m == nil {
		return nil
	}
	out := map[string]T{}
	for k, v := range m {
		out[k] = v
	}
	return out
}

// smoothNorm moves the sizes of the channels of one norm. Tensors that do not fit are left alone: Quantize says what is wrong with them.
func smoothNorm(tensors map[string][]float32, cal *Calibration, norm arch.Module, readers []arch.Module, power float64) {
	largest := cal.Largest[readers[0].Name]
	if len(largest) != norm.Cols {
		return
	}
	by := make([]float64, norm.Cols)
	for i, a := range largest {
		b := 0.0
		for _, m := range readers {
			w := tensors[m.Weight().Name]
			if len(w) != m.Rows*m.Cols {
				return
			}
			for r := range m.Rows {
				b = max(b, math.Abs(float64(w[r*m.Cols+i])))
			}
		}
		by[i] = 1
		if a > 0 && b > 0 {
			by[i] = float64(float32(math.Pow(float64(a), power) / math.Pow(b, 1-power)))
		}
	}
	scaled := func(name string, of func(i int) float64) {
		x := tensors[name]
		if x == nil {
			return
		}
		y := make([]float32, len(x))
		for i, v := range x {
			y[i] = float32(float64(v) * of(i))
		}
		tensors[name] = y
	}
	inverse := func(i int) float64 { return 1 / by[i] }
	scaled(norm.Weight().Name, inverse)
	if norm.Bias {
		scaled(norm.BiasTensor().Name, inverse)
	}
	var hessian []float64
	for _, m := range readers {
		scaled(m.Weight().Name, func(i int) float64 { return by[i%m.Cols] })
		squares, most := make([]float32, m.Cols), make([]float32, m.Cols)
		for i := range m.Cols {
			squares[i], most[i] = float32(float64(cal.SecondMoment[m.Name][i])/float64(by[i]*by[i])), float32(float64(cal.Largest[m.Name][i])/by[i])
		}
		cal.SecondMoment[m.Name], cal.Largest[m.Name] = squares, most
		if h := cal.Hessian[m.Name]; h != nil {
			if hessian == nil { // the readers share one
				hessian = make([]float64, len(h))
				for i, v := range h {
					hessian[i] = v / float64(by[i/m.Cols]*by[i%m.Cols])
				}
			}
			cal.Hessian[m.Name] = hessian
		}
	}
}
