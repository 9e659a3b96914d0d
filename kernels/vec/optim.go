package vec

import "math"

// AdamWArgs are the settings of one AdamW step.
type AdamWArgs struct {
	LR, Beta1, Beta2, Eps float32
	WeightDecay           float32 // decoupled; 0 for vectors
	BiasCorr1, BiasCorr2  float32 // 1-Beta1^t and 1-Beta2^t, see BiasCorrection
	GradScale             float32 // multiplies the gradient first: clipping, division by the number of tokens
}

// BiasCorrection returns 1 - beta^step, step >= 1, by squaring in float64.
func BiasCorrection(beta float32, step int64) float32 {
	power, b := 1.0, float64(beta)
	for ; step > 0; step >>= 1 {
		if step&1 != 0 {
			power = float64(power * b)
		}
		b = float64(b * b)
	}
	return float32(1 - power)
}

// adamWCoefs are the numbers the inner loop needs, each rounded once.
type adamWCoefs [10]float32

// Their order, which the assembly knows too.
const (
	coefGradScale = iota
	coefBeta1
	coefBeta2
	coefRest1
	coefRest2
	coefCorr1
	coefCorr2
	coefEps
	coefLR
	coefKeep
)

// AdamW takes one step of Adam with decoupled weight decay (Loshchilov and Hutter, arXiv:1711.05101) on parameters p with
// gradients g and moments m, v (all [n] f32; p, m, v are updated). With the coefficients k1 = 1-Beta1, k2 = 1-Beta2,
// c1 = 1/BiasCorr1, c2 = 1/BiasCorr2 and keep = 1 - float32(LR*WeightDecay), for each element, Sqrt being the IEEE square root:
//
//	G = g*GradScale
//	m = float32(Beta1*m) + float32(k1*G)
//	v = float32(Beta2*v) + float32(float32(k2*G)*G)
//	p = float32(p*keep) - float32(LR*float32(float32(m*c1) / float32(Sqrt(float32(v*c2)) + Eps)))
func AdamW(p, g, m, v []float32, o AdamWArgs) {
	n := len(p)
	c := adamWCoefs{
		coefGradScale: o.GradScale,
		coefBeta1:     o.Beta1, coefBeta2: o.Beta2,
		coefRest1: 1 - o.Beta1, coefRest2: 1 - o.Beta2,
		coefCorr1: 1 / o.BiasCorr1, coefCorr2: 1 / o.BiasCorr2,
		coefEps: o.Eps, coefLR: o.LR,
		coefKeep: 1 - float32(o.LR*o.WeightDecay),
	}
	adamW(p, head(g, n), head(m, n), head(v, n), &c)
}

func adamWGeneric(p, g, m, v []float32, c *adamWCoefs) {
	g, m, v = g[:len(p)], m[:len(p)], v[:len(p)]
	for i, w := range p {
		gi := float32(g[i] * c[coefGradScale])
		mi := float32(c[coefBeta1]*m[i]) + float32(c[coefRest1]*gi)
		vi := float32(c[coefBeta2]*v[i]) + float32(float32(c[coefRest2]*gi)*gi)
		m[i], v[i] = mi, vi
		d := float32(math.Sqrt(float64(float32(vi*c[coefCorr2])))) + c[coefEps]
		p[i] = float32(w*c[coefKeep]) - float32(c[coefLR]*float32(float32(mi*c[coefCorr1])/d))
	}
}
