// gemm_bf16.cuh holds the parts of matrix products on tensor cores, of Muon's all but the
// epilogue, of others the way of a result to memory (see gemm_pipe.cuh): the operands are
// float32 in memory and rounded to bfloat16 on their way into shared memory; products
// accumulate in float32.
//
// A block computes Rows x Cols of c in steps of 32 along k. While it multiplies
// one step from shared memory, it holds the next one in registers. An operand
// keeps its orientation in shared memory; ldmatrix transposes where needed.
#pragma once
#include "epilogue.cuh"
#include "mma.cuh"

static constexpr int kStep = 32;
static constexpr int kBf16Pad = 8;  // spreads the rows of a tile over the banks

// An operand tile of Size rows (of c, or columns of c) by kStep. Contiguous: k is
// the fast dimension in memory.
template <int Size, bool Contiguous, int Threads>
struct OperandBf16 {
	static constexpr int kPitch = (Contiguous ? kStep : Size) + kBf16Pad;
	static constexpr int kLines = Contiguous ? Size : kStep;
	static constexpr int kQuads = (Contiguous ? kStep : Size) / 4;  // groups of four elements in a line
	static constexpr int kLoads = kLines * kQuads / Threads;
	float4 next[kLoads];

	// fetch reads the step at k0 into registers. whole says that groups of four
	// lie on 16 bytes.
	DEVICE void fetch(const float* src, int first, int size, int k0, int k_end, int ld, bool whole) {
		UNROLL
		for (int i = 0; i < kLoads; i++) {
			int at = threadIdx.x + i * Threads, line = at / kQuads, offset = at % kQuads * 4;
			int r = first + (Contiguous ? line : offset), kk = k0 + (Contiguous ? offset : line);
			const float* p = src + (Contiguous ? (size_t)r * ld + kk : (size_t)kk * ld + r);
			int left = Contiguous ? (r < size ? k_end - kk : 0) : (kk < k_end ? size - r : 0);
			if (left >= 4 && whole) {
				next[i] = *(const float4*)p;
			} else {
				next[i].x = left > 0 ? p[0] : 0.0f;
				next[i].y = left > 1 ? p[1] : 0.0f;
				next[i].z = left > 2 ? p[2] : 0.0f;
				next[i].w = left > 3 ? p[3] : 0.0f;
			}
		}
	}
	// store rounds what was fetched into a tile.
	DEVICE void store(uint16_t* tile) const {
		UNROLL
		for (int i = 0; i < kLoads; i++) {
			int at = threadIdx.x + i * Threads, line = at / kQuads, offset = at % kQuads * 4;
			uint2 v = {pack_bf16(next[i].x, next[i].y), pack_bf16(next[i].z, next[i].w)};
			*(uint2*)&tile[line * kPitch + offset] = v;
		}
	}
	// The fragment of 16 rows from r and 16 of k from kk, as operand A.
	static DEVICE void fragment_a(uint32_t (&f)[4], const uint16_t* tile, int r, int kk) {
		int l = lane_id();
		if (Contiguous) ldmatrix4(f, &tile[(r + (l & 15)) * kPitch + kk + (l >> 4) * 8]);
		else ldmatrix4_trans(f, &tile[(kk + (l >> 4) * 8 + (l & 7)) * kPitch + r + (l >> 3 & 1) * 8]);
	}
	// The fragments of two times 8 columns from r and 16 of k from kk, as operand B.
	static DEVICE void fragments_b(uint32_t (&f)[4], const uint16_t* tile, int r, int kk) {
		int l = lane_id();
		if (Contiguous) ldmatrix4(f, &tile[(r + (l >> 4) * 8 + (l & 7)) * kPitch + kk + (l >> 3 & 1) * 8]);
		else ldmatrix4_trans(f, &tile[(kk + (l >> 3 & 1) * 8 + (l & 7)) * kPitch + r + (l >> 4) * 8]);
	}
};

// A warp stores 16 rows of its part of c at a time, by way of a strip of shared memory, from which lanes take four
// neighbouring elements each.
template <int Width>
struct Strip {
	static constexpr int kPitch = Width + 8;  // keeps the rows of a store off one bank
	static constexpr int kSize = 16 * kPitch;

	// put leaves alpha times the sums.
	static DEVICE void put(float* strip, const float (&acc)[Width / 8][4], float alpha) {
		UNROLL
		for (int j = 0; j < Width / 8; j++) {
			UNROLL
			for (int h = 0; h < 2; h++) {
				float2 v = {mul(alpha, acc[j][h * 2]), mul(alpha, acc[j][h * 2 + 1])};
				*(float2*)&strip[((lane_id() >> 2) + h * 8) * kPitch + j * 8 + (lane_id() & 3) * 2] = v;
			}
		}
	}
	static DEVICE void store(const Epilogue& out, const float* strip, const float* bias, int row, int col, int m, int n,
	                         int accumulate, bool quads) {
		for (int e = lane_id(); e < 16 * (Width / 4); e += 32) {
			int r = e / (Width / 4), offset = e % (Width / 4) * 4, c = col + offset;
			if (row + r >= m || c >= n) continue;
			size_t at = (size_t)(row + r) * n + c;
			float4 v = *(const float4*)&strip[r * kPitch + offset];
			if (quads) {
				if (bias) v = {v.x + bias[c], v.y + bias[c + 1], v.z + bias[c + 2], v.w + bias[c + 3]};
				if (accumulate) {
					float4 old = load4_at(out.c, at, out.half_c());
					v = {v.x + old.x, v.y + old.y, v.z + old.z, v.w + old.w};
				}
				out.store(at, v);
				continue;
			}
			for (int i = 0; i < 4 && c + i < n; i++) {
				float x = i == 0 ? v.x : i == 1 ? v.y : i == 2 ? v.z : v.w;
				if (bias) x += bias[c + i];
				if (accumulate) x += load_at(out.c, at + i, out.half_c());
				out.store(at + i, x);
			}
		}
	}
};

// How Rows x Cols of c are shared among WarpRows x WarpCols warps, and the shared memory that takes.
template <int Rows, int Cols, int WarpRows, int WarpCols, bool TransA, bool TransB>
struct GemmBf16 {
	static constexpr int kThreads = WarpRows * WarpCols * 32;
	static constexpr int kM = Rows / WarpRows / 16, kN = Cols / WarpCols / 8;
	using A = OperandBf16<Rows, !TransA, kThreads>;
	using B = OperandBf16<Cols, TransB, kThreads>;
	static constexpr int kSizeA = A::kLines * A::kPitch, kSizeB = B::kLines * B::kPitch;
	static constexpr int kTiles = 2 * (kSizeA + kSizeB);
	using Out = Strip<Cols / WarpCols>;
	static_assert(WarpRows * WarpCols * Out::kSize * 4 <= 2 * kTiles, "the strips lie where the tiles were");

	static DEVICE int warp_row() { return warp_id() / WarpCols * (Rows / WarpRows); }
	static DEVICE int warp_col() { return warp_id() % WarpCols * (Cols / WarpCols); }

	// multiply adds the products of k_first to k_end to acc, of the tile of c at row0 and col0. It ends with a barrier.
	static DEVICE void multiply(float (&acc)[kM][kN][4], uint16_t* tiles, const float* a, const float* b, int m, int n, int k, int row0,
	                            int col0, int k_first, int k_end) {
		auto as = [&](int buf) { return tiles + buf * kSizeA; };
		auto bs = [&](int buf) { return tiles + 2 * kSizeA + buf * kSizeB; };
		int wr = warp_row(), wc = warp_col();
		int lda = TransA ? m : k, ldb = TransB ? k : n;
		bool whole_a = aligned16(a) && (lda & 3) == 0, whole_b = aligned16(b) && (ldb & 3) == 0;
		A fa;
		B fb;
		fa.fetch(a, row0, m, k_first, k_end, lda, whole_a);
		fb.fetch(b, col0, n, k_first, k_end, ldb, whole_b);
		fa.store(as(0));
		fb.store(bs(0));
		__syncthreads();
		int buf = 0;
		for (int k0 = k_first; k0 < k_end; k0 += kStep, buf ^= 1) {
			bool more = k0 + kStep < k_end;
			if (more) {
				fa.fetch(a, row0, m, k0 + kStep, k_end, lda, whole_a);
				fb.fetch(b, col0, n, k0 + kStep, k_end, ldb, whole_b);
			}
			UNROLL
			for (int kk = 0; kk < kStep; kk += 16) {
				uint32_t ra[kM][4], rb[kN / 2][4];
				UNROLL
				for (int i = 0; i < kM; i++) A::fragment_a(ra[i], as(buf), wr + i * 16, kk);
				UNROLL
				for (int j = 0; j < kN / 2; j++) B::fragments_b(rb[j], bs(buf), wc + j * 16, kk);
				UNROLL
				for (int i = 0; i < kM; i++) {
					UNROLL
					for (int j = 0; j < kN; j++) {
						uint32_t bj[2] = {rb[j >> 1][(j & 1) * 2], rb[j >> 1][(j & 1) * 2 + 1]};
						mma_bf16(acc[i][j], ra[i], bj);
					}
				}
			}
			if (more) {
				fa.store(as(buf ^ 1));
				fb.store(bs(buf ^ 1));
			}
			__syncthreads();
		}
	}
};
