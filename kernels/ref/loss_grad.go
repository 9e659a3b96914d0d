package ref

// CrossEntropyGrad returns the derivatives of CrossEntropy: softmax(logits) - t.
func CrossEntropyGrad(logits []float64, target int, smoothing float64) []float64 {
	g := Softmax(logits, 1)
	for i := range g {
		g[i] -= smoothing / float64(len(g))
	}
	g[target] -= 1 - smoothing
	return g
}

// KLGrad returns the derivatives of KL: T·(softmax(logits/T)·Σp - p).
func KLGrad(logits, p []float64, temperature float64) []float64 {
	g := Softmax(logits, 1/temperature)
	mass := 0.0
	for _, v := range p {
		mass += v
	}
	for i := range g {
		g[i] = temperature * (g[i]*mass - p[i])
	}
	return g
}

// KLTopKGrad returns the derivatives of KLTopK. With rest the student's mass outside ids, an entry in ids has
// T·(q·Σp - p) as in KLGrad, and another one shares in the tail: T·q·(Σp - tail/rest), Σp taken with the tail.
func KLTopKGrad(logits []float64, ids []int32, probs []float64, tail, temperature float64) []float64 {
	q := Softmax(logits, 1/temperature)
	rest, mass := 1.0, tail
	known := map[int]float64{}
	for j, id := range ids {
		rest -= q[id]
		mass += probs[j]
		known[int(id)] = probs[j]
	}
	g := make([]float64, len(logits))
	for i := range g {
		switch p, ok := known[i]; {
		case ok:
			g[i] = temperature * (q[i]*mass - p)
		case tail > 0:
			g[i] = temperature * q[i] * (mass - tail/rest)
		default:
			g[i] = temperature * q[i] * mass
		}
	}
	return g
}
