// gemm_f32.cuh holds the parts of matrix products in float32. Each element is one chain of fused multiply-adds
// over k, ascending, from c, from the bias or from zero: the contract of package
// kernels/gemm, whatever the tile. alpha·b is rounded before the chain begins.
#pragma once
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

// FMAs of a tile of c, 8x4 elements a thread.
template <bool TransA, bool TransB>
struct GemmF32 {
	static DEVICE int row(int i) { return (threadIdx.x >> 4) * 8 + i; }
	static DEVICE int col(int j) { return (threadIdx.x & 15) * 4 + j; }

	// multiply adds the products of all k to acc, of the tile at row0 and col0.
	static DEVICE void multiply(float (&acc)[8][4], const float* a, const float* b, int m, int n, int k, int row0, int col0,
	                            float alpha) {
		__shared__ __align__(16) float as[kDepth][kTile + kGemmPad];
		__shared__ __align__(16) float bs[kDepth][kTile + kGemmPad];
		for (int k0 = 0; k0 < k; k0 += kDepth) {
			load_tile_f32<!TransA>(as, a, row0, m, k0, k, TransA ? m : k, 1.0f);
			load_tile_f32<TransB>(bs, b, col0, n, k0, k, TransB ? k : n, alpha);
			__syncthreads();
			int depth = min(kDepth, k - k0);
			for (int kk = 0; kk < depth; kk++) {
				float av[8], bv[4];
				UNROLL
				for (int i = 0; i < 8; i++) av[i] = as[kk][row(i)];
				UNROLL
				for (int j = 0; j < 4; j++) bv[j] = bs[kk][col(j)];
				UNROLL
				for (int i = 0; i < 8; i++) {
					UNROLL
					for (int j = 0; j < 4; j++) acc[i][j] = __fmaf_rn(av[i], bv[j], acc[i][j]);
				}
			}
			__syncthreads();
		}
	}
};
