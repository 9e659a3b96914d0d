package hessian

import (
	"math"
	"math/rand/v2"
	"testing"

	"mito/engine/internal/imports"
)

// TestImports holds what the package says of imports.
func TestImports(t *testing.T) { imports.Direct(t) }

// The inverse of a Hessian of random rows times the Hessian is the identity, and the triangle squares to the inverse.
func TestInverse(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, k := range []int{1, 2, 7, 33} {
		h := make([]float64, k*k)
		for range 2 * k {
			x := make([]float64, k)
			for i := range x {
				x[i] = rng.NormFloat64()
			}
			for i := range k {
				for j := range k {
					h[i*k+j] += x[i] * x[j]
				}
			}
		}
		h = Damped(h, k)
		inv, u := Inverse(h, k), Upper(h, k)
		for i := range k {
			for j := range k {
				product, square := 0.0, 0.0
				for p := range k {
					product += h[i*k+p] * inv[p*k+j]
					square += u[p*k+i] * u[p*k+j]
				}
				want := 0.0
				if i == j {
					want = 1
				}
				if math.Abs(product-want) > 1e-9 || math.Abs(square-inv[i*k+j]) > 1e-9*(1+math.Abs(inv[i*k+j])) || j < i && u[i*k+j] != 0 {
					t.Fatalf("k %d, element [%d,%d]: %v times the inverse, %v of the triangle, %v", k, i, j, product, square, inv[i*k+j])
				}
			}
		}
	}
}
