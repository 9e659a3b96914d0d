// Matrix products on tensor cores.
#include "gemm_bf16.cuh"
#include "gemm_pipe.cuh"

// finish_parts adds up the parts of the tile at row0 and col0, in order: v = [c] or [bias] + part 0 + part 1 …, then the
// epilogue. The block that comes last to the tile calls it.
template <int Rows, int Cols, int Threads>
DEVICE void finish_parts(const Epilogue& out, const float* partial, int parts, const float* bias, int row0, int col0, int m, int n,
                         int accumulate) {
	size_t size = (size_t)m * n;
	for (int e = threadIdx.x; e < Rows * Cols; e += Threads) {
		int row = row0 + e / Cols, col = col0 + e % Cols;
		if (row >= m || col >= n) continue;
		size_t at = (size_t)row * n + col;
		float s = accumulate ? load_at(out.c, at, out.half_c()) : bias ? bias[col] : 0.0f;
		for (int p = 0; p < parts; p++) s += *(const volatile float*)&partial[p * size + at];
		out.store(at, s);
	}
}

// What one launch multiplies: up to three pairs of operands of the same shape. Chained, their products add up in one result,
// along one longer k; else member i is a product of its own with its own result.
struct Members {
	void* c[3];
	const void *a[3], *b[3];
	int count, chain;
};

// Rows x Cols by a block of WarpRows x WarpCols warps. blockIdx.z counts the parts of
// the members: part z takes [z·k_part, (z+1)·k_part) of k; with more than one part, it
// is left in partial [members, parts, m, n], alpha applied, and the block that comes
// last to a tile, by its counter, adds them up. Counters are zero between launches.
// Dynamic shared memory holds so many stages of both operands.
template <int Rows, int Cols, int WarpRows, int WarpCols, bool TransA, bool TransB>
DEVICE void gemm_bf16(Epilogue out, float* partial, unsigned* counters, const Members& x, const float* bias, int m, int n, int k,
                      int k_part, float alpha, int accumulate, int stages) {
	using Gemm = GemmPipe<Rows, Cols, WarpRows, WarpCols, TransA, TransB>;
	using Out = Strip<Cols / WarpCols>;
	static_assert(WarpRows * WarpCols * Out::kSize <= kLeastStages * (Rows + Cols) * kPipeStep / 2, "the strips lie where the stages were");
	DYNAMIC_SHARED(unsigned char, memory);
	__shared__ bool last;
	int parts = x.chain ? 1 : gridDim.z / x.count, member = blockIdx.z / parts, part = blockIdx.z % parts;
	int row0 = blockIdx.y * Rows, col0 = blockIdx.x * Cols;
	int k_first = part * k_part, k_end = min(k_first + k_part, k);
	float acc[Gemm::kM][Gemm::kN][4] = {};
	for (int i = member; i < (x.chain ? x.count : member + 1); i++) {
		const void* a = i == 0 ? x.a[0] : i == 1 ? x.a[1] : x.a[2];
		const void* b = i == 0 ? x.b[0] : i == 1 ? x.b[1] : x.b[2];
		switch (out.types & (Epilogue::kHalfA | Epilogue::kHalfB)) {
		case 0: Gemm::template multiply<false, false>(acc, memory, stages, a, b, m, n, k, row0, col0, k_first, k_end); break;
		case Epilogue::kHalfA: Gemm::template multiply<true, false>(acc, memory, stages, a, b, m, n, k, row0, col0, k_first, k_end); break;
		case Epilogue::kHalfB: Gemm::template multiply<false, true>(acc, memory, stages, a, b, m, n, k, row0, col0, k_first, k_end); break;
		default: Gemm::template multiply<true, true>(acc, memory, stages, a, b, m, n, k, row0, col0, k_first, k_end);
		}
	}
	out.c = member == 0 ? x.c[0] : member == 1 ? x.c[1] : x.c[2];
	partial += (size_t)member * parts * m * n;
	counters += (size_t)member * gridDim.x * gridDim.y;

	Epilogue to = out;
	if (parts > 1) to = {partial + (size_t)part * m * n, nullptr, nullptr, Epilogue::kPlain, 0};
	bool quads = (n & 3) == 0 && to.on16();
	float* strip = (float*)memory + warp_id() * Out::kSize;
	UNROLL
	for (int i = 0; i < Gemm::kM; i++) {
		Out::put(strip, acc[i], alpha);
		__syncwarp();
		Out::store(to, strip, parts > 1 ? nullptr : bias, row0 + Gemm::warp_row() + i * 16, col0 + Gemm::warp_col(), m, n,
		           parts > 1 ? 0 : accumulate, quads);
		__syncwarp();
	}
	if (parts == 1) return;
	__threadfence();
	__syncthreads();
	unsigned* counter = &counters[blockIdx.y * gridDim.x + blockIdx.x];
	if (threadIdx.x == 0) last = atomicAdd(counter, 1u) == (unsigned)parts - 1;
	__syncthreads();
	if (!last) return;
	__threadfence();
	finish_parts<Rows, Cols, Gemm::kThreads>(out, partial, parts, bias, row0, col0, m, n, accumulate);
	if (threadIdx.x == 0) *counter = 0;
}

#define GEMM_BF16_PARAMS                                                                                                     \
	void *c, float *partial, unsigned *counters, const void *a, const void *b, const float *bias, void *second,             \
	    const void *other, int m, int n, int k, int k_part, float alpha, int accumulate, int kind, int members, int chain, \
	    void *c1, const void *a1, const void *b1, void *c2, const void *a2, const void *b2, int stages, int types
#define GEMM_BF16_ARGS                                                                                              \
	Epilogue{c, second, other, kind, types}, partial, counters, Members{{c, c1, c2}, {a, a1, a2}, {b, b1, b2}, members, chain}, \
	    bias, m, n, k, k_part, alpha, accumulate, stages

#define GEMM_BF16(form, trans_a, trans_b)                                                 \
	EXPORT __launch_bounds__(256) gemm_bf16_##form##_128(GEMM_BF16_PARAMS) {              \
		gemm_bf16<128, 128, 2, 4, trans_a, trans_b>(GEMM_BF16_ARGS);                      \
	}                                                                                     \
	KERNEL(gemm_bf16_##form##_128)                                                        \
	EXPORT __launch_bounds__(128) gemm_bf16_##form##_64(GEMM_BF16_PARAMS) {               \
		gemm_bf16<64, 64, 2, 2, trans_a, trans_b>(GEMM_BF16_ARGS);                        \
	}                                                                                     \
	KERNEL(gemm_bf16_##form##_64)

GEMM_BF16(nn, false, false)
GEMM_BF16(nt, false, true)
GEMM_BF16(tn, true, false)
GEMM_BF16(tt, true, true)
