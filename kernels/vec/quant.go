package vec

import "math"

// quantFloor is the smallest largest magnitude that QuantizeRow resolves: products of
// its scale with others are no denormals, which processors treat differently.
const quantFloor = 0x1p-55

// QuantizeRow quantises one row symmetrically to [-127, 127] and returns its scale, so that x[i] ≈ scale*q[i]
// (q [n] int8, x [n] f32). With a = AbsMax(x):
//
//	a < 2^-55:       every q[i] = 0, scale 0
//	a is Inf or NaN:  every q[i] = 0, scale NaN, so that the defect shows in every product
//	otherwise:        v = 127/a;  t = x[i]*v;  q[i] = int(t >= 0 ? t+0.5 : t-0.5), truncated;  scale = a/127
//
// |t| cannot exceed 127*(1+2^-24)^2, so no q[i] leaves [-127, 127].
func QuantizeRow(q []int8, x []float32) (scale float32) {
	a := quantizeRow(q, head(x, len(q)))
	switch {
	case a < quantFloor:
		clear(q)
		return 0
	case !(a <= math.MaxFloat32):
		clear(q)
		return float32(math.NaN())
	}
	return a / 127
}

// DequantizeRow sets dst[i] = float32(q[i])*scale (dst [n] f32, q [n] int8).
func DequantizeRow(dst []float32, q []int8, scale float32) { dequantize(dst, head(q, len(dst)), scale) }

// ScaleInt32 sets dst[i] = float32(acc[i]) * float32(xs*ws[i]): integer dot products back to real numbers, with xs the scale
// of the activations and ws the scales of the weight rows (dst, acc, ws [n]).
func ScaleInt32(dst []float32, acc []int32, xs float32, ws []float32) {
	scaleInt32(dst, head(acc, len(dst)), head(ws, len(dst)), xs)
}

// AddScaleInt32 sets dst[i] = dst[i] + float32(float32(acc[i])*float32(xs*ws[i])): ScaleInt32 and a residual Add in one pass.
func AddScaleInt32(dst []float32, acc []int32, xs float32, ws []float32) {
	addScaleInt32(dst, head(acc, len(dst)), head(ws, len(dst)), xs)
}

// quantizeRowGeneric returns a and, where it is from quantFloor to the largest float32, sets q.
func quantizeRowGeneric(q []int8, x []float32) (a float32) {
	a = absMaxGeneric(x)
	if quantFloor <= a && a <= math.MaxFloat32 {
		quantizeGeneric(q, x, 127/a)
	}
	return a
}

func quantizeGeneric(q []int8, x []float32, inv float32) {
	x = x[:len(q)]
	for i, v := range x {
		t := float32(v * inv)
		if t >= 0 {
			q[i] = int8(int32(float32(t + 0.5)))
		} else {
			q[i] = int8(int32(float32(t - 0.5)))
		}
	}
}

func dequantizeGeneric(dst []float32, q []int8, scale float32) {
	q = q[:len(dst)]
	for i, v := range q {
		dst[i] = float32(float32(v) * scale)
	}
}

func scaleInt32Generic(dst []float32, acc []int32, ws []float32, xs float32) {
	acc, ws = acc[:len(dst)], ws[:len(dst)]
	for i, v := range acc {
		dst[i] = float32(float32(v) * float32(xs*ws[i]))
	}
}

func addScaleInt32Generic(dst []float32, acc []int32, ws []float32, xs float32) {
	acc, ws = acc[:len(dst)], ws[:len(dst)]
	for i, v := range acc {
		dst[i] += float32(float32(v) * float32(xs*ws[i]))
	}
}
