package quant

import (
	"context"
	"math"

	"mito/engine/compress/hessian"
	"mito/engine/student"
)

// compensate rounds x [Rows,Cols] anew to the grids that m has found for it, column by column from left to right, and makes up for
// the error of each in the columns behind it (Frantar et al., GPTQ, arXiv:2210.17323). With H = E[x·xᵀ] of the input, damped, and the upper
// triangle U of H⁻¹ = Uᵀ·U:
//
//	e = (w_j - q_j)/U_jj,  w_i -= e·U_ji for i > j
//
// A row keeps what the search gave it where that leaves a smaller error (w-q)·H·(w-q)ᵀ. Errors: ctx's.
func compensate(ctx context.Context, m *student.Matrix, x, weight []float32, h []float64, bits int) error {
	k := m.Cols
	damped := hessian.Damped(h, k)
	u := hessian.Upper(damped, k)
	w, try, own := make([]float64, k), make([]int8, k), make([]int8, k)
	for r := range m.Rows {
		if err := ctx.Err(); err != nil {
			return err
		}
		row, q := x[r*k:][:k], m.Q[r*k:][:k]
		scale, groups := m.Scale[r], []int{1}
		if bits == wholeBits {
			copy(own, q)
		} else {
			scale, groups = searchGrid(own, row, weight, bits)
		}
		if scale == 0 {
			continue
		}
		for i, v := range row {
			w[i] = float64(v)
		}
		most := float64(MaxCode(bits))
		for j := range k {
			g := 1
			if bits != wholeBits {
				g = groups[j/groupSize]
			}
			code := 0.0
			if g > 0 {
				code = math.Round(min(most, max(-most, w[j]/(float64(scale)*float64(g)))))
			}
			try[j] = int8(code * float64(g))
			e := (w[j] - float64(float64(scale)*float64(try[j]))) / u[j*k+j]
			if e == 0 {
				continue
			}
			for i, v := range u[j*k+j+1 : (j+1)*k] {
				w[j+1+i] -= float64(e * v)
			}
		}
		if outputError(try, row, scale, damped) < outputError(own, row, scale, damped) {
			copy(q, try)
			m.Scale[r] = scale
		}
	}
	return nil
}

// outputError is (w-q)·H·(w-q)ᵀ of a row.
func outputError(q []int8, x []float32, scale float32, h []float64) (e float64) {
	k := len(x)
	d := make([]float64, k)
	for i, v := range x {
		d[i] = float64(v) - float64(float64(scale)*float64(q[i]))
	}
	for i, a := range d {
		line, s := h[i*k:][:k], 0.0
		for j, b := range d {
			s += float64(line[j] * b)
		}
		e += float64(a * s)
	}
	return e
}

// clippedRow rounds to the steps that reach sigma standard deviations, of the row or of the group of codes, or the largest weight where
// that is less.
func clippedRow(q []int8, x []float32, bits int, sigma float64) float32 {
	limits := magnitudes(x)
	if bits != wholeBits {
		for i := range limits {
			limits[i] = min(limits[i], float64(sigma*deviation(part(x, i))))
		}
		return plainGroups(q, x, bits, limits)
	}
	largest := 0.0
	for _, a := range limits {
		largest = max(largest, a)
	}
	scale := float32(min(largest, float64(sigma*deviation(x))) / 127)
	if scale == 0 {
		clear(q)
		return 0
	}
	roundRow(q, x, scale)
	return scale
}

// deviation is the root of the mean square: weights are about as often below zero as above.
func deviation(x []float32) float64 {
	sum := 0.0
	for _, v := range x {
		sum += float64(float64(v) * float64(v))
	}
	return math.Sqrt(sum / float64(len(x)))
}
