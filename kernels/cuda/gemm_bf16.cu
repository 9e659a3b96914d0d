// Matrix products on tensor cores.
#include "gemm_bf16.cuh"

// Rows x Cols by a block of WarpRows x WarpCols warps. blockIdx.z takes the part
// [z·k_part, (z+1)·k_part) of k; with more than one part, part z is left in
// partial [parts, m, n], alpha applied, and add_parts_f32 finishes.
template <int Rows, int Cols, int WarpRows, int WarpCols, bool TransA, bool TransB>
DEVICE void gemm_bf16(Epilogue out, float* partial, const float* a, const float* b, const float* bias, int m, int n, int k,
                      int k_part, float alpha, int accumulate) {
	using Gemm = GemmBf16<Rows, Cols, WarpRows, WarpCols, TransA, TransB>;
	using Out = typename Gemm::Out;
	__shared__ __align__(16) uint16_t tiles[Gemm::kTiles];
	int row0 = blockIdx.y * Rows, col0 = blockIdx.x * Cols;
	int k_first = blockIdx.z * k_part, k_end = min(k_first + k_part, k);
	float acc[Gemm::kM][Gemm::kN][4] = {};
	Gemm::multiply(acc, tiles, a, b, m, n, k, row0, col0, k_first, k_end);

	if (gridDim.z > 1) {
		out = {partial + (size_t)blockIdx.z * m * n, nullptr, nullptr, Epilogue::kPlain};
		bias = nullptr;
		accumulate = 0;
	}
	bool quads = (n & 3) == 0 && out.on16();
	float* strip = (float*)tiles + warp_id() * Out::kSize;
	UNROLL
	for (int i = 0; i < Gemm::kM; i++) {
		Out::put(strip, acc[i], alpha);
		__syncwarp();
		Out::store(out, strip, bias, row0 + Gemm::warp_row() + i * 16, col0 + Gemm::warp_col(), m, n, accumulate, quads);
		__syncwarp();
	}
}

#define GEMM_BF16(form, trans_a, trans_b)                                                                            \
	EXPORT __launch_bounds__(256) gemm_bf16_##form##_128(                                                             \
	    float* c, float* partial, const float* a, const float* b, const float* bias, float* second,                  \
	    const float* other, int m, int n, int k, int k_part, float alpha, int accumulate, int kind) {                 \
		gemm_bf16<128, 128, 2, 4, trans_a, trans_b>(Epilogue{c, second, other, kind}, partial, a, b, bias, m, n, k,   \
		                                            k_part, alpha, accumulate);                                       \
	}                                                                                                                \
	KERNEL(gemm_bf16_##form##_128)                                                                                   \
	EXPORT __launch_bounds__(128) gemm_bf16_##form##_64(                                                              \
	    float* c, float* partial, const float* a, const float* b, const float* bias, float* second,                  \
	    const float* other, int m, int n, int k, int k_part, float alpha, int accumulate, int kind) {                 \
		gemm_bf16<64, 64, 2, 2, trans_a, trans_b>(Epilogue{c, second, other, kind}, partial, a, b, bias, m, n, k,     \
		                                          k_part, alpha, accumulate);                                         \
	}                                                                                                                \
	KERNEL(gemm_bf16_##form##_64)

GEMM_BF16(nn, false, false)
GEMM_BF16(nt, false, true)
GEMM_BF16(tn, true, false)
GEMM_BF16(tt, true, true)

// v = sum over the parts of k, in order, [+ c] [+ bias], then the epilogue.
EXPORT_STRIDING(8) add_parts_f32(float* c, const float* partial, const float* bias, float* second, const float* other, int parts,
                     long long size, int n, int accumulate, int kind) {
	Epilogue out = {c, second, other, kind};
	long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x, step = (long long)gridDim.x * blockDim.x;
	for (; i < size; i += step) {
		long long row;
		int col;
		divide(i, n, size, &row, &col);
		float s = accumulate ? c[i] : bias ? bias[col] : 0.0f;
		for (int p = 0; p < parts; p++) s += partial[p * size + i];
		out.store(i, s);
	}
}
KERNEL(add_parts_f32)
