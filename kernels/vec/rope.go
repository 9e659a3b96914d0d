package vec

// RoPE turns one head by its position (Su et al., arXiv:2104.09864), pairing i with i+D/2 as Hugging Face Llama does, in
// place (x [D]; cos, sin [D/2]). With a = x[i], b = x[i+D/2]:
//
//	x[i]     = float32(a*cos[i]) - float32(b*sin[i])
//	x[i+D/2] = float32(b*cos[i]) + float32(a*sin[i])
//
// inverse turns back, that is, uses -sin[i]: the backward pass. D is even.
func RoPE(x, cos, sin []float32, inverse bool) {
	h := len(x) / 2
	a, b := head(x, h), x[h:h+h]
	if inverse {
		// The roles of the halves swap when the angle changes its sign.
		a, b = b, a
	}
	rotate(a, b, head(cos, h), head(sin, h))
}

// rotateGeneric sets a[i], b[i] = a*cos - b*sin, b*cos + a*sin.
func rotateGeneric(a, b, cos, sin []float32) {
	b, cos, sin = b[:len(a)], cos[:len(a)], sin[:len(a)]
	for i, u := range a {
		v, c, s := b[i], cos[i], sin[i]
		a[i] = float32(u*c) - float32(v*s)
		b[i] = float32(v*c) + float32(u*s)
	}
}
