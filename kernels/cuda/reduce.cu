// Sums over many rows or elements, each in a fixed order.
#include "device.cuh"

// partial[b] = sum of rows b·rows_per_block and following of x [rows, cols].
// Grid (cols/32, blocks), block (32·8): thread (i, j) takes column i of rows j,
// j+8, … .
EXPORT sum_rows_f32(float* partial, const void* x, int rows, int cols, int rows_per_block, int half) {
	__shared__ float sums[8][33];
	int tx = threadIdx.x & 31, ty = threadIdx.x >> 5;
	int c = blockIdx.x * 32 + tx;
	int first = blockIdx.y * rows_per_block, last = min(first + rows_per_block, rows);
	float s = 0;
	if (c < cols)
		for (int r = first + ty; r < last; r += 8) s += load_at(x, (size_t)r * cols + c, half);
	sums[ty][tx] = s;
	__syncthreads();
	if (ty == 0 && c < cols) {
		for (int i = 1; i < 8; i++) s += sums[i][tx];
		partial[(size_t)blockIdx.y * cols + c] = s;
	}
}
KERNEL(sum_rows_f32)

// dst[c] += sum over p of partial[p·stride + c], for c below cols.
EXPORT add_partials_f32(float* dst, const float* partial, int partials, int cols, int stride) {
	__shared__ float sums[8][33];
	int tx = threadIdx.x & 31, ty = threadIdx.x >> 5;
	int c = blockIdx.x * 32 + tx;
	float s = 0;
	if (c < cols)
		for (int p = ty; p < partials; p += 8) s += partial[(size_t)p * stride + c];
	sums[ty][tx] = s;
	__syncthreads();
	if (ty == 0 && c < cols) {
		for (int i = 1; i < 8; i++) s += sums[i][tx];
		dst[c] += s;
	}
}
KERNEL(add_partials_f32)

// dst[0] += sum of f(x). Each block leaves its partial sum; the last one to
// finish adds them in order and resets the counter. At most 1024 blocks.
template <class F>
DEVICE void reduce_all(float* dst, double* partial, unsigned* counter, const float* x, long long n, F f) {
	__shared__ double sums[32];
	__shared__ bool last;
	long long step = (long long)gridDim.x * blockDim.x;
	double s = 0;
	for (long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x; i < n; i += step) s += f((double)x[i]);
	s = block_sum(s, sums);
	if (threadIdx.x == 0) {
		partial[blockIdx.x] = s;
		__threadfence();
		last = atomicAdd(counter, 1u) == gridDim.x - 1;
	}
	__syncthreads();
	if (!last) return;
	__threadfence();
	s = 0;
	for (int i = threadIdx.x; i < (int)gridDim.x; i += blockDim.x) s += *(volatile double*)&partial[i];
	s = block_sum(s, sums);
	if (threadIdx.x == 0) {
		dst[0] = (float)((double)dst[0] + s);
		*counter = 0;
	}
}

EXPORT sum_f32(float* dst, double* partial, unsigned* counter, const float* x, long long n) {
	reduce_all(dst, partial, counter, x, n, [](double v) { return v; });
}
KERNEL(sum_f32)

EXPORT sum_squares_f32(float* dst, double* partial, unsigned* counter, const float* x, long long n) {
	reduce_all(dst, partial, counter, x, n, [](double v) { return v * v; });
}
KERNEL(sum_squares_f32)
