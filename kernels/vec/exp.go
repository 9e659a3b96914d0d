package vec

import "math"

// Limits of Exp1. Inside them the result is a normal number.
const (
	expMin = -87
	expMax = 88
)

// Coefficients of Exp1, after the Cephes library's expf.
const (
	log2e = 1.44269504088896341 // 0x3fb8aa3b
	ln2Hi = 0.693359375         // 0x3f318000, exact in 10 bits
	ln2Lo = -2.12194440e-4      // 0xb95e8083
	expC0 = 1.9875691500e-4     // 0x39506967
	expC1 = 1.3981999507e-3     // 0x3ab743ce
	expC2 = 8.3334519073e-3     // 0x3c088908
	expC3 = 4.1665795894e-2     // 0x3d2aa9c1
	expC4 = 1.6666665459e-1     // 0x3e2aaaaa
	expC5 = 5.0000001201e-1     // 0x3f000000
)

// Exp1 returns e^x by the stated arithmetic, within 2 ulp of the true value on [-87, 88]. It is +0 for x < -87, +Inf for
// x > 88 and NaN for NaN. Otherwise, each operation rounded to float32:
//
//	t = x*1.44269504
//	n = int(t >= 0 ? t+0.5 : t-0.5), truncated
//	r = (x - n*0.693359375) - n*-2.12194440e-4
//	p = ((((1.9875691500e-4*r + 1.3981999507e-3)*r + 8.3334519073e-3)*r + 4.1665795894e-2)*r + 1.6666665459e-1)*r + 5.0000001201e-1
//	y = ((p*r)*r + r) + 1
//	result = y * 2^n, where 2^n is the float32 with bits (n+127)<<23
func Exp1(x float32) float32 {
	if x < expMin {
		return 0
	}
	if x > expMax {
		return float32(math.Inf(1))
	}
	if x != x {
		return x
	}
	t := float32(x * log2e)
	var n int32
	if t >= 0 {
		n = int32(float32(t + 0.5))
	} else {
		n = int32(float32(t - 0.5))
	}
	fn := float32(n)
	r := float32(x - float32(fn*ln2Hi))
	r = float32(r - float32(fn*ln2Lo))
	p := float32(expC0)
	p = float32(p*r) + expC1
	p = float32(p*r) + expC2
	p = float32(p*r) + expC3
	p = float32(p*r) + expC4
	p = float32(p*r) + expC5
	y := float32(float32(p*r)*r) + r
	y = float32(y + 1)
	return float32(y * math.Float32frombits(uint32(n+127)<<23))
}

// Coefficients of Log1, after the Cephes library's logf.
const (
	sqrtHalf = 0.707106781186547524
	logC0    = 7.0376836292e-2
	logC1    = -1.1514610310e-1
	logC2    = 1.1676998740e-1
	logC3    = -1.2420140846e-1
	logC4    = 1.4249322787e-1
	logC5    = -1.6668057665e-1
	logC6    = 2.0000714765e-1
	logC7    = -2.4999993993e-1
	logC8    = 3.3333331174e-1
	minNorm  = 0x1p-126
)

// Log1 returns the natural logarithm of x by the stated arithmetic, within 2 ulp away from 1. It is -Inf for 0 <= x < 2^-126
// (denormals count as zero), +Inf for +Inf and NaN for negative numbers and NaN. Otherwise, with x = f*2^k and 0.5 <= f < 1,
// each operation rounded to float32:
//
//	if f < 0.707106781 { k = k-1; r = (f+f) - 1 } else { r = f - 1 }
//	z = r*r
//	p = the polynomial of degree 8 in r with the coefficients logC0 .. logC8, by Horner's rule
//	y = (p*r)*z
//	y = y + k*-2.12194440e-4
//	y = y - 0.5*z
//	result = (r + y) + k*0.693359375
func Log1(x float32) float32 {
	switch {
	case x != x:
		return x
	case x < 0:
		return float32(math.NaN())
	case x < minNorm:
		return float32(math.Inf(-1))
	case x > math.MaxFloat32:
		return x
	}
	b := math.Float32bits(x)
	k := int32(b>>23) - 126
	f := math.Float32frombits(b&0x007fffff | 0x3f000000)
	var r float32
	if f < sqrtHalf {
		k--
		r = float32(f+f) - 1
	} else {
		r = f - 1
	}
	z := float32(r * r)
	p := float32(logC0)
	p = float32(p*r) + logC1
	p = float32(p*r) + logC2
	p = float32(p*r) + logC3
	p = float32(p*r) + logC4
	p = float32(p*r) + logC5
	p = float32(p*r) + logC6
	p = float32(p*r) + logC7
	p = float32(p*r) + logC8
	y := float32(float32(p*r) * z)
	fk := float32(k)
	y = y + float32(fk*ln2Lo)
	y = y - float32(0.5*z)
	return float32(r+y) + float32(fk*ln2Hi)
}

// RSqrt1 returns 1/sqrt(x) for positive normal x by the stated arithmetic, within 2.5 ulp:
//
//	y = float32 with bits 0x5f3759df - (bits(x)>>1);  h = 0.5*x
//	four times: y = y * (1.5 - (h*y)*y)
//
// Other arguments give values without meaning, never a trap.
func RSqrt1(x float32) float32 {
	y := math.Float32frombits(0x5f3759df - math.Float32bits(x)>>1)
	h := float32(0.5 * x)
	for range 4 {
		y = float32(y * float32(1.5-float32(float32(h*y)*y)))
	}
	return y
}

// Exp sets dst[i] = Exp1(x[i]).
func Exp(dst, x []float32) {
	exp(dst, head(x, len(dst)))
}

func expGeneric(dst, x []float32) {
	x = x[:len(dst)]
	for i, v := range x {
		dst[i] = Exp1(v)
	}
}

// expSumGeneric sets dst[i] = Exp1(float32(x[i]*scale) - shift) and returns the stated sum of them.
func expSumGeneric(dst, x []float32, scale, shift float32) float32 {
	var l lanes
	expSumLanes(&l, dst, x, scale, shift)
	return l.total()
}

func expSumLanes(l *lanes, dst, x []float32, scale, shift float32) {
	x = x[:len(dst)]
	for i, v := range x {
		e := Exp1(float32(v*scale) - shift)
		dst[i] = e
		l[i&7] += e
	}
}
