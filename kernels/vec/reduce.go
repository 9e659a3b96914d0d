package vec

import "math"

// lanes are the eight partial sums of the stated order.
type lanes [8]float32

func (l *lanes) total() float32 {
	return ((l[0] + l[4]) + (l[2] + l[6])) + ((l[1] + l[5]) + (l[3] + l[7]))
}

// Sum returns the sum of x in the stated order.
func Sum(x []float32) float32 { return sum(x) }

// Dot returns the sum of float32(x[i]*y[i]) in the stated order.
func Dot(x, y []float32) float32 { return dot(x, head(y, len(x))) }

// SumSquares returns the sum of float32(x[i]*x[i]) in the stated order.
func SumSquares(x []float32) float32 { return dot(x, x) }

// SumSquares64 returns the sum of float64(x[i])*float64(x[i]) (each product exact) in eight float64 lanes and the stated
// tree: the norm of long gradients, where float32 lanes would lose digits.
func SumSquares64(x []float32) float64 { return sumSquares64(x) }

// AbsMax returns the largest |x[i]|, 0 for an empty x. It compares bits(x[i])&0x7fffffff as integers, so that a NaN is
// larger than everything and is returned as a NaN.
func AbsMax(x []float32) float32 { return absMax(x) }

// Max returns the largest x[i], -Inf for an empty x. NaN is skipped, and a zero result is +0: the order does not matter.
func Max(x []float32) float32 { return maxOf(x) }

// ArgMax returns the first index of the largest x[i] and skips NaN; 0 if there is none, -1 for an empty x.
func ArgMax(x []float32) int {
	if len(x) == 0 {
		return -1
	}
	best, m := 0, float32(math.Inf(-1))
	for i, v := range x {
		if v > m {
			best, m = i, v
		}
	}
	return best
}

func sumGeneric(x []float32) float32 {
	var l lanes
	sumLanes(&l, x)
	return l.total()
}

// sumLanes adds x[i] to lane i%8; the other functions whose names end in Lanes do the same with their terms.
func sumLanes(l *lanes, x []float32) {
	for i, v := range x {
		l[i&7] += v
	}
}

func dotGeneric(x, y []float32) float32 {
	var l lanes
	dotLanes(&l, x, y)
	return l.total()
}

func dotLanes(l *lanes, x, y []float32) {
	y = y[:len(x)]
	for i, v := range x {
		l[i&7] += float32(v * y[i])
	}
}

func sumSquares64Generic(x []float32) float64 {
	var l [8]float64
	for i, v := range x {
		d := float64(v)
		l[i&7] += float64(d * d)
	}
	return ((l[0] + l[4]) + (l[2] + l[6])) + ((l[1] + l[5]) + (l[3] + l[7]))
}

func absMaxGeneric(x []float32) float32 {
	var m uint32
	for _, v := range x {
		m = max(m, math.Float32bits(v)&0x7fffffff)
	}
	return math.Float32frombits(m)
}

func maxGeneric(x []float32) float32 {
	m := float32(math.Inf(-1))
	for _, v := range x {
		if v > m {
			m = v
		}
	}
	return m + 0 // -0 becomes +0
}
