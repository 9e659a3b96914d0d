package vec

// Add sets dst[i] = a[i] + b[i].
func Add(dst, a, b []float32) { add(dst, head(a, len(dst)), head(b, len(dst))) }

// Mul sets dst[i] = a[i] * b[i].
func Mul(dst, a, b []float32) { mul(dst, head(a, len(dst)), head(b, len(dst))) }

// Scale sets dst[i] = x[i] * s.
func Scale(dst, x []float32, s float32) { scaleBy(dst, head(x, len(dst)), s) }

// Axpy sets dst[i] = dst[i] + float32(a*x[i]).
func Axpy(dst []float32, a float32, x []float32) { axpy(dst, head(x, len(dst)), a) }

// Lerp sets dst[i] = dst[i] + float32(a*float32(x[i]-dst[i])): the step of an exponential moving average.
func Lerp(dst, x []float32, a float32) { lerp(dst, head(x, len(dst)), a) }

// Fill sets dst[i] = v.
func Fill(dst []float32, v float32) {
	for i := range dst {
		dst[i] = v
	}
}

func addGeneric(dst, a, b []float32) {
	a, b = a[:len(dst)], b[:len(dst)]
	for i, v := range a {
		dst[i] = v + b[i]
	}
}

func mulGeneric(dst, a, b []float32) {
	a, b = a[:len(dst)], b[:len(dst)]
	for i, v := range a {
		dst[i] = float32(v * b[i])
	}
}

func scaleByGeneric(dst, x []float32, s float32) {
	x = x[:len(dst)]
	for i, v := range x {
		dst[i] = float32(v * s)
	}
}

func axpyGeneric(dst, x []float32, a float32) {
	x = x[:len(dst)]
	for i, v := range x {
		dst[i] += float32(a * v)
	}
}

func lerpGeneric(dst, x []float32, a float32) {
	x = x[:len(dst)]
	for i, v := range x {
		d := dst[i]
		dst[i] = d + float32(a*float32(v-d))
	}
}
