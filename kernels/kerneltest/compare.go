package kerneltest

import (
	"fmt"
	"math"
)

// Eps is the unit roundoff of float32: half the distance from 1 to the next number.
const Eps = 1.0 / (1 << 24)

// SumTolerance bounds the error of a float32 sum of n rounded terms whose absolute values sum to abs, in any order:
// 2·eps·√n·abs, three and a half standard deviations where roundings are independent and evenly spread between -eps and
// eps (Higham and Mary, "A New Approach to Probabilistic Rounding Error Analysis", 2019), and never below one rounding
// of the result. n·eps·abs is the worst case; it is taken when it is smaller.
func SumTolerance(n int, abs float64) float64 {
	f := float64(n + 1)
	return math.Max(math.Min(2*math.Sqrt(f), f), 1) * Eps * abs
}

// Close reports the first element of got that differs from want by more than tol(i), or whose NaN or infinity is not
// the one wanted. A NaN tolerance accepts nothing.
func Close(got []float32, want []float64, tol func(i int) float64) error {
	if len(got) != len(want) {
		return fmt.Errorf("got %d elements, want %d", len(got), len(want))
	}
	for i, g := range got {
		w := want[i]
		if math.IsNaN(w) || math.IsNaN(float64(g)) || math.IsInf(w, 0) || math.IsInf(float64(g), 0) {
			if math.IsNaN(w) && math.IsNaN(float64(g)) || w == float64(g) {
				continue
			}
			return fmt.Errorf("element %d of %d: got %v, want %v", i, len(got), g, w)
		}
		d := math.Abs(float64(g) - w)
		if limit := tol(i); !(d <= limit) {
			return fmt.Errorf("element %d of %d: got %v, want %v, off by %.3g, allowed %.3g", i, len(got), g, w, d, limit)
		}
	}
	return nil
}

// Bits reports the first element of got that is not bitwise want. NaNs of any payload are the same.
func Bits(got, want []float32) error {
	if len(got) != len(want) {
		return fmt.Errorf("got %d elements, want %d", len(got), len(want))
	}
	for i, g := range got {
		if w := want[i]; math.Float32bits(g) != math.Float32bits(w) && (g == g || w == w) {
			return fmt.Errorf("element %d of %d: got %v (%08x), want %v (%08x)", i, len(got), g, math.Float32bits(g), w, math.Float32bits(w))
		}
	}
	return nil
}

// Equal reports the first element of got that is not want.
func Equal[T Element](got, want []T) error {
	if len(got) != len(want) {
		return fmt.Errorf("got %d elements, want %d", len(got), len(want))
	}
	for i, g := range got {
		if g != want[i] {
			return fmt.Errorf("element %d of %d: got %v, want %v", i, len(got), g, want[i])
		}
	}
	return nil
}
