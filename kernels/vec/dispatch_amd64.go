//go:build !purego

package vec

import "mito/kernels/isa"

func implementations() []isa.Impl[int] {
	return []isa.Impl[int]{{Name: isa.AVX2, Funcs: levelAVX2}, {Name: isa.AVX512, Funcs: levelAVX512}}
}

// Values of level.
const (
	levelAVX2 = 1 + iota
	levelAVX512
)

// wideRow reports whether AVX-512 pays for n elements: short rows with a masked tail are faster in halves.
func wideRow(n int) bool { return level == levelAVX512 && (n&15 == 0 || n >= 128) }

// Sums keep eight lanes, which AVX-512 cannot do faster than AVX2; where only they matter there is one form.

func exp(dst, x []float32) {
	switch {
	case wideRow(len(dst)):
		expAVX512(dst, x)
	case level != levelGeneric:
		expAVX2(dst, x)
	default:
		expGeneric(dst, x)
	}
}

func expSum(dst, x []float32, scale, shift float32) float32 {
	switch {
	case wideRow(len(dst)):
		return expSumAVX512(dst, x, scale, shift)
	case level != levelGeneric:
		return expSumAVX2(dst, x, scale, shift)
	}
	return expSumGeneric(dst, x, scale, shift)
}

func sumExp(x []float32, scale, shift float32) float32 {
	switch {
	case wideRow(len(x)):
		return sumExpAVX512(x, scale, shift)
	case level != levelGeneric:
		return sumExpAVX2(x, scale, shift)
	}
	return sumExpGeneric(x, scale, shift)
}

func sum(x []float32) float32 {
	if level == levelGeneric {
		return sumGeneric(x)
	}
	return sumAVX2(x)
}

func dot(x, y []float32) float32 {
	if level == levelGeneric {
		return dotGeneric(x, y)
	}
	return dotAVX2(x, y)
}

func dot3(x, y, z []float32) float32 {
	if level == levelGeneric {
		return dot3Generic(x, y, z)
	}
	return dot3AVX2(x, y, z)
}

func sumSquaresCentered(x []float32, mean float32) float32 {
	if level == levelGeneric {
		return sumSquaresCenteredGeneric(x, mean)
	}
	return sumSquaresCenteredAVX2(x, mean)
}

func dotCentered(w, x []float32, mean, rstd float32) float32 {
	if level == levelGeneric {
		return dotCenteredGeneric(w, x, mean, rstd)
	}
	return dotCenteredAVX2(w, x, mean, rstd)
}

func sumSquares64(x []float32) float64 {
	if level == levelGeneric {
		return sumSquares64Generic(x)
	}
	return sumSquares64AVX2(x)
}

func absMax(x []float32) float32 {
	if level == levelGeneric {
		return absMaxGeneric(x)
	}
	return absMaxAVX2(x)
}

func maxOf(x []float32) float32 {
	if level == levelGeneric {
		return maxGeneric(x)
	}
	return maxAVX2(x)
}

func addLanes(l *lanes, x []float32) {
	if level == levelGeneric {
		sumLanes(l, x)
	} else {
		addLanesAVX2((*[8]float32)(l), x)
	}
}

func add(dst, a, b []float32) {
	switch {
	case wideRow(len(dst)):
		addAVX512(dst, a, b)
	case level != levelGeneric:
		addAVX2(dst, a, b)
	default:
		addGeneric(dst, a, b)
	}
}

func mul(dst, a, b []float32) {
	switch {
	case wideRow(len(dst)):
		mulAVX512(dst, a, b)
	case level != levelGeneric:
		mulAVX2(dst, a, b)
	default:
		mulGeneric(dst, a, b)
	}
}

func scaleBy(dst, x []float32, s float32) {
	switch {
	case wideRow(len(dst)):
		scaleByAVX512(dst, x, s)
	case level != levelGeneric:
		scaleByAVX2(dst, x, s)
	default:
		scaleByGeneric(dst, x, s)
	}
}

func scaleMul(dst, x, y []float32, s float32) {
	switch {
	case wideRow(len(dst)):
		scaleMulAVX512(dst, x, y, s)
	case level != levelGeneric:
		scaleMulAVX2(dst, x, y, s)
	default:
		scaleMulGeneric(dst, x, y, s)
	}
}

func axpy(dst, x []float32, a float32) {
	switch {
	case wideRow(len(dst)):
		axpyAVX512(dst, x, a)
	case level != levelGeneric:
		axpyAVX2(dst, x, a)
	default:
		axpyGeneric(dst, x, a)
	}
}

func lerp(dst, x []float32, a float32) {
	switch {
	case wideRow(len(dst)):
		lerpAVX512(dst, x, a)
	case level != levelGeneric:
		lerpAVX2(dst, x, a)
	default:
		lerpGeneric(dst, x, a)
	}
}

func rotate(a, b, cos, sin []float32) {
	switch {
	case wideRow(len(a)):
		rotateAVX512(a, b, cos, sin)
	case level != levelGeneric:
		rotateAVX2(a, b, cos, sin)
	default:
		rotateGeneric(a, b, cos, sin)
	}
}

func quantizeRow(q []int8, x []float32) (a float32) {
	switch {
	case level == levelAVX512:
		return quantizeRowAVX512(q, x)
	case level == levelAVX2 && len(q) >= 8:
		return quantizeRowAVX2(q, x)
	}
	return quantizeRowGeneric(q, x)
}

func dequantize(dst []float32, q []int8, s float32) {
	switch {
	case wideRow(len(dst)):
		dequantizeAVX512(dst, q, s)
	case level != levelGeneric && len(dst) >= 8:
		dequantizeAVX2(dst, q, s)
	default:
		dequantizeGeneric(dst, q, s)
	}
}

func scaleInt32(dst []float32, acc []int32, ws []float32, xs float32) {
	switch {
	case wideRow(len(dst)):
		scaleInt32AVX512(dst, acc, ws, xs)
	case level != levelGeneric:
		scaleInt32AVX2(dst, acc, ws, xs)
	default:
		scaleInt32Generic(dst, acc, ws, xs)
	}
}

func addScaleInt32(dst []float32, acc []int32, ws []float32, xs float32) {
	switch {
	case wideRow(len(dst)):
		addScaleInt32AVX512(dst, acc, ws, xs)
	case level != levelGeneric:
		addScaleInt32AVX2(dst, acc, ws, xs)
	default:
		addScaleInt32Generic(dst, acc, ws, xs)
	}
}

func normalize(dst, x []float32, mean, rstd float32) {
	switch {
	case wideRow(len(dst)):
		normalizeAVX512(dst, x, mean, rstd)
	case level != levelGeneric:
		normalizeAVX2(dst, x, mean, rstd)
	default:
		normalizeGeneric(dst, x, mean, rstd)
	}
}

func normGainBackward(dgain, dy, x []float32, mean, rstd float32) {
	switch {
	case wideRow(len(dgain)):
		normGainBackwardAVX512(dgain, dy, x, mean, rstd)
	case level != levelGeneric:
		normGainBackwardAVX2(dgain, dy, x, mean, rstd)
	default:
		normGainBackwardGeneric(dgain, dy, x, mean, rstd)
	}
}

func rmsNormBackward(dx, dy, x []float32, rstd, c float32) {
	switch {
	case wideRow(len(dx)):
		rmsNormBackwardAVX512(dx, dy, x, rstd, c)
	case level != levelGeneric:
		rmsNormBackwardAVX2(dx, dy, x, rstd, c)
	default:
		rmsNormBackwardGeneric(dx, dy, x, rstd, c)
	}
}

func rmsNormGainBackward(dx, dy, x, gain []float32, rstd, c float32) {
	switch {
	case wideRow(len(dx)):
		rmsNormGainBackwardAVX512(dx, dy, x, gain, rstd, c)
	case level != levelGeneric:
		rmsNormGainBackwardAVX2(dx, dy, x, gain, rstd, c)
	default:
		rmsNormGainBackwardGeneric(dx, dy, x, gain, rstd, c)
	}
}

func layerNormBackward(dx, w, x []float32, mean, rstd, a, b float32) {
	switch {
	case wideRow(len(dx)):
		layerNormBackwardAVX512(dx, w, x, mean, rstd, a, b)
	case level != levelGeneric:
		layerNormBackwardAVX2(dx, w, x, mean, rstd, a, b)
	default:
		layerNormBackwardGeneric(dx, w, x, mean, rstd, a, b)
	}
}

func relu(dst, x []float32) {
	switch {
	case wideRow(len(dst)):
		reluAVX512(dst, x)
	case level != levelGeneric:
		reluAVX2(dst, x)
	default:
		reluGeneric(dst, x)
	}
}

func reluBackward(dx, dy, x []float32) {
	switch {
	case wideRow(len(dx)):
		reluBackwardAVX512(dx, dy, x)
	case level != levelGeneric:
		reluBackwardAVX2(dx, dy, x)
	default:
		reluBackwardGeneric(dx, dy, x)
	}
}

func relu2(dst, x []float32) {
	switch {
	case wideRow(len(dst)):
		relu2AVX512(dst, x)
	case level != levelGeneric:
		relu2AVX2(dst, x)
	default:
		relu2Generic(dst, x)
	}
}

func relu2Backward(dx, dy, x []float32) {
	switch {
	case wideRow(len(dx)):
		relu2BackwardAVX512(dx, dy, x)
	case level != levelGeneric:
		relu2BackwardAVX2(dx, dy, x)
	default:
		relu2BackwardGeneric(dx, dy, x)
	}
}

func silu(dst, x []float32) {
	switch {
	case wideRow(len(dst)):
		siluAVX512(dst, x)
	case level != levelGeneric:
		siluAVX2(dst, x)
	default:
		siluGeneric(dst, x)
	}
}

func siluBackward(dx, dy, x []float32) {
	switch {
	case wideRow(len(dx)):
		siluBackwardAVX512(dx, dy, x)
	case level != levelGeneric:
		siluBackwardAVX2(dx, dy, x)
	default:
		siluBackwardGeneric(dx, dy, x)
	}
}

func gelu(dst, x []float32) {
	switch {
	case wideRow(len(dst)):
		geluAVX512(dst, x)
	case level != levelGeneric:
		geluAVX2(dst, x)
	default:
		geluGeneric(dst, x)
	}
}

func geluBackward(dx, dy, x []float32) {
	switch {
	case wideRow(len(dx)):
		geluBackwardAVX512(dx, dy, x)
	case level != levelGeneric:
		geluBackwardAVX2(dx, dy, x)
	default:
		geluBackwardGeneric(dx, dy, x)
	}
}

func swiglu(dst, gate, up []float32) {
	switch {
	case wideRow(len(dst)):
		swigluAVX512(dst, gate, up)
	case level != levelGeneric:
		swigluAVX2(dst, gate, up)
	default:
		swigluGeneric(dst, gate, up)
	}
}

func swigluBackward(dgate, dup, dy, gate, up []float32) {
	switch {
	case wideRow(len(dgate)):
		swigluBackwardAVX512(dgate, dup, dy, gate, up)
	case level != levelGeneric:
		swigluBackwardAVX2(dgate, dup, dy, gate, up)
	default:
		swigluBackwardGeneric(dgate, dup, dy, gate, up)
	}
}

func probGrad(dst, e []float32, inv, u, scale float32) {
	switch {
	case wideRow(len(dst)):
		probGradAVX512(dst, e, inv, u, scale)
	case level != levelGeneric:
		probGradAVX2(dst, e, inv, u, scale)
	default:
		probGradGeneric(dst, e, inv, u, scale)
	}
}

func probGradAdd(dst, x []float32, shift, inv, u, scale float32) {
	switch {
	case wideRow(len(dst)):
		probGradAddAVX512(dst, x, shift, inv, u, scale)
	case level != levelGeneric:
		probGradAddAVX2(dst, x, shift, inv, u, scale)
	default:
		probGradAddGeneric(dst, x, shift, inv, u, scale)
	}
}

func klSum(x, p []float32, scale, lse float32) float32 {
	switch {
	case wideRow(len(x)):
		return klSumAVX512(x, p, scale, lse)
	case level != levelGeneric:
		return klSumAVX2(x, p, scale, lse)
	}
	return klSumGeneric(x, p, scale, lse)
}

func klGradAdd(dst, x, p []float32, scale, shift, inv, factor float32) {
	switch {
	case wideRow(len(dst)):
		klGradAddAVX512(dst, x, p, scale, shift, inv, factor)
	case level != levelGeneric:
		klGradAddAVX2(dst, x, p, scale, shift, inv, factor)
	default:
		klGradAddGeneric(dst, x, p, scale, shift, inv, factor)
	}
}

func adamW(p, g, m, v []float32, c *adamWCoefs) {
	switch {
	case wideRow(len(p)):
		adamWAVX512(p, g, m, v, (*[10]float32)(c))
	case level != levelGeneric:
		adamWAVX2(p, g, m, v, (*[10]float32)(c))
	default:
		adamWGeneric(p, g, m, v, c)
	}
}
