package ref

// RMSNormBackward returns dx and dgain of one row (x, gain, dy [C]). arXiv:1910.07467.
func RMSNormBackward(dy, x, gain []float64, eps float64) (dx, dgain []float64) {
	_, rstd := RMSNorm(x, nil, eps)
	n := float64(len(x))
	dx, dgain = make([]float64, len(x)), make([]float64, len(x))
	dot := 0.0
	for i := range x {
		dot += dy[i] * gainAt(gain, i) * x[i] / n
	}
	for i := range x {
		dx[i] = rstd * (dy[i]*gainAt(gain, i) - x[i]*rstd*rstd*dot)
		dgain[i] = dy[i] * x[i] * rstd
	}
	return dx, dgain
}

// LayerNormBackward returns dx, dgain and dbias of one row (x, gain, dy [C]). arXiv:1607.06450.
func LayerNormBackward(dy, x, gain []float64, eps float64) (dx, dgain, dbias []float64) {
	h, _, rstd := LayerNorm(x, nil, nil, eps)
	n := float64(len(x))
	dx, dgain = make([]float64, len(x)), make([]float64, len(x))
	a, b := 0.0, 0.0
	for i := range x {
		w := dy[i] * gainAt(gain, i)
		a += w / n
		b += w * h[i] / n
	}
	for i := range x {
		dx[i] = rstd * (dy[i]*gainAt(gain, i) - a - h[i]*b)
		dgain[i] = dy[i] * h[i]
	}
	return dx, dgain, append([]float64(nil), dy...)
}
