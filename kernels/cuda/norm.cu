// Normalisations of rows.
#include "stated.cuh"

// Which tensors are bfloat16, the others are float32: y or dx, x, and dy.
enum { kHalfResult = 1, kHalfInput = 2, kHalfGradient = 4 };

// Forward, and the student's norms: eight threads share a row as the eight lanes
// of the stated sums, so that a warp reads four whole 32-byte sectors at a time.
// mean and rstd may be null. Grid: rows/32 blocks of 256 threads.
DEVICE int norm_row(int rows, bool* inside) {
	int row = blockIdx.x * (blockDim.x >> 3) + (threadIdx.x >> 3);
	*inside = row < rows;
	return row < rows ? row : rows - 1;
}

EXPORT rmsnorm_f32(void* y, float* rstd, const void* x, const float* gain, float eps, int rows, int cols, int types) {
	bool inside;
	int row = norm_row(rows, &inside), l = threadIdx.x & 7;
	bool half_y = types & kHalfResult, half_x = types & kHalfInput;
	size_t at = (size_t)row * cols;
	float s = 0;
	for (int c = l; c < cols; c += 8) {
		float v = load_at(x, at + c, half_x);
		s = add(s, mul(v, v));
	}
	float r = stated_rsqrt(add(quot(stated_total(s), __int2float_rn(cols)), eps));
	if (!inside) return;
	if (rstd && l == 0) rstd[row] = r;
	for (int c = l; c < cols; c += 8) store_at(y, at + c, mul(mul(load_at(x, at + c, half_x), r), gain[c]), half_y);
}
KERNEL(rmsnorm_f32)

EXPORT layernorm_f32(void* y, float* mean, float* rstd, const void* x, const float* gain, const float* bias, float eps,
                     int rows, int cols, int types) {
	bool inside;
	int row = norm_row(rows, &inside), l = threadIdx.x & 7;
	bool half_y = types & kHalfResult, half_x = types & kHalfInput;
	size_t at = (size_t)row * cols;
	float n = __int2float_rn(cols), s = 0;
	for (int c = l; c < cols; c += 8) s = add(s, load_at(x, at + c, half_x));
	float m = quot(stated_total(s), n);
	s = 0;
	for (int c = l; c < cols; c += 8) {
		float d = sub(load_at(x, at + c, half_x), m);
		s = add(s, mul(d, d));
	}
	float r = stated_rsqrt(add(quot(stated_total(s), n), eps));
	if (!inside) return;
	if (mean && l == 0) mean[row] = m;
	if (rstd && l == 0) rstd[row] = r;
	for (int c = l; c < cols; c += 8) {
		float v = mul(mul(sub(load_at(x, at + c, half_x), m), r), gain[c]);
		store_at(y, at + c, bias ? add(v, bias[c]) : v, half_y);
	}
}
KERNEL(layernorm_f32)

// Backward: a warp takes a row and keeps its share of dgain (and dbias) in its
// own piece of shared memory; block b leaves the sums over its rows in row b of
// partial [blocks, cols] (dbias behind dgain: [blocks, 2·cols]), which
// add_partials adds up. mean null selects RMSNorm. dx may be dy. accumulate adds to
// dx.
EXPORT norm_backward_f32(void* dx, float* partial, const void* dy, const void* x, const float* gain, const float* mean,
                         const float* rstd, int rows, int cols, int rows_per_block, int accumulate, int types) {
	DYNAMIC_SHARED(float, sums);
	bool layer = mean != nullptr, half_dx = types & kHalfResult, half_x = types & kHalfInput, half_dy = types & kHalfGradient;
	int width = layer ? 2 * cols : cols, warps = blockDim.x >> 5;
	float* mine = sums + (size_t)warp_id() * width;
	for (int c = lane_id(); c < width; c += 32) mine[c] = 0;
	__syncwarp();
	int first = blockIdx.x * rows_per_block, last = min(first + rows_per_block, rows);
	for (int row = first + warp_id(); row < last; row += warps) {
		size_t at = (size_t)row * cols;
		float r = rstd[row], m = layer ? mean[row] : 0.0f, a = 0, b = 0;
		for (int c = lane_id(); c < cols; c += 32) {
			float d = load_at(dy, at + c, half_dy), h = (load_at(x, at + c, half_x) - m) * r, w = d * gain[c];
			a += w;
			b += w * h;
			mine[c] += d * h;
			if (layer) mine[cols + c] += d;
		}
		a = layer ? warp_sum(a) / cols : 0.0f;
		b = warp_sum(b) / cols;
		for (int c = lane_id(); c < cols; c += 32) {
			float h = (load_at(x, at + c, half_x) - m) * r;
			float v = r * (load_at(dy, at + c, half_dy) * gain[c] - a - h * b);
			if (accumulate) v = add(load_at(dx, at + c, half_dx), v);
			store_at(dx, at + c, v, half_dx);
		}
	}
	__syncthreads();
	for (int c = threadIdx.x; c < width; c += blockDim.x) {
		float s = 0;
		for (int w = 0; w < warps; w++) s += sums[(size_t)w * width + c];
		partial[(size_t)blockIdx.x * width + c] = s;
	}
}
KERNEL(norm_backward_f32)
