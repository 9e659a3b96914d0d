// Package hessian solves with the second moments of what a matrix reads: E[x·xᵀ] is the Hessian of the squared error of its
// product, for every row alike.
//
// It imports the standard library only. A test holds it to that.
package hessian

import "math"

// damping is added to the diagonal of a Hessian, as a share of its mean: inputs that calibration did not see may still come,
// and an inverse exists.
const damping = 0.01

// Damped copies a Hessian [K,K] and adds damping to its diagonal.
func Damped(h []float64, k int) []float64 {
	out := append([]float64(nil), h...)
	mean := 0.0
	for i := range k {
		mean += h[i*k+i] / float64(k)
	}
	if mean == 0 {
		mean = 1
	}
	for i := range k {
		out[i*k+i] += float64(damping * mean)
	}
	return out
}

// cholesky returns the lower triangle L of a positive definite a [K,K] = L·Lᵀ.
func cholesky(a []float64, k int) []float64 {
	l := make([]float64, k*k)
	for i := range k {
		li := l[i*k:][:k]
		for j := range i + 1 {
			lj, s := l[j*k:][:j], a[i*k+j]
			for p, v := range lj {
				s -= float64(li[p] * v)
			}
			if i == j {
				// Rounding may leave a pivot that is not positive where inputs are nearly dependent.
				li[i] = math.Sqrt(max(s, 1e-30))
			} else {
				li[j] = s / l[j*k+j]
			}
		}
	}
	return l
}

// Inverse returns the inverse of a positive definite a [K,K].
func Inverse(a []float64, k int) []float64 {
	l := cholesky(a, k)
	// Rows of inv(L), lower triangular.
	x := make([]float64, k*k)
	for i := range k {
		xi := x[i*k:][:k]
		for p := range i {
			f := l[i*k+p]
			if f == 0 {
				continue
			}
			for j, v := range x[p*k:][:p+1] {
				xi[j] -= float64(f * v)
			}
		}
		d := 1 / l[i*k+i]
		for j := range i {
			xi[j] *= d
		}
		xi[i] = d
	}
	// a⁻¹ = L⁻ᵀ·L⁻¹, as a sum over the rows of L⁻¹.
	out := make([]float64, k*k)
	for p := range k {
		row := x[p*k:][:p+1]
		for i, f := range row {
			o := out[i*k:][:i+1]
			for j, v := range row[:i+1] {
				o[j] += float64(f * v)
			}
		}
	}
	for i := range k {
		for j := range i {
			out[j*k+i] = out[i*k+j]
		}
	}
	return out
}

// Upper returns the upper triangle U of a⁻¹ = Uᵀ·U.
func Upper(a []float64, k int) []float64 {
	l := cholesky(Inverse(a, k), k)
	u := make([]float64, k*k)
	for i := range k {
		for j := range i + 1 {
			u[j*k+i] = l[i*k+j]
		}
	}
	return u
}
