package ref

import "math"

// CrossEntropy returns -Σ t log softmax(logits) with t = (1-smoothing)*onehot(target) + smoothing/V. arXiv:1512.00567.
func CrossEntropy(logits []float64, target int, smoothing float64) float64 {
	lse := LogSumExp(logits)
	loss := (1 - smoothing) * (lse - logits[target])
	for _, x := range logits {
		loss += smoothing / float64(len(logits)) * (lse - x)
	}
	return loss
}

// KL returns T²·Σ p log(p/q), q = softmax(logits/T): the divergence of the student from the teacher p. arXiv:1503.02531.
func KL(logits, p []float64, temperature float64) float64 {
	q := Softmax(logits, 1/temperature)
	kl := 0.0
	for i, v := range p {
		if v > 0 {
			kl += v * math.Log(v/q[i])
		}
	}
	return temperature * temperature * kl
}

// KLTopK returns T²·KL between k+1 buckets: the entries ids, of which the teacher has probs, and all others, of which it has tail.
func KLTopK(logits []float64, ids []int32, probs []float64, tail, temperature float64) float64 {
	q := Softmax(logits, 1/temperature)
	kl, rest := 0.0, 1.0
	for j, id := range ids {
		rest -= q[id]
		if probs[j] > 0 {
			kl += probs[j] * math.Log(probs[j]/q[id])
		}
	}
	if tail > 0 {
		kl += tail * math.Log(tail/rest)
	}
	return temperature * temperature * kl
}

// Gradient returns the derivatives of f with respect to every x[i] by central differences with step h.
func Gradient(f func(x []float64) float64, x []float64, h float64) []float64 {
	g := make([]float64, len(x))
	y := append([]float64(nil), x...)
	for i, v := range x {
		y[i] = v + h
		up := f(y)
		y[i] = v - h
		g[i] = (up - f(y)) / (2 * h)
		y[i] = v
	}
	return g
}
