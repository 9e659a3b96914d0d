package ref

import "math"

// Quantize returns the row as integers in [-127, 127], rounded half away from zero, and the scale max|x|/127.
func Quantize(x []float64) (q []int, scale float64) {
	a := 0.0
	for _, v := range x {
		a = math.Max(a, math.Abs(v))
	}
	q = make([]int, len(x))
	if a == 0 {
		return q, 0
	}
	for i, v := range x {
		q[i] = int(math.Round(v * 127 / a))
	}
	return q, a / 127
}
