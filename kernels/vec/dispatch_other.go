//go:build purego || !(amd64 || arm64)

package vec

import "mito/kernels/isa"

func implementations() []isa.Impl[int] { return nil }

func exp(dst, x []float32) { expGeneric(dst, x) }
func expSum(dst, x []float32, scale, shift float32) float32 {
	return expSumGeneric(dst, x, scale, shift)
}
func sumExp(x []float32, scale, shift float32) float32     { return sumExpGeneric(x, scale, shift) }
func sum(x []float32) float32                              { return sumGeneric(x) }
func dot(x, y []float32) float32                           { return dotGeneric(x, y) }
func dot3(x, y, z []float32) float32                       { return dot3Generic(x, y, z) }
func sumSquaresCentered(x []float32, mean float32) float32 { return sumSquaresCenteredGeneric(x, mean) }
func dotCentered(w, x []float32, mean, rstd float32) float32 {
	return dotCenteredGeneric(w, x, mean, rstd)
}
func sumSquares64(x []float32) float64              { return sumSquares64Generic(x) }
func absMax(x []float32) float32                    { return absMaxGeneric(x) }
func maxOf(x []float32) float32                     { return maxGeneric(x) }
func addLanes(l *lanes, x []float32)                { sumLanes(l, x) }
func add(dst, a, b []float32)                       { addGeneric(dst, a, b) }
func mul(dst, a, b []float32)                       { mulGeneric(dst, a, b) }
func scaleBy(dst, x []float32, s float32)           { scaleByGeneric(dst, x, s) }
func scaleMul(dst, x, y []float32, s float32)       { scaleMulGeneric(dst, x, y, s) }
func axpy(dst, x []float32, a float32)              { axpyGeneric(dst, x, a) }
func lerp(dst, x []float32, a float32)              { lerpGeneric(dst, x, a) }
func rotate(a, b, cos, sin []float32)               { rotateGeneric(a, b, cos, sin) }
func quantizeRow(q []int8, x []float32) (a float32) { return quantizeRowGeneric(q, x) }
func dequantize(dst []float32, q []int8, s float32) { dequantizeGeneric(dst, q, s) }
func scaleInt32(dst []float32, acc []int32, ws []float32, xs float32) {
	scaleInt32Generic(dst, acc, ws, xs)
}
func addScaleInt32(dst []float32, acc []int32, ws []float32, xs float32) {
	addScaleInt32Generic(dst, acc, ws, xs)
}
func normalize(dst, x []float32, mean, rstd float32) { normalizeGeneric(dst, x, mean, rstd) }
func normGainBackward(dgain, dy, x []float32, mean, rstd float32) {
	normGainBackwardGeneric(dgain, dy, x, mean, rstd)
}
func rmsNormBackward(dx, dy, x []float32, rstd, c float32) {
	rmsNormBackwardGeneric(dx, dy, x, rstd, c)
}
func rmsNormGainBackward(dx, dy, x, gain []float32, rstd, c float32) {
	rmsNormGainBackwardGeneric(dx, dy, x, gain, rstd, c)
}
func layerNormBackward(dx, w, x []float32, mean, rstd, a, b float32) {
	layerNormBackwardGeneric(dx, w, x, mean, rstd, a, b)
}
func relu(dst, x []float32)             { reluGeneric(dst, x) }
func reluBackward(dx, dy, x []float32)  { reluBackwardGeneric(dx, dy, x) }
func relu2(dst, x []float32)            { relu2Generic(dst, x) }
func relu2Backward(dx, dy, x []float32) { relu2BackwardGeneric(dx, dy, x) }
func silu(dst, x []float32)             { siluGeneric(dst, x) }
func siluBackward(dx, dy, x []float32)  { siluBackwardGeneric(dx, dy, x) }
func gelu(dst, x []float32)             { geluGeneric(dst, x) }
func geluBackward(dx, dy, x []float32)  { geluBackwardGeneric(dx, dy, x) }
func swiglu(dst, gate, up []float32)    { swigluGeneric(dst, gate, up) }
func swigluBackward(dgate, dup, dy, gate, up []float32) {
	swigluBackwardGeneric(dgate, dup, dy, gate, up)
}
func probGrad(dst, e []float32, inv, u, scale float32) { probGradGeneric(dst, e, inv, u, scale) }
func probGradAdd(dst, x []float32, shift, inv, u, scale float32) {
	probGradAddGeneric(dst, x, shift, inv, u, scale)
}
func klSum(x, p []float32, scale, lse float32) float32 { return klSumGeneric(x, p, scale, lse) }
func klGradAdd(dst, x, p []float32, scale, shift, inv, factor float32) {
	klGradAddGeneric(dst, x, p, scale, shift, inv, factor)
}
func adamW(p, g, m, v []float32, c *adamWCoefs) { adamWGeneric(p, g, m, v, c) }
