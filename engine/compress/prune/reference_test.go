package prune

import (
	"math"
	"math/rand/v2"
	"testing"

	"mito/engine/compress/hessian"
)

// correlated draws rows of inputs whose columns depend on each other, and their Hessian.
func correlated(r *rand.Rand, n, k int) (x, h []float64) {
	x, h = make([]float64, n*k), make([]float64, k*k)
	for i := range n {
		row := x[i*k:][:k]
		for j := range row {
			row[j] = r.NormFloat64()
			if j > 0 {
				row[j] += 0.8 * row[j-1]
			}
		}
	}
	for i := range n {
		for a := range k {
			for b := range k {
				h[a*k+b] += x[i*k+a] * x[i*k+b] / float64(n)
			}
		}
	}
	return x, h
}

func matrix(r *rand.Rand, n int) []float32 {
	w := make([]float32, n)
	for i := range w {
		w[i] = float32(r.NormFloat64())
	}
	return w
}

// solve inverts a by Gauss and Jordan with pivots: nothing of what it is compared with.
func solve(a []float64, k int) []float64 {
	m := make([][]float64, k)
	for i := range m {
		m[i] = append(append([]float64(nil), a[i*k:][:k]...), make([]float64, k)...)
		m[i][k+i] = 1
	}
	for c := range k {
		best := c
		for r := c; r < k; r++ {
			if math.Abs(m[r][c]) > math.Abs(m[best][c]) {
				best = r
			}
		}
		m[c], m[best] = m[best], m[c]
		for r := range k {
			f := m[r][c] / m[c][c]
			for j := range m[r] {
				if r == c {
					continue
				}
				m[r][j] -= f * m[c][j]
			}
		}
		d := m[c][c]
		for j := range m[c] {
			m[c][j] /= d
		}
	}
	out := make([]float64, 0, k*k)
	for i := range m {
		out = append(out, m[i][k:]...)
	}
	return out
}

// minor takes the rows and columns of a that are listed.
func minor(a []float64, k int, keep []int) []float64 {
	var out []float64
	for _, i := range keep {
		for _, j := range keep {
			out = append(out, a[i*k+j])
		}
	}
	return out
}

// outputError is tr((V-W)·H·(V-W)ᵀ).
func outputError(v, w []float32, h []float64, k int) (e float64) {
	for r := 0; r < len(v); r += k {
		for a := range k {
			for b := range k {
				e += float64(v[r+a]-w[r+a]) * h[a*k+b] * float64(v[r+b]-w[r+b])
			}
		}
	}
	return e
}

func TestInverse(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, k := range []int{1, 2, 5, 33} {
		_, h := correlated(r, 3*k+2, k)
		h = hessian.Damped(h, k)
		want := solve(h, k)
		for i, v := range hessian.Inverse(h, k) {
			if math.Abs(v-want[i]) > 1e-9*(1+math.Abs(want[i])) {
				t.Fatalf("%d: element %d of the inverse is %v, want %v", k, i, v, want[i])
			}
		}
		u := hessian.Upper(h, k)
		for i := range k {
			for j := range k {
				s := 0.0
				for p := range k {
					s += u[p*k+i] * u[p*k+j]
				}
				if math.Abs(s-want[i*k+j]) > 1e-9*(1+math.Abs(want[i*k+j])) || i > j && u[i*k+j] != 0 {
					t.Fatalf("%d: UᵀU is %v at [%d,%d], want %v", k, s, i, j, want[i*k+j])
				}
			}
		}
	}
}

// sparseGPTReference is the definition: each column is fixed with the inverse of the Hessian of the columns from it on, found
// anew by elimination, with w_F ← w_F - w_j/[H_F⁻¹]_jj·[H_F⁻¹]_j: for what is pruned.
func sparseGPTReference(weight []float32, rows, k int, h []float64, choose func(w []float64, from int, diagonal func(j int) float64), mask func(i int) bool) []float64 {
	w := make([]float64, len(weight))
	for i, v := range weight {
		w[i] = float64(v)
	}
	var inverses [][]float64
	for j := range k {
		inverses = append(inverses, solve(minor(h, k, upTo(k)[j:]), k-j))
	}
	for j := range k {
		choose(w, j, func(i int) float64 { return inverses[i][0] })
		n := k - j
		for r := range rows {
			if mask(r*k + j) {
				continue
			}
			f := w[r*k+j] / inverses[j][0]
			for i := range n {
				w[r*k+j+i] -= f * inverses[j][i]
			}
		}
	}
	return w
}

func TestSparseGPTIsTheReference(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for _, c := range []struct {
		kind       Kind
		rows, cols int
	}{
		{Unstructured, 5, 12}, {Block4x8, 6, 44}, {Block4x8, 8, 32}, {TwoFour, 5, 12}, {Unstructured, 3, window + 9},
	} {
		_, h := correlated(r, 4*c.cols, c.cols)
		h = hessian.Damped(h, c.cols)
		weight := matrix(r, c.rows*c.cols)
		o := Options{Kind: c.kind, Score: OBC, Sparsity: 0.5}
		got := append([]float32(nil), weight...)
		mask := prunedMatrix(got, c.rows, c.cols, hessian.Upper(h, c.cols), nil, o)

		want := sparseGPTReference(weight, c.rows, c.cols, h, func(w []float64, j int, diagonal func(int) float64) {
			// The mask of unstructured and 2:4 is that of the least w²/[H_F⁻¹]_jj at the window's first column.
			wide := map[Kind]int{Unstructured: window, TwoFour: 4}[c.kind]
			if wide == 0 || j%wide != 0 {
				return
			}
			n := min(wide, c.cols-j)
			scores := make([]float64, c.rows*n)
			for row := range c.rows {
				for i := range n {
					v := w[row*c.cols+j+i]
					scores[row*n+i] = v * v / diagonal(j+i)
				}
			}
			for i, v := range maskOf(o, scores, c.rows, n) {
				if mask[i/n*c.cols+j+i%n] != v {
					t.Errorf("%s: the mask differs at row %d, column %d", c.kind, i/n, j+i%n)
				}
			}
		}, func(i int) bool { return mask[i] != 0 })
		for i, v := range got {
			if mask[i] == 0 && v != 0 {
				t.Fatalf("%s: element %d is pruned and %v", c.kind, i, v)
			}
			if mask[i] != 0 && math.Abs(float64(v)-want[i]) > 1e-5*(1+math.Abs(want[i])) {
				t.Fatalf("%s: element %d is %v, want %v", c.kind, i, v, want[i])
			}
		}
		plain := append([]float32(nil), weight...)
		for i := range plain {
			plain[i] *= mask[i]
		}
		if moved, still := outputError(weight, got, h, c.cols), outputError(weight, plain, h, c.cols); !(moved < still) {
			t.Errorf("%s: the error is %v with the weights moved, %v without", c.kind, moved, still)
		}
	}
}

// The error that a block is chosen by is that of taking the whole block out of the columns from its own on.
func TestBlockErrors(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	const rows, cols = 4, 20
	_, h := correlated(r, 60, cols)
	h = hessian.Damped(h, cols)
	weight := matrix(r, rows*cols)
	w := make([]float64, len(weight))
	for i, v := range weight {
		w[i] = float64(v)
	}
	scores := make([]float64, rows*cols)
	blockErrors(scores, w, rows, cols, 0, cols, hessian.Upper(h, cols))
	for _, at := range blocksOf(rows, cols) {
		first, n := at[0]%cols, len(at)/rows
		p := solve(minor(h, cols, upTo(cols)[first:]), cols-first)
		inv := solve(minor(p, cols-first, upTo(n)), n)
		want := 0.0
		for row := range rows {
			for i := range n {
				for j := range n {
					want += w[row*cols+first+i] * inv[i*n+j] * w[row*cols+first+j]
				}
			}
		}
		if got := total(scores, at); math.Abs(got-want) > 1e-9*want {
			t.Errorf("block at column %d: error %v, want %v", first, got, want)
		}
	}
}

// What is left after whole columns went is the least-squares fit, and the columns that went are those of a greedy search.
func TestEliminateIsLeastSquares(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	for _, each := range []int{1, 3} {
		const rows, cols, n = 5, 12, 3
		_, h := correlated(r, 50, cols)
		hd := hessian.Damped(h, cols)
		weight := matrix(r, rows*cols)
		fitted := func(gone []int) []float32 {
			left := without(cols, spread(gone, each))
			inv, k := solve(minor(hd, cols, left), len(left)), len(left)
			out := make([]float32, len(weight))
			for row := range rows {
				target := make([]float64, k) // (w·H)_left
				for i, at := range left {
					for j := range cols {
						target[i] += float64(weight[row*cols+j]) * hd[j*cols+at]
					}
				}
				for i, at := range left {
					s := 0.0
					for j := range k {
						s += inv[i*k+j] * target[j]
					}
					out[row*cols+at] = float32(s)
				}
			}
			return out
		}
		var greedy []int
		for range n {
			best, least := -1, 0.0
			for u := range cols / each {
				if contains(greedy, u) {
					continue
				}
				if e := outputError(weight, fitted(append(greedy[:len(greedy):len(greedy)], u)), hd, cols); best < 0 || e < least {
					best, least = u, e
				}
			}
			greedy = append(greedy, best)
		}
		got := append([]float32(nil), weight...)
		gone, err := eliminate(t.Context(), got, rows, cols, h, each, n)
		if err != nil {
			t.Fatal(err)
		}
		for i := range greedy {
			if gone[i] != greedy[i] {
				t.Errorf("units of %d: %v went, want %v", each, gone, greedy)
				break
			}
		}
		for i, v := range fitted(gone) {
			if math.Abs(float64(v-got[i])) > 1e-5 {
				t.Fatalf("units of %d: element %d is %v, want %v", each, i, got[i], v)
			}
		}
	}
}

func contains(list []int, v int) bool {
	for _, x := range list {
		if x == v {
			return true
		}
	}
	return false
}
