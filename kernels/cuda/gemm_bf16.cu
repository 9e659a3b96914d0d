// Matrix products on tensor cores: the operands are float32 in memory and rounded
// to bfloat16 on their way into shared memory; products accumulate in float32.
//
// A block computes Rows x Cols of c in steps of 32 along k. While it multiplies
// one step from shared memory, it holds the next one in registers. An operand
// keeps its orientation in shared memory; ldmatrix transposes where needed.
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

// Rows x Cols by a block of WarpRows x WarpCols warps. blockIdx.z takes the part
// [z·k_part, (z+1)·k_part) of k; with more than one part, part z is left in
// partial [parts, m, n] and add_parts_f32 finishes.
template <int Rows, int Cols, int WarpRows, int WarpCols, bool TransA, bool TransB>
DEVICE void gemm_bf16(float* c, float* partial, const float* a, const float* b, const float* bias, int m, int n, int k,
                      int k_part, int accumulate) {
	constexpr int kThreads = WarpRows * WarpCols * 32;
	constexpr int kM = Rows / WarpRows / 16, kN = Cols / WarpCols / 8;
	using A = OperandBf16<Rows, !TransA, kThreads>;
	using B = OperandBf16<Cols, TransB, kThreads>;
	__shared__ __align__(16) uint16_t as[2][A::kLines * A::kPitch];
	__shared__ __align__(16) uint16_t bs[2][B::kLines * B::kPitch];
	int row0 = blockIdx.y * Rows, col0 = blockIdx.x * Cols;
	int wr = warp_id() / WarpCols * (Rows / WarpRows), wc = warp_id() % WarpCols * (Cols / WarpCols);
	int lda = TransA ? m : k, ldb = TransB ? k : n;
	int k_first = blockIdx.z * k_part, k_end = min(k_first + k_part, k);
	bool whole_a = aligned16(a) && (lda & 3) == 0, whole_b = aligned16(b) && (ldb & 3) == 0;

	float acc[kM][kN][4] = {};
	A fa;
	B fb;
	fa.fetch(a, row0, m, k_first, k_end, lda, whole_a);
	fb.fetch(b, col0, n, k_first, k_end, ldb, whole_b);
	fa.store(as[0]);
	fb.store(bs[0]);
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
			for (int i = 0; i < kM; i++) A::fragment_a(ra[i], as[buf], wr + i * 16, kk);
			UNROLL
			for (int j = 0; j < kN / 2; j++) B::fragments_b(rb[j], bs[buf], wc + j * 16, kk);
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
			fa.store(as[buf ^ 1]);
			fb.store(bs[buf ^ 1]);
		}
		__syncthreads();
	}

	bool parts = gridDim.z > 1;
	float* out = parts ? partial + (size_t)blockIdx.z * m * n : c;
	bool pairs = (n & 1) == 0 && ((uintptr_t)out & 7) == 0;
	UNROLL
	for (int i = 0; i < kM; i++) {
		UNROLL
		for (int j = 0; j < kN; j++) {
			UNROLL
			for (int h = 0; h < 2; h++) {
				int row = row0 + wr + i * 16 + (lane_id() >> 2) + h * 8, col = col0 + wc + j * 8 + (lane_id() & 3) * 2;
				if (row >= m || col >= n) continue;
				float* p = out + (size_t)row * n + col;
				float x = acc[i][j][h * 2], y = acc[i][j][h * 2 + 1];
				bool second = col + 1 < n;
				if (!parts && bias) {
					x += bias[col];
					if (second) y += bias[col + 1];
				}
				if (pairs) {
					float2 v = {x, y};
					if (!parts && accumulate) {
						float2 old = *(const float2*)p;
						v.x += old.x;
						v.y += old.y;
					}
					*(float2*)p = v;
				} else {
					bool old = !parts && accumulate;
					p[0] = old ? p[0] + x : x;
					if (second) p[1] = old ? p[1] + y : y;
				}
			}
		}
	}
}

#define GEMM_BF16(form, trans_a, trans_b)                                                                           \
	EXPORT __launch_bounds__(256) gemm_bf16_##form##_128(float* c, float* partial, const float* a, const float* b,   \
	                                                     const float* bias, int m, int n, int k, int k_part,         \
	                                                     int accumulate) {                                           \
		gemm_bf16<128, 128, 2, 4, trans_a, trans_b>(c, partial, a, b, bias, m, n, k, k_part, accumulate);            \
	}                                                                                                               \
	KERNEL(gemm_bf16_##form##_128)                                                                                  \
	EXPORT __launch_bounds__(128) gemm_bf16_##form##_64(float* c, float* partial, const float* a, const float* b,    \
	                                                    const float* bias, int m, int n, int k, int k_part,          \
	                                                    int accumulate) {                                            \
		gemm_bf16<64, 64, 2, 2, trans_a, trans_b>(c, partial, a, b, bias, m, n, k, k_part, accumulate);              \
	}                                                                                                               \
	KERNEL(gemm_bf16_##form##_64)

GEMM_BF16(nn, false, false)
GEMM_BF16(nt, false, true)
GEMM_BF16(tn, true, false)
GEMM_BF16(tt, true, true)

// c = sum over the parts of k, in order, [+ c] [+ bias].
EXPORT add_parts_f32(float* c, const float* partial, const float* bias, int parts, long long size, int n, int accumulate) {
	long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x, step = (long long)gridDim.x * blockDim.x;
	for (; i < size; i += step) {
		long long row;
		int col;
		divide(i, n, size, &row, &col);
		float s = accumulate ? c[i] : bias ? bias[col] : 0.0f;
		for (int p = 0; p < parts; p++) s += partial[p * size + i];
		c[i] = s;
	}
}
KERNEL(add_parts_f32)
