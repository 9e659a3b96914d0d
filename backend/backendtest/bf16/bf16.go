// Package bf16 converts between float32 and bfloat16, which is the upper half of a float32 by its bits.
package bf16

import "math"

// Eps is the most that rounding moves a number, in parts of it.
const Eps = 0x1p-8

// Round gives the nearest bfloat16 of each number, of two the even one. NaN is 0x7fff.
func Round(x []float32) []uint16 {
	h := make([]uint16, len(x))
	for i, v := range x {
		u := math.Float32bits(v)
		if u&0x7fffffff > 0x7f800000 {
			h[i] = 0x7fff
			continue
		}
		h[i] = uint16((u + 0x7fff + u>>16&1) >> 16)
	}
	return h
}

// Widen gives the float32 of each bfloat16.
func Widen(h []uint16) []float32 {
	x := make([]float32, len(h))
	for i, v := range h {
		x[i] = math.Float32frombits(uint32(v) << 16)
	}
	return x
}
