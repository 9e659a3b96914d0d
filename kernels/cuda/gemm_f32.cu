// Matrix products in float32.
#include "gemm_f32.cuh"

template <bool TransA, bool TransB>
DEVICE void gemm_f32(Epilogue out, const float* a, const float* b, const float* bias, int m, int n, int k, float alpha,
                     int accumulate) {
	using Gemm = GemmF32<TransA, TransB>;
	int row0 = blockIdx.y * kTile, col0 = blockIdx.x * kTile;
	float acc[8][4];
	UNROLL
	for (int i = 0; i < 8; i++) {
		UNROLL
		for (int j = 0; j < 4; j++) {
			int row = row0 + Gemm::row(i), col = col0 + Gemm::col(j);
			bool inside = row < m && col < n;
			acc[i][j] = inside && accumulate ? ((const float*)out.c)[(size_t)row * n + col] : inside && bias ? bias[col] : 0.0f;
		}
	}
	Gemm::multiply(acc, a, b, m, n, k, row0, col0, alpha);
	UNROLL
	for (int i = 0; i < 8; i++) {
		UNROLL
		for (int j = 0; j < 4; j++) {
			int row = row0 + Gemm::row(i), col = col0 + Gemm::col(j);
			if (row < m && col < n) out.store((size_t)row * n + col, acc[i][j]);
		}
	}
}

#define GEMM_F32(name, trans_a, trans_b)                                                                           \
	EXPORT __launch_bounds__(128) name(float* c, const float* a, const float* b, const float* bias, float* second, \
	                                   const float* other, int m, int n, int k, float alpha, int accumulate,       \
	                                   int kind) {                                                                 \
		gemm_f32<trans_a, trans_b>(Epilogue{c, second, other, kind, 0}, a, b, bias, m, n, k, alpha, accumulate);      \
	}                                                                                                              \
	KERNEL(name)

GEMM_F32(gemm_f32_nn, false, false)
GEMM_F32(gemm_f32_nt, false, true)
GEMM_F32(gemm_f32_tn, true, false)
GEMM_F32(gemm_f32_tt, true, true)
