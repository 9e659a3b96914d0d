package ref

import "math"

// LogSumExp returns log Σ e^x[i].
func LogSumExp(x []float64) float64 {
	m := math.Inf(-1)
	for _, v := range x {
		m = math.Max(m, v)
	}
	if math.IsInf(m, -1) {
		return m
	}
	s := 0.0
	for _, v := range x {
		s += math.Exp(v - m)
	}
	return m + math.Log(s)
}

// Softmax returns e^(x[i]*scale) / Σ e^(x[j]*scale).
func Softmax(x []float64, scale float64) []float64 {
	z := make([]float64, len(x))
	for i, v := range x {
		z[i] = v * scale
	}
	lse := LogSumExp(z)
	for i := range z {
		z[i] = math.Exp(z[i] - lse)
	}
	return z
}
