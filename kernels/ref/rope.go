package ref

import "math"

// RoPE returns x [D] turned to position pos: the pair (i, i+D/2) by the angle pos*theta^(-2i/D). arXiv:2104.09864.
func RoPE(x []float64, pos, theta float64) []float64 {
	d := len(x)
	y := make([]float64, d)
	for i := range d / 2 {
		sin, cos := math.Sincos(pos * math.Pow(theta, -2*float64(i)/float64(d)))
		a, b := x[i], x[i+d/2]
		y[i] = a*cos - b*sin
		y[i+d/2] = b*cos + a*sin
	}
	return y
}
