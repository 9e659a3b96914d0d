package ref

import "math"

// The functions of this file state the student's arithmetic (engine/student/SPEC.md) in plain loops. They are the one part
// of this package that is not float64: each operation is rounded once to float32, and implementations agree to the bit.

// StudentSum adds term(i), 0 <= i < n, in eight lanes and a fixed tree.
func StudentSum(n int, term func(i int) float32) float32 {
	var l [8]float32
	for i := range n {
		l[i%8] += term(i)
	}
	return ((l[0] + l[4]) + (l[2] + l[6])) + ((l[1] + l[5]) + (l[3] + l[7]))
}

// StudentExp is the stated exponential.
func StudentExp(x float32) float32 {
	bits := math.Float32frombits
	switch {
	case x < -87:
		return 0
	case x > 88:
		return float32(math.Inf(1))
	case x != x:
		return x
	}
	n := int32(roundAway(float32(x * bits(0x3fb8aa3b))))
	r := x - float32(float32(n)*bits(0x3f318000))
	r -= float32(float32(n) * bits(0xb95e8083))
	p := bits(0x39506967)
	for _, c := range []uint32{0x3ab743ce, 0x3c088908, 0x3d2aa9c1, 0x3e2aaaaa, 0x3f000000} {
		p = float32(p*r) + bits(c)
	}
	y := float32(float32(p*r)*r) + r
	y++
	return float32(y * bits(uint32(n+127)<<23))
}

// roundAway moves t half a unit away from zero, for truncation to round it.
func roundAway(t float32) float32 {
	if t >= 0 {
		return t + 0.5
	}
	return t - 0.5
}

// mulr is the stated rounded product of two numbers in units of 2^-15.
func mulr(a, b int32) int32 { return (a*b + 16384) >> 15 }

// StudentPow2 is the stated power of two.
func StudentPow2(d int32) int32 {
	d = min(d, 65535)
	n, x := d>>11, d%2048*16
	a := 32767 - mulr(22632-mulr(7512-mulr(1261, x), x), x)
	return ((2*a)>>n + 1) >> 1
}

// StudentRSqrt is the stated 1/√x.
func StudentRSqrt(x float32) float32 {
	y := math.Float32frombits(0x5f3759df - math.Float32bits(x)>>1)
	h := float32(0.5 * x)
	for range 4 {
		y *= 1.5 - float32(float32(h*y)*y)
	}
	return y
}

// StudentQuantize returns one row as int8 and its scale.
func StudentQuantize(x []float32) (q []int8, scale float32) {
	q = make([]int8, len(x))
	var a float32
	for _, v := range x {
		if v != v {
			return q, v
		}
		a = max(a, v, -v)
	}
	switch {
	case a < 0x1p-55:
		return q, 0
	case a > math.MaxFloat32:
		return q, float32(math.NaN())
	}
	for i, v := range x {
		q[i] = int8(int32(roundAway(float32(v * (127 / a)))))
	}
	return q, a / 127
}

// StudentRMSNorm is the stated RMSNorm of a row.
func StudentRMSNorm(x, gain []float32, eps float32) []float32 {
	ss := StudentSum(len(x), func(i int) float32 { return float32(x[i] * x[i]) })
	r := StudentRSqrt(float32(ss/float32(len(x))) + eps)
	y := make([]float32, len(x))
	for i, v := range x {
		y[i] = float32(v*r) * gain[i]
	}
	return y
}

// StudentLayerNorm is the stated LayerNorm of a row; bias may be nil.
func StudentLayerNorm(x, gain, bias []float32, eps float32) []float32 {
	mean := StudentSum(len(x), func(i int) float32 { return x[i] }) / float32(len(x))
	ss := StudentSum(len(x), func(i int) float32 { return float32((x[i] - mean) * (x[i] - mean)) })
	r := StudentRSqrt(float32(ss/float32(len(x))) + eps)
	y := make([]float32, len(x))
	for i, v := range x {
		y[i] = float32(float32((v-mean)*r) * gain[i])
		if bias != nil {
			y[i] += bias[i]
		}
	}
	return y
}

// StudentLinear is the stated linear layer: xq [N,K], w [M,K], bias [M] or nil; result [N,M].
func StudentLinear(xq []int8, xscale []float32, w []int8, wscale, bias []float32, k int) []float32 {
	n, m := len(xscale), len(wscale)
	y := make([]float32, n*m)
	for i := range n {
		for j := range m {
			var acc int32
			for l := range k {
				acc += int32(xq[i*k+l]) * int32(w[j*k+l])
			}
			y[i*m+j] = float32(float32(acc) * float32(xscale[i]*wscale[j]))
			if bias != nil {
				y[i*m+j] += bias[j]
			}
		}
	}
	return y
}

// StudentActivation is the stated activation of one element: relu, relu2 or gelu.
func StudentActivation(name string, u float32) float32 {
	r := u
	if u < 0 {
		r = 0
	}
	switch name {
	case "relu":
		return r
	case "relu2":
		return float32(r * r)
	}
	z := float32(u * u)
	a := float32(u * (float32(z*math.Float32frombits(0x3d922279)) + math.Float32frombits(0x3fcc422a)))
	return u / (1 + StudentExp(-a))
}

// StudentSwiGLU is the stated SwiGLU of one element.
func StudentSwiGLU(gate, up float32) float32 {
	return float32(float32(gate/(1+StudentExp(-gate))) * up)
}

// StudentRoPE is the stated rotation of a head x [D] by cos, sin [D/2].
func StudentRoPE(x, cos, sin []float32) []float32 {
	h := len(x) / 2
	y := make([]float32, len(x))
	for i := range h {
		y[i] = float32(x[i]*cos[i]) - float32(x[i+h]*sin[i])
		y[i+h] = float32(x[i+h]*cos[i]) + float32(x[i]*sin[i])
	}
	return y
}
