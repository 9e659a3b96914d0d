package kerneltest

import "math/rand/v2"

// Sizes returns every n from 0 to dense and then n-1, n, n+1 around the powers of two and the multiples of 96 up to
// limit: all tails of all vector widths, and the widths that models have.
func Sizes(dense, limit int) []int {
	var s []int
	for n := 0; n <= min(dense, limit); n++ {
		s = append(s, n)
	}
	for n := dense + 1; n <= limit; n++ {
		near := false
		for d := -1; d <= 1; d++ {
			m := n + d
			near = near || m&(m-1) == 0 || m%96 == 0
		}
		if near {
			s = append(s, n)
		}
	}
	return s
}

// Rand returns a generator with a fixed seed for the named test, so that a failure repeats.
func Rand(name string) *rand.Rand {
	var seed uint64 = 14695981039346656037
	for _, c := range []byte(name) {
		seed = (seed ^ uint64(c)) * 1099511628211
	}
	return rand.New(rand.NewPCG(seed, 1))
}

// Normal fills s with normally distributed values and returns it.
func Normal(r *rand.Rand, s []float32) []float32 {
	for i := range s {
		s[i] = float32(r.NormFloat64())
	}
	return s
}

// Int8s fills s with values in [-127, 127] and returns it. extremes makes all of them -127 or 127.
func Int8s(r *rand.Rand, s []int8, extremes bool) []int8 {
	for i := range s {
		s[i] = int8(r.IntN(255) - 127)
		if extremes {
			s[i] = int8(r.IntN(2)*254 - 127)
		}
	}
	return s
}
