package attn

import "mito/kernels/vec"

// expRow replaces x by exp(scale·x - shift) and returns the sum.
func expRow(x []float32, scale, shift float32) float32 {
	for i, v := range x {
		x[i] = float32(v*scale) - shift
	}
	vec.Exp(x, x)
	return vec.Sum(x)
}

// gradRow turns scores into probabilities and gradients of probabilities into gradients of unscaled scores:
//
//	p = exp(scale·s - lse);  s = p;  dp = p·(dp - delta)·scale
func gradRow(s, dp []float32, scale, lse, delta float32) {
	expRow(s, scale, lse)
	for i, p := range s {
		dp[i] = float32(float32(p*(dp[i]-delta)) * scale)
	}
}
