package prune

import (
	"context"

	"mito/engine/compress/hessian"
)

// eliminate takes n units of each columns from a matrix [N,K] in place, and returns them in the order in which they went: each
// time the one whose loss the other columns can best make up for. h [K,K] is E[x·xᵀ]. With P = H⁻¹ over the columns that are
// left and S the columns of a unit,
//
//	error = Σ_rows w_S·(P_SS)⁻¹·w_Sᵀ,  W ← W - W_S·(P_SS)⁻¹·P_S,  P ← P - P_:S·(P_SS)⁻¹·P_S:
//
// (arXiv:2208.11580 and, for columns of a whole matrix, arXiv:2302.04089). What comes out is the least-squares fit of the old
// outputs by the columns that stay. Errors: ctx's.
func eliminate(ctx context.Context, weight []float32, rows, cols int, h []float64, each, n int) ([]int, error) {
	w := make([]float64, len(weight))
	for i, v := range weight {
		w[i] = float64(v)
	}
	p := hessian.Inverse(hessian.Damped(h, cols), cols)
	units := cols / each
	gone := make([]bool, units)
	var order []int
	block, ws := make([]float64, each*each), make([]float64, each)
	for range n {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		best, least := -1, 0.0
		for u := range units {
			if gone[u] {
				continue
			}
			inv := hessian.Inverse(corner(block, p, cols, u*each, each), each)
			e := 0.0
			for r := range rows {
				row := w[r*cols+u*each:][:each]
				for i, v := range row {
					for j, x := range row {
						e += float64(float64(v*inv[i*each+j]) * x)
					}
				}
			}
			if best < 0 || e < least {
				best, least = u, e
			}
		}
		gone[best], order = true, append(order, best)
		at := best * each
		inv := hessian.Inverse(corner(block, p, cols, at, each), each)
		// What W and P lose is f·P_S: f is W_S·(P_SS)⁻¹, and P_:S·(P_SS)⁻¹.
		ps := append([]float64(nil), p[at*cols:][:each*cols]...)
		lose := func(row []float64) {
			for j := range each {
				ws[j] = 0
				for i := range each {
					ws[j] += float64(row[at+i] * inv[i*each+j])
				}
			}
			for i, f := range ws {
				if f == 0 {
					continue
				}
				for j, v := range ps[i*cols:][:cols] {
					row[j] -= float64(f * v)
				}
			}
			clear(row[at:][:each])
		}
		for r := range rows {
			lose(w[r*cols:][:cols])
		}
		for r := range cols {
			lose(p[r*cols:][:cols])
		}
		// The rows and columns of what is gone are zero, so that its columns of W stay so.
		for i := range each {
			clear(p[(at+i)*cols:][:cols])
		}
	}
	for i, v := range w {
		weight[i] = float32(v)
	}
	return order, nil
}

// corner copies a block of the diagonal of p.
func corner(dst, p []float64, cols, at, n int) []float64 {
	for i := range n {
		copy(dst[i*n:][:n], p[(at+i)*cols+at:][:n])
	}
	return dst
}
