package vec

// Constants of GELU in its tanh form: 2*sqrt(2/π), that times 0.044715, and three times that.
const (
	geluK0 = 1.5957691216057308  // 0x3fcc422a
	geluK1 = 0.07135481627159225 // 0x3d922279
	geluK2 = 0.21406444881477676 // 0x3e5b33b6
)

// ReLU sets dst[i] = x[i] < 0 ? +0 : x[i] (so NaN and -0 stay).
func ReLU(dst, x []float32) { relu(dst, head(x, len(dst))) }

// ReLUBackward sets dx[i] = x[i] > 0 ? dy[i] : +0. dx may be dy.
func ReLUBackward(dx, dy, x []float32) { reluBackward(dx, head(dy, len(dx)), head(x, len(dx))) }

// ReLU2 sets dst[i] = r*r with r = ReLU(x[i]) (So et al., arXiv:2109.08668). The result is never negative.
func ReLU2(dst, x []float32) { relu2(dst, head(x, len(dst))) }

// ReLU2Backward sets dx[i] = dy[i] * (r+r) with r = ReLU(x[i]). dx may be dy.
func ReLU2Backward(dx, dy, x []float32) { relu2Backward(dx, head(dy, len(dx)), head(x, len(dx))) }

// SiLU sets dst[i] = x[i] / (1 + Exp1(-x[i])) (Elfwing et al., arXiv:1702.03118).
func SiLU(dst, x []float32) { silu(dst, head(x, len(dst))) }

// SiLUBackward sets, with s = 1/(1+Exp1(-x[i])), dx[i] = dy[i] * float32(s*float32(1+float32(x[i]*float32(1-s)))). dx may be dy.
func SiLUBackward(dx, dy, x []float32) { siluBackward(dx, head(dy, len(dx)), head(x, len(dx))) }

// GELU is the tanh form of the Gaussian error linear unit (Hendrycks and Gimpel, arXiv:1606.08415),
// x/2*(1+tanh(sqrt(2/π)(x+0.044715x³))), written by 1+tanh(u/2) = 2/(1+e^-u). With z = x[i]*x[i]:
//
//	u = x[i] * float32(float32(z*0.0713548163) + 1.5957691216)
//	dst[i] = x[i] / (1 + Exp1(-u))
func GELU(dst, x []float32) { gelu(dst, head(x, len(dst))) }

// GELUBackward sets, with z and u as in GELU, s = 1/(1+Exp1(-u)) and d = float32(z*0.2140644488) + 1.5957691216:
//
//	dx[i] = dy[i] * float32(s + float32(float32(float32(x[i]*s)*float32(1-s))*d))
//
// dx may be dy.
func GELUBackward(dx, dy, x []float32) { geluBackward(dx, head(dy, len(dx)), head(x, len(dx))) }

// SwiGLU sets dst[i] = float32(gate[i]/(1+Exp1(-gate[i]))) * up[i] (Shazeer, arXiv:2002.05202). dst may be gate or up.
func SwiGLU(dst, gate, up []float32) { swiglu(dst, head(gate, len(dst)), head(up, len(dst))) }

// SwiGLUBackward sets dgate and dup. With e = 1+Exp1(-gate[i]), s = 1/e and u = float32(dy[i]*up[i]):
//
//	dup[i] = dy[i] * float32(gate[i]/e)
//	dgate[i] = u * float32(s*float32(1+float32(gate[i]*float32(1-s))))
//
// dgate may be gate, dup may be up, and either (not both) may be dy.
func SwiGLUBackward(dgate, dup, dy, gate, up []float32) {
	n := len(dgate)
	swigluBackward(dgate, head(dup, n), head(dy, n), head(gate, n), head(up, n))
}

func relu1(x float32) float32 {
	if x < 0 {
		return 0
	}
	return x
}

func reluGeneric(dst, x []float32) {
	x = x[:len(dst)]
	for i, v := range x {
		dst[i] = relu1(v)
	}
}

func reluBackwardGeneric(dx, dy, x []float32) {
	dy, x = dy[:len(dx)], x[:len(dx)]
	for i, v := range x {
		d := dy[i]
		if !(v > 0) {
			d = 0
		}
		dx[i] = d
	}
}

func relu2Generic(dst, x []float32) {
	x = x[:len(dst)]
	for i, v := range x {
		r := relu1(v)
		dst[i] = float32(r * r)
	}
}

func relu2BackwardGeneric(dx, dy, x []float32) {
	dy, x = dy[:len(dx)], x[:len(dx)]
	for i, v := range x {
		r := relu1(v)
		dx[i] = float32(dy[i] * float32(r+r))
	}
}

func siluGeneric(dst, x []float32) {
	x = x[:len(dst)]
	for i, v := range x {
		dst[i] = v / float32(1+Exp1(-v))
	}
}

func siluSlope(v, s float32) float32 {
	return float32(s * float32(1+float32(v*float32(1-s))))
}

func siluBackwardGeneric(dx, dy, x []float32) {
	dy, x = dy[:len(dx)], x[:len(dx)]
	for i, v := range x {
		s := 1 / float32(1+Exp1(-v))
		dx[i] = float32(dy[i] * siluSlope(v, s))
	}
}

func geluArg(v, z float32) float32 {
	return float32(v * float32(float32(z*geluK1)+geluK0))
}

func geluGeneric(dst, x []float32) {
	x = x[:len(dst)]
	for i, v := range x {
		dst[i] = v / float32(1+Exp1(-geluArg(v, float32(v*v))))
	}
}

func geluBackwardGeneric(dx, dy, x []float32) {
	dy, x = dy[:len(dx)], x[:len(dx)]
	for i, v := range x {
		z := float32(v * v)
		s := 1 / float32(1+Exp1(-geluArg(v, z)))
		d := float32(z*geluK2) + geluK0
		slope := s + float32(float32(float32(v*s)*float32(1-s))*d)
		dx[i] = float32(dy[i] * slope)
	}
}

func swigluGeneric(dst, gate, up []float32) {
	gate, up = gate[:len(dst)], up[:len(dst)]
	for i, g := range gate {
		h := g / float32(1+Exp1(-g))
		dst[i] = float32(h * up[i])
	}
}

func swigluBackwardGeneric(dgate, dup, dy, gate, up []float32) {
	n := len(dgate)
	dup, dy, gate, up = dup[:n], dy[:n], gate[:n], up[:n]
	for i, g := range gate {
		d := dy[i]
		u := float32(d * up[i])
		e := float32(1 + Exp1(-g))
		h := g / e
		dup[i] = float32(d * h)
		dgate[i] = float32(u * siluSlope(g, 1/e))
	}
}
