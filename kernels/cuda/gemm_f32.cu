// Matrix products in float32. Each element is one chain of fused multiply-adds
// over k, ascending, from c, from the bias or from zero: the contract of package
// kernels/gemm, whatever the tile. alpha·b is rounded before the chain begins.
#include "epilogue.cuh"

static constexpr int kTile = 64;      // rows and columns of c in a block
static constexpr int kDepth = 16;     // of k in a step
static constexpr int kGemmPad = 4;    // keeps the rows of a tile on 16 bytes and off one bank

// Loads a tile [kDepth, kTile] of an operand into shared memory, zero outside.
// contiguous says that k is the operand's fast dimension: rows of [size, k].
template <bool Contiguous>
DEVICE void load_tile_f32(float (*tile)[kTile + kGemmPad], const float* src, int first, int size, int k0, int k, int ld,
                          float factor) {
	for (int i = threadIdx.x; i < kTile * kDepth; i += 128) {
		int r = Contiguous ? i / kDepth : i % kTile;
		int kk = Contiguous ? i % kDepth : i / kTile;
		bool inside = first + r < size && k0 + kk < k;
		size_t at = Contiguous ? (size_t)(first + r) * ld + k0 + kk : (size_t)(k0 + kk) * ld + first + r;
		tile[kk][r] = inside ? factor * src[at] : 0.0f;
	}
}

template <bool TransA, bool TransB>
DEVICE void gemm_f32(Epilogue out, const float* a, const float* b, const float* bias, int m, int n, int k, float alpha,
                     int accumulate) {
	__shared__ __align__(16) float as[kDepth][kTile + kGemmPad];
	__shared__ __align__(16) float bs[kDepth][kTile + kGemmPad];
	int row0 = blockIdx.y * kTile, col0 = blockIdx.x * kTile;
	int tr = (threadIdx.x >> 4) * 8, tc = (threadIdx.x & 15) * 4;  // 8x4 elements a thread
	float acc[8][4];
	UNROLL
	for (int i = 0; i < 8; i++) {
		UNROLL
		for (int j = 0; j < 4; j++) {
			int row = row0 + tr + i, col = col0 + tc + j;
			bool inside = row < m && col < n;
			acc[i][j] = inside && accumulate ? out.c[(size_t)row * n + col] : inside && bias ? bias[col] : 0.0f;
		}
	}
	for (int k0 = 0; k0 < k; k0 += kDepth) {
		load_tile_f32<!TransA>(as, a, row0, m, k0, k, TransA ? m : k, 1.0f);
		load_tile_f32<TransB>(bs, b, col0, n, k0, k, TransB ? k : n, alpha);
		__syncthreads();
		int depth = min(kDepth, k - k0);
		for (int kk = 0; kk < depth; kk++) {
			float av[8], bv[4];
			UNROLL
			for (int i = 0; i < 8; i++) av[i] = as[kk][tr + i];
			UNROLL
			for (int j = 0; j < 4; j++) bv[j] = bs[kk][tc + j];
			UNROLL
			for (int i = 0; i < 8; i++) {
				UNROLL
				for (int j = 0; j < 4; j++) acc[i][j] = __fmaf_rn(av[i], bv[j], acc[i][j]);
			}
		}
		__syncthreads();
	}
	UNROLL
	for (int i = 0; i < 8; i++) {
		UNROLL
		for (int j = 0; j < 4; j++) {
			int row = row0 + tr + i, col = col0 + tc + j;
			if (row < m && col < n) out.store((size_t)row * n + col, acc[i][j]);
		}
	}
}

#define GEMM_F32(name, trans_a, trans_b)                                                                           \
	EXPORT __launch_bounds__(128) name(float* c, const float* a, const float* b, const float* bias, float* second, \
	                                   const float* other, int m, int n, int k, float alpha, int accumulate,       \
	                                   int kind) {                                                                 \
		gemm_f32<trans_a, trans_b>(Epilogue{c, second, other, kind}, a, b, bias, m, n, k, alpha, accumulate);      \
	}                                                                                                              \
	KERNEL(name)

GEMM_F32(gemm_f32_nn, false, false)
GEMM_F32(gemm_f32_nt, false, true)
GEMM_F32(gemm_f32_tn, true, false)
GEMM_F32(gemm_f32_tt, true, true)
