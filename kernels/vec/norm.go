package vec

// RMSNorm sets dst[i] = float32(x[i]*rstd)*gain[i] and returns rstd = RSqrt1(float32(SumSquares(x)/n) + eps); a nil gain leaves
// the second product out (Zhang and Sennrich, arXiv:1910.07467). dst, x, gain [n]; eps > 0.
func RMSNorm(dst, x, gain []float32, eps float32) (rstd float32) {
	n := len(dst)
	if n == 0 {
		return 0
	}
	x = head(x, n)
	rstd = RSqrt1(float32(dot(x, x)/float32(n)) + eps)
	if gain == nil {
		scaleBy(dst, x, rstd)
	} else {
		scaleMul(dst, x, head(gain, n), rstd)
	}
	return rstd
}

// LayerNorm normalises a row (Ba et al., arXiv:1607.06450) and returns what its backward pass needs:
//
//	mean = Sum(x)/n;  d[i] = x[i]-mean;  rstd = RSqrt1(float32(Σ float32(d[i]*d[i]) / n) + eps)
//	dst[i] = float32(float32(d[i]*rstd)*gain[i]) + bias[i]
//
// A nil gain leaves its product out, a nil bias its sum. dst, x, gain, bias [n]; eps > 0.
func LayerNorm(dst, x, gain, bias []float32, eps float32) (mean, rstd float32) {
	n := len(dst)
	if n == 0 {
		return 0, 0
	}
	x = head(x, n)
	mean = sum(x) / float32(n)
	rstd = RSqrt1(float32(sumSquaresCentered(x, mean)/float32(n)) + eps)
	normalize(dst, x, mean, rstd)
	if gain != nil {
		mul(dst, dst, head(gain, n))
	}
	if bias != nil {
		add(dst, dst, head(bias, n))
	}
	return mean, rstd
}

// RMSNormBackward sets dx and, unless dgain is nil, adds to dgain (dx, dgain, dy, x, gain [n]; dx may be dy). With
// w[i] = dy[i]*gain[i] (dy[i] for a nil gain), s = Σ float32(w[i]*x[i]) in the stated order and
// c = float32(float32(s*rstd)*rstd)/n:
//
//	dx[i] = rstd * float32(w[i] - float32(x[i]*c))
//	dgain[i] = dgain[i] + float32(dy[i]*float32(x[i]*rstd))
func RMSNormBackward(dx, dgain, dy, x, gain []float32, rstd float32) {
	n := len(dx)
	if n == 0 {
		return
	}
	dy, x = head(dy, n), head(x, n)
	var s float32
	if gain == nil {
		s = dot(dy, x)
	} else {
		gain = head(gain, n)
		s = dot3(dy, gain, x)
	}
	c := float32(float32(s*rstd)*rstd) / float32(n)
	if dgain != nil {
		normGainBackward(head(dgain, n), dy, x, 0, rstd)
	}
	if gain == nil {
		rmsNormBackward(dx, dy, x, rstd, c)
	} else {
		rmsNormGainBackward(dx, dy, x, gain, rstd, c)
	}
}

// LayerNormBackward sets dx and, where they are not nil, adds to dgain and dbias (all [n]; dx may be dy). With
// h[i] = float32(x[i]-mean)*rstd, w[i] = dy[i]*gain[i] (dy[i] for a nil gain), a = Σ w[i] / n and b = Σ float32(w[i]*h[i]) / n,
// sums in the stated order:
//
//	dx[i] = rstd * float32(float32(w[i]-a) - float32(h[i]*b))
//	dgain[i] = dgain[i] + float32(dy[i]*h[i]);  dbias[i] = dbias[i] + dy[i]
func LayerNormBackward(dx, dgain, dbias, dy, x, gain []float32, mean, rstd float32) {
	n := len(dx)
	if n == 0 {
		return
	}
	dy, x = head(dy, n), head(x, n)
	if dbias != nil {
		add(head(dbias, n), head(dbias, n), dy)
	}
	if dgain != nil {
		normGainBackward(head(dgain, n), dy, x, mean, rstd)
	}
	w := dy
	if gain != nil {
		mul(dx, dy, head(gain, n))
		w = dx
	}
	a := sum(w) / float32(n)
	b := dotCentered(w, x, mean, rstd) / float32(n)
	layerNormBackward(dx, w, x, mean, rstd, a, b)
}

// scaleMulGeneric sets dst[i] = float32(x[i]*s)*y[i].
func scaleMulGeneric(dst, x, y []float32, s float32) {
	x, y = x[:len(dst)], y[:len(dst)]
	for i, v := range x {
		dst[i] = float32(float32(v*s) * y[i])
	}
}

// sumSquaresCenteredGeneric returns the stated sum of float32(d*d), d = x[i]-mean.
func sumSquaresCenteredGeneric(x []float32, mean float32) float32 {
	var l lanes
	sumSquaresCenteredLanes(&l, x, mean)
	return l.total()
}

func sumSquaresCenteredLanes(l *lanes, x []float32, mean float32) {
	for i, v := range x {
		d := v - mean
		l[i&7] += float32(d * d)
	}
}

// normalizeGeneric sets dst[i] = float32(x[i]-mean)*rstd.
func normalizeGeneric(dst, x []float32, mean, rstd float32) {
	x = x[:len(dst)]
	for i, v := range x {
		dst[i] = float32(float32(v-mean) * rstd)
	}
}

// dot3Generic returns the stated sum of float32(float32(x[i]*y[i])*z[i]).
func dot3Generic(x, y, z []float32) float32 {
	var l lanes
	dot3Lanes(&l, x, y, z)
	return l.total()
}

func dot3Lanes(l *lanes, x, y, z []float32) {
	y, z = y[:len(x)], z[:len(x)]
	for i, v := range x {
		l[i&7] += float32(float32(v*y[i]) * z[i])
	}
}

// dotCenteredGeneric returns the stated sum of float32(w[i]*h), h = float32(x[i]-mean)*rstd.
func dotCenteredGeneric(w, x []float32, mean, rstd float32) float32 {
	var l lanes
	dotCenteredLanes(&l, w, x, mean, rstd)
	return l.total()
}

func dotCenteredLanes(l *lanes, w, x []float32, mean, rstd float32) {
	x = x[:len(w)]
	for i, v := range w {
		h := float32(float32(x[i]-mean) * rstd)
		l[i&7] += float32(v * h)
	}
}

// normGainBackwardGeneric adds float32(dy[i]*float32(float32(x[i]-mean)*rstd)) to dgain[i]; mean 0 is RMSNorm's case.
func normGainBackwardGeneric(dgain, dy, x []float32, mean, rstd float32) {
	dy, x = dy[:len(dgain)], x[:len(dgain)]
	for i, v := range dy {
		h := float32(float32(x[i]-mean) * rstd)
		dgain[i] += float32(v * h)
	}
}

func rmsNormBackwardGeneric(dx, dy, x []float32, rstd, c float32) {
	dy, x = dy[:len(dx)], x[:len(dx)]
	for i, w := range dy {
		dx[i] = float32(rstd * float32(w-float32(x[i]*c)))
	}
}

func rmsNormGainBackwardGeneric(dx, dy, x, gain []float32, rstd, c float32) {
	dy, x, gain = dy[:len(dx)], x[:len(dx)], gain[:len(dx)]
	for i, v := range dy {
		w := float32(v * gain[i])
		dx[i] = float32(rstd * float32(w-float32(x[i]*c)))
	}
}

func layerNormBackwardGeneric(dx, w, x []float32, mean, rstd, a, b float32) {
	w, x = w[:len(dx)], x[:len(dx)]
	for i, v := range w {
		h := float32(float32(x[i]-mean) * rstd)
		dx[i] = float32(rstd * float32(float32(v-a)-float32(h*b)))
	}
}
