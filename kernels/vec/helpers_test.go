package vec

import (
	"math"
	"math/rand/v2"
	"testing"

	"mito/kernels/kerneltest"
)

const eps32 = 0x1p-23

func normal(r *rand.Rand, n int, size float64) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(r.NormFloat64() * size)
	}
	return x
}

func wide(x []float32) []float64 {
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = float64(v)
	}
	return y
}

func rng(t testing.TB) *rand.Rand {
	t.Helper()
	return rand.New(rand.NewPCG(1, 2))
}

// within is a tolerance of float32 arithmetic, counted in roundings of one part in 2^24: rel of them of the result and
// abs of them of a term of size one. The kernels of this package give the same bits on every machine, so what was
// measured here holds everywhere; no count is more than ten times that, but for the one rounding that every result has.
type within struct{ rel, abs float64 }

func (w within) of(want float64) float64 { return kerneltest.Eps * (w.abs + w.rel*math.Abs(want)) }

// laneSum is how many roundings a sum of n terms in eight lanes is off by: the partial sums of a lane grow evenly to an
// eighth of the whole, and roundings that are independent add up as their root does.
func laneSum(n int) float64 { return 2 + math.Sqrt(float64(n)/8)/2 }

// near checks |got-want| against the tolerance and refuses NaN.
func near(t *testing.T, what string, got, want float64, tol within) {
	t.Helper()
	if d := math.Abs(got - want); !(d <= tol.of(want)) {
		t.Errorf("%s: got %.9g, want %.9g, off by %.3g, allowed %.3g", what, got, want, d, tol.of(want))
	}
}

// nearAll is near for every element.
func nearAll(t *testing.T, what string, got []float32, want []float64, tol within) {
	t.Helper()
	if err := kerneltest.Close(got, want, func(i int) float64 { return tol.of(want[i]) }); err != nil {
		t.Errorf("%s: %v", what, err)
	}
}

func isNaN(x float32) bool { return x != x }

var sizes = []int{1, 2, 3, 7, 8, 9, 16, 31, 64, 96, 257, 1000}
