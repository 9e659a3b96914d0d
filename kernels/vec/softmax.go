package vec

// Softmax sets dst[i] = e^x[i] / Σ e^x[j]. With m = Max(x), e[i] = Exp1(x[i]-m), S = the stated sum of e and v = 1/S:
// dst[i] = e[i]*v. A row that holds NaN or +Inf, or only -Inf, becomes NaN; single -Inf (masked) entries become +0.
func Softmax(dst, x []float32) { SoftmaxScaled(dst, x, 1) }

// SoftmaxScaled is Softmax of z[i] = float32(x[i]*scale), scale > 0 (1/T for a temperature T): m = float32(Max(x)*scale),
// e[i] = Exp1(z[i]-m), then as Softmax.
func SoftmaxScaled(dst, x []float32, scale float32) {
	if len(dst) == 0 {
		return
	}
	x = head(x, len(dst))
	m := float32(maxOf(x) * scale)
	s := expSum(dst, x, scale, m)
	scaleBy(dst, dst, 1/s)
}

// LogSumExp returns m + Log1(S) with m and S as in Softmax; -Inf for an empty x.
func LogSumExp(x []float32) float32 {
	m, s := maxSumExp(x, 1)
	return m + Log1(s)
}

// maxSumExp returns m = float32(Max(x)*scale) and the stated sum of Exp1(float32(x[i]*scale)-m).
func maxSumExp(x []float32, scale float32) (m, s float32) {
	m = float32(maxOf(x) * scale)
	return m, sumExp(x, scale, m)
}

// sumExpGeneric is expSumGeneric without the destination.
func sumExpGeneric(x []float32, scale, shift float32) float32 {
	var l lanes
	sumExpLanes(&l, x, scale, shift)
	return l.total()
}

func sumExpLanes(l *lanes, x []float32, scale, shift float32) {
	for i, v := range x {
		l[i&7] += Exp1(float32(v*scale) - shift)
	}
}
