//go:build !purego

package vec

import (
	"math"

	"mito/kernels/isa"
)

func implementations() []isa.Impl[int] { return []isa.Impl[int]{{Name: isa.NEON, Funcs: levelNEON}} }

const levelNEON = 1

// The assembly works on groups of eight; the rest of a row runs in Go.

// groups returns how many of n elements the assembly does.
func groups(n int) int {
	if level == levelGeneric {
		return 0
	}
	return n &^ 7
}

func sumSquares64(x []float32) float64 { return sumSquares64Generic(x) }

func absMax(x []float32) float32 {
	var l lanes
	n := groups(len(x))
	absMaxNEON(x[:n], (*[8]float32)(&l))
	m := math.Float32bits(absMaxGeneric(x[n:]))
	for _, v := range l {
		m = max(m, math.Float32bits(v))
	}
	return math.Float32frombits(m)
}

func maxOf(x []float32) float32 {
	n := groups(len(x))
	if n == 0 {
		return maxGeneric(x)
	}
	least := float32(math.Inf(-1))
	l := lanes{least, least, least, least, least, least, least, least}
	maxNEON(x[:n], (*[8]float32)(&l))
	return max(maxGeneric(l[:]), maxGeneric(x[n:]))
}

func addLanes(l *lanes, x []float32) {
	n := groups(len(x))
	sumNEON(x[:n], (*[8]float32)(l))
	sumLanes(l, x[n:])
}

func exp(dst, x []float32) {
	n := groups(len(dst))
	expNEON(dst[:n], x)
	if n < len(dst) {
		expGeneric(dst[n:], x[n:])
	}
}

func sumExp(x []float32, scale, shift float32) float32 {
	n := groups(len(x))
	var l lanes
	sumExpNEON(x[:n], scale, shift, (*[8]float32)(&l))
	sumExpLanes(&l, x[n:], scale, shift)
	return l.total()
}

func sum(x []float32) float32 {
	n := groups(len(x))
	var l lanes
	sumNEON(x[:n], (*[8]float32)(&l))
	sumLanes(&l, x[n:])
	return l.total()
}

func dot(x, y []float32) float32 {
	n := groups(len(x))
	var l lanes
	dotNEON(x[:n], y, (*[8]float32)(&l))
	dotLanes(&l, x[n:], y[n:])
	return l.total()
}

func dot3(x, y, z []float32) float32 {
	n := groups(len(x))
	var l lanes
	dot3NEON(x[:n], y, z, (*[8]float32)(&l))
	dot3Lanes(&l, x[n:], y[n:], z[n:])
	return l.total()
}

func sumSquaresCentered(x []float32, mean float32) float32 {
	n := groups(len(x))
	var l lanes
	sumSquaresCenteredNEON(x[:n], mean, (*[8]float32)(&l))
	sumSquaresCenteredLanes(&l, x[n:], mean)
	return l.total()
}

func add(dst, a, b []float32) {
	n := groups(len(dst))
	addNEON(dst[:n], a, b)
	if n < len(dst) {
		addGeneric(dst[n:], a[n:], b[n:])
	}
}

func mul(dst, a, b []float32) {
	n := groups(len(dst))
	mulNEON(dst[:n], a, b)
	if n < len(dst) {
		mulGeneric(dst[n:], a[n:], b[n:])
	}
}

func scaleBy(dst, x []float32, s float32) {
	n := groups(len(dst))
	scaleByNEON(dst[:n], x, s)
	if n < len(dst) {
		scaleByGeneric(dst[n:], x[n:], s)
	}
}

func scaleMul(dst, x, y []float32, s float32) {
	n := groups(len(dst))
	scaleMulNEON(dst[:n], x, y, s)
	if n < len(dst) {
		scaleMulGeneric(dst[n:], x[n:], y[n:], s)
	}
}

func axpy(dst, x []float32, a float32) {
	n := groups(len(dst))
	axpyNEON(dst[:n], x, a)
	if n < len(dst) {
		axpyGeneric(dst[n:], x[n:], a)
	}
}

func lerp(dst, x []float32, a float32) {
	n := groups(len(dst))
	lerpNEON(dst[:n], x, a)
	if n < len(dst) {
		lerpGeneric(dst[n:], x[n:], a)
	}
}

func rotate(a, b, cos, sin []float32) {
	n := groups(len(a))
	rotateNEON(a[:n], b, cos, sin)
	if n < len(a) {
		rotateGeneric(a[n:], b[n:], cos[n:], sin[n:])
	}
}

func quantizeRow(q []int8, x []float32) (a float32) {
	a = absMax(x)
	if quantFloor <= a && a <= math.MaxFloat32 {
		n, inv := groups(len(q)), 127/a
		quantizeNEON(q[:n], x, inv)
		quantizeGeneric(q[n:], x[n:], inv)
	}
	return a
}

func dequantize(dst []float32, q []int8, s float32) {
	n := groups(len(dst))
	dequantizeNEON(dst[:n], q, s)
	if n < len(dst) {
		dequantizeGeneric(dst[n:], q[n:], s)
	}
}

func normalize(dst, x []float32, mean, rstd float32) {
	n := groups(len(dst))
	normalizeNEON(dst[:n], x, mean, rstd)
	if n < len(dst) {
		normalizeGeneric(dst[n:], x[n:], mean, rstd)
	}
}

func relu(dst, x []float32) {
	n := groups(len(dst))
	reluNEON(dst[:n], x)
	if n < len(dst) {
		reluGeneric(dst[n:], x[n:])
	}
}

func reluBackward(dx, dy, x []float32) {
	n := groups(len(dx))
	reluBackwardNEON(dx[:n], dy, x)
	if n < len(dx) {
		reluBackwardGeneric(dx[n:], dy[n:], x[n:])
	}
}

func relu2(dst, x []float32) {
	n := groups(len(dst))
	relu2NEON(dst[:n], x)
	if n < len(dst) {
		relu2Generic(dst[n:], x[n:])
	}
}

func relu2Backward(dx, dy, x []float32) {
	n := groups(len(dx))
	relu2BackwardNEON(dx[:n], dy, x)
	if n < len(dx) {
		relu2BackwardGeneric(dx[n:], dy[n:], x[n:])
	}
}

func silu(dst, x []float32) {
	n := groups(len(dst))
	siluNEON(dst[:n], x)
	if n < len(dst) {
		siluGeneric(dst[n:], x[n:])
	}
}

func siluBackward(dx, dy, x []float32) {
	n := groups(len(dx))
	siluBackwardNEON(dx[:n], dy, x)
	if n < len(dx) {
		siluBackwardGeneric(dx[n:], dy[n:], x[n:])
	}
}

func gelu(dst, x []float32) {
	n := groups(len(dst))
	geluNEON(dst[:n], x)
	if n < len(dst) {
		geluGeneric(dst[n:], x[n:])
	}
}

func geluBackward(dx, dy, x []float32) {
	n := groups(len(dx))
	geluBackwardNEON(dx[:n], dy, x)
	if n < len(dx) {
		geluBackwardGeneric(dx[n:], dy[n:], x[n:])
	}
}

func swiglu(dst, gate, up []float32) {
	n := groups(len(dst))
	swigluNEON(dst[:n], gate, up)
	if n < len(dst) {
		swigluGeneric(dst[n:], gate[n:], up[n:])
	}
}

func probGrad(dst, e []float32, inv, u, scale float32) {
	n := groups(len(dst))
	probGradNEON(dst[:n], e, inv, u, scale)
	if n < len(dst) {
		probGradGeneric(dst[n:], e[n:], inv, u, scale)
	}
}

func klSum(x, p []float32, scale, lse float32) float32 {
	n := groups(len(x))
	var l lanes
	klSumNEON(x[:n], p, scale, lse, (*[8]float32)(&l))
	klSumLanes(&l, x[n:], p[n:], scale, lse)
	return l.total()
}

func adamW(p, g, m, v []float32, c *adamWCoefs) {
	n := groups(len(p))
	adamWNEON(p[:n], g, m, v, (*[10]float32)(c))
	if n < len(p) {
		adamWGeneric(p[n:], g[n:], m[n:], v[n:], c)
	}
}

func swigluBackward(dgate, dup, dy, gate, up []float32) {
	n := groups(len(dgate))
	swigluBackwardNEON(dgate[:n], dup, dy, gate, up)
	if n < len(dgate) {
		swigluBackwardGeneric(dgate[n:], dup[n:], dy[n:], gate[n:], up[n:])
	}
}

func expSum(dst, x []float32, scale, shift float32) float32 {
	n := groups(len(dst))
	var l lanes
	expSumNEON(dst[:n], x, scale, shift, (*[8]float32)(&l))
	expSumLanes(&l, dst[n:], x[n:], scale, shift)
	return l.total()
}

func dotCentered(w, x []float32, mean, rstd float32) float32 {
	n := groups(len(w))
	var l lanes
	dotCenteredNEON(w[:n], x, mean, rstd, (*[8]float32)(&l))
	dotCenteredLanes(&l, w[n:], x[n:], mean, rstd)
	return l.total()
}

func scaleInt32(dst []float32, acc []int32, ws []float32, xs float32) {
	n := groups(len(dst))
	scaleInt32NEON(dst[:n], acc, ws, xs)
	if n < len(dst) {
		scaleInt32Generic(dst[n:], acc[n:], ws[n:], xs)
	}
}

func addScaleInt32(dst []float32, acc []int32, ws []float32, xs float32) {
	n := groups(len(dst))
	addScaleInt32NEON(dst[:n], acc, ws, xs)
	if n < len(dst) {
		addScaleInt32Generic(dst[n:], acc[n:], ws[n:], xs)
	}
}

func normGainBackward(dgain, dy, x []float32, mean, rstd float32) {
	n := groups(len(dgain))
	normGainBackwardNEON(dgain[:n], dy, x, mean, rstd)
	if n < len(dgain) {
		normGainBackwardGeneric(dgain[n:], dy[n:], x[n:], mean, rstd)
	}
}

func rmsNormBackward(dx, dy, x []float32, rstd, c float32) {
	n := groups(len(dx))
	rmsNormBackwardNEON(dx[:n], dy, x, rstd, c)
	if n < len(dx) {
		rmsNormBackwardGeneric(dx[n:], dy[n:], x[n:], rstd, c)
	}
}

func rmsNormGainBackward(dx, dy, x, gain []float32, rstd, c float32) {
	n := groups(len(dx))
	rmsNormGainBackwardNEON(dx[:n], dy, x, gain, rstd, c)
	if n < len(dx) {
		rmsNormGainBackwardGeneric(dx[n:], dy[n:], x[n:], gain[n:], rstd, c)
	}
}

func layerNormBackward(dx, w, x []float32, mean, rstd, a, b float32) {
	n := groups(len(dx))
	layerNormBackwardNEON(dx[:n], w, x, mean, rstd, a, b)
	if n < len(dx) {
		layerNormBackwardGeneric(dx[n:], w[n:], x[n:], mean, rstd, a, b)
	}
}

func probGradAdd(dst, x []float32, shift, inv, u, scale float32) {
	n := groups(len(dst))
	probGradAddNEON(dst[:n], x, shift, inv, u, scale)
	if n < len(dst) {
		probGradAddGeneric(dst[n:], x[n:], shift, inv, u, scale)
	}
}

func klGradAdd(dst, x, p []float32, scale, shift, inv, factor float32) {
	n := groups(len(dst))
	klGradAddNEON(dst[:n], x, p, scale, shift, inv, factor)
	if n < len(dst) {
		klGradAddGeneric(dst[n:], x[n:], p[n:], scale, shift, inv, factor)
	}
}
