package ref

import "math"

// AdamW takes step number t >= 1 of Adam with decoupled weight decay on one parameter and returns it with its moments.
// arXiv:1711.05101.
func AdamW(p, g, m, v, lr, beta1, beta2, eps, decay float64, t int) (p1, m1, v1 float64) {
	m1 = beta1*m + (1-beta1)*g
	v1 = beta2*v + (1-beta2)*g*g
	mh := m1 / (1 - math.Pow(beta1, float64(t)))
	vh := v1 / (1 - math.Pow(beta2, float64(t)))
	return p - lr*decay*p - lr*mh/(math.Sqrt(vh)+eps), m1, v1
}
