// gemm_pipe.cuh is a matrix product on tensor cores whose operands come into shared
// memory by asynchronous copies, several steps of 32 along k ahead of the one that is
// multiplied. They lie there as in memory: float32 is rounded to bfloat16 on the way to
// the tensor cores. An operand keeps its orientation; rows are not padded, the pieces of
// 16 bytes that a line consists of change places instead, so that what a warp reads at
// once lies in different banks.
#pragma once
#include "mma.cuh"

static constexpr int kPipeStep = 32;
static constexpr int kLeastStages = 3, kMostStages = 4;

// A tile of Size rows (of c, or columns of c) by a step of k. Contiguous: k is the fast dimension. Half: of bfloat16.
template <int Size, bool Contiguous, bool Half, int Threads>
struct PipeOperand {
	static constexpr int kBytes = Half ? 2 : 4, kEach = 16 / kBytes;  // of an element; elements of a piece
	static constexpr int kLine = Contiguous ? kPipeStep : Size, kLines = Contiguous ? Size : kPipeStep;
	static constexpr int kPieces = kLine / kEach, kCopies = kLines * kPieces / Threads;
	static constexpr int kTile = kLines * kLine * kBytes;
	static_assert(kLines * kPieces % Threads == 0, "every thread copies as much");

	// Where element i of a line lies, in bytes.
	static DEVICE int place(int line, int i) {
		int turn = Half ? (Contiguous ? line >> 1 & 3 : line & 7) : (Contiguous ? line & 3 : line >> 1 & 3) << 1;
		return (line * kLine + ((i / kEach) ^ turn) * kEach + i % kEach) * kBytes;
	}
	// start begins to copy the step at k0. What lies outside the matrix or behind k_end becomes zero. whole says that pieces
	// lie on 16 bytes in memory.
	static DEVICE void start(unsigned char* tile, const void* src, int first, int size, int k0, int k_end, int ld, bool whole) {
		UNROLL
		for (int i = 0; i < kCopies; i++) {
			int at = threadIdx.x + i * Threads, line = at / kPieces, offset = at % kPieces * kEach;
			int r = first + (Contiguous ? line : offset), kk = k0 + (Contiguous ? offset : line);
			int left = Contiguous ? (r < size ? k_end - kk : 0) : (kk < k_end ? size - r : 0);
			left = left < 0 ? 0 : min(left, kEach);
			const unsigned char* p = (const unsigned char*)src;
			if (left) p += (Contiguous ? (size_t)r * ld + kk : (size_t)kk * ld + r) * kBytes;
			unsigned char* to = tile + place(line, offset);
			if (whole) {
				cp_async16(to, p, left * kBytes);
			} else if (Half) {  // there is no asynchronous copy of two bytes
				for (int j = 0; j < kEach; j++) ((uint16_t*)to)[j] = j < left ? ((const uint16_t*)p)[j] : 0;
			} else {
				UNROLL
				for (int j = 0; j < kEach; j++) cp_async4(to + 4 * j, j < left ? p + 4 * j : p, j < left ? 4 : 0);
			}
		}
	}
	// Elements k and k+1 of row r as bfloat16, of float32.
	static DEVICE uint32_t pair(const unsigned char* tile, int r, int k) {
		if (Contiguous) {
			float2 v = *(const float2*)(tile + place(r, k));
			return pack_bf16(v.x, v.y);
		}
		return pack_bf16(*(const float*)(tile + place(k, r)), *(const float*)(tile + place(k + 1, r)));
	}
	// The fragment of 16 rows from r and 16 of k from kk, as operand A.
	static DEVICE void fragment_a(uint32_t (&f)[4], const unsigned char* tile, int r, int kk) {
		int l = lane_id();
		if (!Half) {
			UNROLL
			for (int i = 0; i < 4; i++) f[i] = pair(tile, r + (l >> 2) + (i & 1) * 8, kk + (l & 3) * 2 + (i >> 1) * 8);
		} else if (Contiguous) {
			ldmatrix4(f, tile + place(r + (l & 15), kk + (l >> 4) * 8));
		} else {
			ldmatrix4_trans(f, tile + place(kk + (l >> 4) * 8 + (l & 7), r + (l >> 3 & 1) * 8));
		}
	}
	// The fragments of two times 8 columns from r and 16 of k from kk, as operand B.
	static DEVICE void fragments_b(uint32_t (&f)[4], const unsigned char* tile, int r, int kk) {
		int l = lane_id();
		if (!Half) {
			UNROLL
			for (int i = 0; i < 4; i++) f[i] = pair(tile, r + (l >> 2) + (i >> 1) * 8, kk + (l & 3) * 2 + (i & 1) * 8);
		} else if (Contiguous) {
			ldmatrix4(f, tile + place(r + (l >> 4) * 8 + (l & 7), kk + (l >> 3 & 1) * 8));
		} else {
			ldmatrix4_trans(f, tile + place(kk + (l >> 3 & 1) * 8 + (l & 7), r + (l >> 4) * 8));
		}
	}
};

// Rows x Cols of c by WarpRows x WarpCols warps.
template <int Rows, int Cols, int WarpRows, int WarpCols, bool TransA, bool TransB>
struct GemmPipe {
	static constexpr int kThreads = WarpRows * WarpCols * 32;
	static constexpr int kM = Rows / WarpRows / 16, kN = Cols / WarpCols / 8;

	static DEVICE int warp_row() { return warp_id() / WarpCols * (Rows / WarpRows); }
	static DEVICE int warp_col() { return warp_id() % WarpCols * (Cols / WarpCols); }

	// multiply adds the products of k_first to k_end to acc, of the tile of c at row0 and col0. memory holds so many stages,
	// kLeastStages or kMostStages; all but one are on their way while that is multiplied. It ends with a barrier.
	template <bool HalfA, bool HalfB>
	static DEVICE void multiply(float (&acc)[kM][kN][4], unsigned char* memory, int stages, const void* a, const void* b, int m, int n,
	                            int k, int row0, int col0, int k_first, int k_end) {
		using A = PipeOperand<Rows, !TransA, HalfA, kThreads>;
		using B = PipeOperand<Cols, TransB, HalfB, kThreads>;
		constexpr int kStage = A::kTile + B::kTile;
		int wr = warp_row(), wc = warp_col();
		int lda = TransA ? m : k, ldb = TransB ? k : n;
		bool whole_a = aligned16(a) && lda % A::kEach == 0, whole_b = aligned16(b) && ldb % B::kEach == 0;
		int next_k = k_first;
		unsigned char *end = memory + stages * kStage, *fill = memory, *read = memory;
		auto start = [&] {
			if (next_k < k_end) {
				A::start(fill, a, row0, m, next_k, k_end, lda, whole_a);
				B::start(fill + A::kTile, b, col0, n, next_k, k_end, ldb, whole_b);
			}
			cp_async_commit();
			next_k += kPipeStep;
			fill = fill + kStage == end ? memory : fill + kStage;
		};
		for (int s = 1; s < stages; s++) start();
		for (int k0 = k_first; k0 < k_end; k0 += kPipeStep) {
			if (stages == kMostStages) cp_async_wait<kMostStages - 2>();
			else cp_async_wait<kLeastStages - 2>();
			__syncthreads();
			start();  // where the step before this one was
			UNROLL
			for (int kk = 0; kk < kPipeStep; kk += 16) {
				uint32_t ra[kM][4], rb[kN / 2][4];
				UNROLL
				for (int i = 0; i < kM; i++) A::fragment_a(ra[i], read, wr + i * 16, kk);
				UNROLL
				for (int j = 0; j < kN / 2; j++) B::fragments_b(rb[j], read + A::kTile, wc + j * 16, kk);
				UNROLL
				for (int i = 0; i < kM; i++) {
					UNROLL
					for (int j = 0; j < kN; j++) {
						uint32_t bj[2] = {rb[j >> 1][(j & 1) * 2], rb[j >> 1][(j & 1) * 2 + 1]};
						mma_bf16(acc[i][j], ra[i], bj);
					}
				}
			}
			read = read + kStage == end ? memory : read + kStage;
		}
		cp_async_wait<0>();
		__syncthreads();
	}
};
