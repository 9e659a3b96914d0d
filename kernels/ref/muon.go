package ref

import "math"

// NewtonSchulz returns X [M,N] after steps of X ← aX + (bA + cA²)X, A = XXᵀ, from x/(‖x‖+1e-7): all singular values near 1
// (Jordan 2024, kellerjordan.github.io/posts/muon; arXiv:2502.16982).
func NewtonSchulz(x []float64, m, n, steps int) []float64 {
	const a, b, c = 3.4445, -4.7750, 2.0315
	if m > n {
		return transpose(NewtonSchulz(transpose(x, m, n), n, m, steps), n, m)
	}
	norm := 0.0
	for _, v := range x {
		norm += v * v
	}
	norm = math.Sqrt(norm) + 1e-7
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = v / norm
	}
	for range steps {
		gram := product(y, transpose(y, m, n), m, m, n)
		poly := product(gram, gram, m, m, m)
		for i := range poly {
			poly[i] = b*gram[i] + c*poly[i]
		}
		next := product(poly, y, m, n, m)
		for i := range next {
			next[i] += a * y[i]
		}
		y = next
	}
	return y
}

// Muon takes one step and returns the matrix p [M,N] and its momentum: buf = mu·buf + g; u = g + mu·buf with nesterov, else
// buf; p - lr·(scale·NewtonSchulz(u) + decay·p).
func Muon(p, g, buf []float64, m, n, steps int, mu, lr, scale, decay float64, nesterov bool) (p1, buf1 []float64) {
	u := make([]float64, len(g))
	p1, buf1 = make([]float64, len(g)), make([]float64, len(g))
	for i := range g {
		buf1[i] = mu*buf[i] + g[i]
		u[i] = buf1[i]
		if nesterov {
			u[i] = g[i] + mu*buf1[i]
		}
	}
	u = NewtonSchulz(u, m, n, steps)
	for i := range p {
		p1[i] = p[i] - lr*(scale*u[i]+decay*p[i])
	}
	return p1, buf1
}

func transpose(x []float64, m, n int) []float64 {
	y := make([]float64, len(x))
	for i := range m {
		for j := range n {
			y[j*m+i] = x[i*n+j]
		}
	}
	return y
}

// product returns a [M,K] · b [K,N].
func product(a, b []float64, m, n, k int) []float64 {
	y := make([]float64, m*n)
	for i := range m {
		for l := range k {
			for j := range n {
				y[i*n+j] += a[i*k+l] * b[l*n+j]
			}
		}
	}
	return y
}
