package ref

import "math"

// RMSNorm returns x*rstd*gain, rstd = 1/sqrt(mean(x²)+eps), and rstd; a nil gain is ones. arXiv:1910.07467.
func RMSNorm(x, gain []float64, eps float64) (y []float64, rstd float64) {
	ss := 0.0
	for _, v := range x {
		ss += v * v
	}
	rstd = 1 / math.Sqrt(ss/float64(len(x))+eps)
	y = make([]float64, len(x))
	for i, v := range x {
		y[i] = v * rstd * gainAt(gain, i)
	}
	return y, rstd
}

// LayerNorm returns (x-mean)*rstd*gain + bias, the mean and rstd; nil gain is ones, nil bias zeros. arXiv:1607.06450.
func LayerNorm(x, gain, bias []float64, eps float64) (y []float64, mean, rstd float64) {
	n := float64(len(x))
	for _, v := range x {
		mean += v / n
	}
	variance := 0.0
	for _, v := range x {
		variance += (v - mean) * (v - mean) / n
	}
	rstd = 1 / math.Sqrt(variance+eps)
	y = make([]float64, len(x))
	for i, v := range x {
		y[i] = (v - mean) * rstd * gainAt(gain, i)
		if bias != nil {
			y[i] += bias[i]
		}
	}
	return y, mean, rstd
}

func gainAt(gain []float64, i int) float64 {
	if gain == nil {
		return 1
	}
	return gain[i]
}
