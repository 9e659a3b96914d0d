package prune

import (
	"context"

	"mito/backend"
	"mito/engine/arch"
	"mito/engine/compress/hessian"
	"mito/engine/model"
)

// window is the number of columns within which a mask is chosen, arXiv:2301.00774.
const window = 128

// sparseGPT prunes w in place, layer by layer: each layer's Hessians are those of the layers before it as they are pruned.
// masks holds what is dead already, and gets the new ones; shares are the sparsities of the matrices.
func sparseGPT(ctx context.Context, b backend.Backend, w *model.Weights, masks Masks, cal *Calibration, o Options, shares map[string]float64) error {
	if err := cal.check(OBC); err != nil {
		return err
	}
	found, err := o.Targets(w.Config)
	if err != nil {
		return err
	}
	of := map[int][]arch.Module{}
	for _, m := range found {
		of[m.Layer] = append(of[m.Layer], m)
	}
	for layer := range w.Config.Layers {
		if len(of[layer]) == 0 {
			continue
		}
		hessians, err := moments(ctx, b, w, cal, true, func(i int) bool { return i == layer })
		if err != nil {
			return err
		}
		triangles := map[arch.Input][]float64{}
		for _, m := range of[layer] {
			if err := ctx.Err(); err != nil {
				return err
			}
			in := m.Part.Input()
			if triangles[in] == nil {
				triangles[in] = hessian.Upper(hessian.Damped(hessians[place{layer, in}], m.Cols), m.Cols)
			}
			name := m.Weight().Name
			masks[name] = prunedMatrix(w.Tensors[name], m.Rows, m.Cols, triangles[in], masks[name], o.at(shares[name]))
		}
	}
	return nil
}

// prunedMatrix prunes a matrix [N,K] in place and returns its mask. u is the upper triangle of the inverse Hessian; prior, or
// nil, is what is dead already. Columns are fixed from left to right, and the error of each goes to those behind it:
//
//	e = (w_j - q_j)/U_jj,  w_i -= e·U_ji for i > j
//
// The mask of each window of columns is chosen when its first column is reached, by the error that each weight would leave.
func prunedMatrix(weight []float32, rows, cols int, u []float64, prior []float32, o Options) []float32 {
	w := make([]float64, len(weight))
	for i, v := range weight {
		w[i] = float64(v)
	}
	mask := make([]float32, len(w))
	for i := range mask {
		mask[i] = 1
	}
	wide := window
	if o.Kind == TwoFour {
		wide = 4
	}
	for from := 0; from < cols; from += wide {
		to := min(cols, from+wide)
		choose(o, mask, w, rows, cols, from, to, u, prior)
		for j := from; j < to; j++ {
			d := u[j*cols+j]
			for r := range rows {
				if mask[r*cols+j] != 0 {
					continue
				}
				row := w[r*cols:][:cols]
				e := row[j] / d
				row[j] = 0
				if e == 0 {
					continue
				}
				for i := j + 1; i < cols; i++ {
					row[i] -= float64(e * u[j*cols+i])
				}
			}
		}
	}
	for i, v := range w {
		weight[i] = float32(v) * mask[i]
		if weight[i] == 0 {
			weight[i] = 0 // no zero keeps a sign
		}
	}
	return mask
}

// choose sets the mask of the columns from to to-1.
func choose(o Options, mask []float32, w []float64, rows, cols, from, to int, u []float64, prior []float32) {
	n := to - from
	scores := make([]float64, rows*n)
	for r := range rows {
		for j := from; j < to; j++ {
			e := w[r*cols+j] / u[j*cols+j]
			scores[r*n+j-from] = float64(e * e)
		}
	}
	if o.Kind == Block4x8 {
		blockErrors(scores, w, rows, cols, from, to, u)
	}
	if prior != nil {
		for r := range rows {
			for j := from; j < to; j++ {
				if prior[r*cols+j] == 0 {
					scores[r*n+j-from] = dead
				}
			}
		}
	}
	part := maskOf(o, scores, rows, n)
	for r := range rows {
		copy(mask[r*cols+from:][:n], part[r*n:][:n])
		if prior != nil {
			hide(mask[r*cols+from:][:n], prior[r*cols+from:][:n])
		}
	}
}

// blockErrors sets scores to the errors that the weights of a row of a block leave when all of them go: e·U_SS = w_S.
func blockErrors(scores, w []float64, rows, cols, from, to int, u []float64) {
	n := to - from
	var e [blockCols]float64
	for r := range rows {
		for first := from; first < to; first += blockCols {
			for j := first; j < min(to, first+blockCols); j++ {
				s := w[r*cols+j]
				for i := first; i < j; i++ {
					s -= float64(e[i-first] * u[i*cols+j])
				}
				e[j-first] = s / u[j*cols+j]
				scores[r*n+j-from] = float64(e[j-first] * e[j-first])
			}
		}
	}
}
