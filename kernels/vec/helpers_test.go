package vec

import (
	"math"
	"math/rand/v2"
	"testing"
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

// near checks |got-want| <= tol*(1+|want|) and refuses NaN.
func near(t *testing.T, what string, got, want, tol float64) {
	t.Helper()
	if !(math.Abs(got-want) <= tol*(1+math.Abs(want))) {
		t.Errorf("%s: got %.9g, want %.9g, tolerance %g", what, got, want, tol)
	}
}

func nearAll(t *testing.T, what string, got []float32, want []float64, tol float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d values, want %d", what, len(got), len(want))
	}
	for i := range got {
		if !(math.Abs(float64(got[i])-want[i]) <= tol*(1+math.Abs(want[i]))) {
			t.Errorf("%s[%d]: got %.9g, want %.9g, tolerance %g", what, i, got[i], want[i], tol)
			return
		}
	}
}

func isNaN(x float32) bool { return x != x }

var sizes = []int{1, 2, 3, 7, 8, 9, 16, 31, 64, 96, 257, 1000}
