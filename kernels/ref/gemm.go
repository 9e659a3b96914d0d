package ref

// Gemm returns alpha·A·B [M,N] in float64, where A is [M,K] (stored [K,M] with transA) and B is [K,N] (stored [N,K] with
// transB), together with the sums of the absolute products, which scale the rounding error of any order of summation.
// start is added first: nil for zeros, [N] for a bias, [M,N] for accumulation.
func Gemm(m, n, k int, a []float32, lda int, transA bool, b []float32, ldb int, transB bool, alpha float32, start []float32) (c, abs []float64) {
	c, abs = make([]float64, m*n), make([]float64, m*n)
	for i := range m {
		for j := range n {
			var s, t float64
			switch len(start) {
			case 0:
			case m * n:
				s = float64(start[i*n+j])
			default:
				s = float64(start[j])
			}
			t = max(s, -s)
			for l := range k {
				ai, bi := i*lda+l, l*ldb+j
				if transA {
					ai = l*lda + i
				}
				if transB {
					bi = j*ldb + l
				}
				p := float64(alpha) * float64(a[ai]) * float64(b[bi])
				s += p
				t += max(p, -p)
			}
			c[i*n+j], abs[i*n+j] = s, t
		}
	}
	return c, abs
}
