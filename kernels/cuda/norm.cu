// Normalisations of rows.
#include "stated.cuh"

// Forward, and the student's norms: eight threads share a row as the eight lanes
// of the stated sums, so that a warp reads four whole 32-byte sectors at a time.
// mean and rstd may be null. Grid: rows/32 blocks of 256 threads.
DEVICE int norm_row(int rows, bool* inside) {
	int row = blockIdx.x * (blockDim.x >> 3) + (threadIdx.x >> 3);
	*inside = row < rows;
	return row < rows ? row : rows - 1;
}

EXPORT rmsnorm_f32(float* y, float* rstd, const float* x, const float* gain, float eps, int rows, int cols) {
	bool inside;
	int row = norm_row(rows, &inside), l = threadIdx.x & 7;
	x += (size_t)row * cols;
	y += (size_t)row * cols;
	float s = 0;
	for (int c = l; c < cols; c += 8) s = add(s, mul(x[c], x[c]));
	float r = stated_rsqrt(add(quot(stated_total(s), __int2float_rn(cols)), eps));
	if (!inside) return;
	if (rstd && l == 0) rstd[row] = r;
	for (int c = l; c < cols; c += 8) y[c] = mul(mul(x[c], r), gain[c]);
}
KERNEL(rmsnorm_f32)

EXPORT layernorm_f32(float* y, float* mean, float* rstd, const float* x, const float* gain, const float* bias, float eps,
                     int rows, int cols) {
	bool inside;
	int row = norm_row(rows, &inside), l = threadIdx.x & 7;
	x += (size_t)row * cols;
	y += (size_t)row * cols;
	float n = __int2float_rn(cols), s = 0;
	for (int c = l; c < cols; c += 8) s = add(s, x[c]);
	float m = quot(stated_total(s), n);
	s = 0;
	for (int c = l; c < cols; c += 8) {
		float d = sub(x[c], m);
		s = add(s, mul(d, d));
	}
	float r = stated_rsqrt(add(quot(stated_total(s), n), eps));
	if (!inside) return;
	if (mean && l == 0) mean[row] = m;
	if (rstd && l == 0) rstd[row] = r;
	for (int c = l; c < cols; c += 8) {
		float v = mul(mul(sub(x[c], m), r), gain[c]);
		y[c] = bias ? add(v, bias[c]) : v;
	}
}
KERNEL(layernorm_f32)

// Backward: a warp takes a row and keeps its share of dgain (and dbias) in its
// own piece of shared memory; block b leaves the sums over its rows in row b of
// partial [blocks, cols] (dbias behind dgain: [blocks, 2·cols]), which
// add_partials adds up. mean null selects RMSNorm. dx may be dy.
// Where sum is given, sum = other + dx, and it may be other.
EXPORT norm_backward_f32(float* dx, float* partial, const float* dy, const float* x, const float* gain, const float* mean,
                         const float* rstd, int rows, int cols, int rows_per_block, float* sum, const float* other) {
	DYNAMIC_SHARED(float, sums);
	bool layer = mean != nullptr;
	int width = layer ? 2 * cols : cols, warps = blockDim.x >> 5;
	float* mine = sums + (size_t)warp_id() * width;
	for (int c = lane_id(); c < width; c += 32) mine[c] = 0;
	__syncwarp();
	int first = blockIdx.x * rows_per_block, last = min(first + rows_per_block, rows);
	for (int row = first + warp_id(); row < last; row += warps) {
		const float* xr = x + (size_t)row * cols;
		const float* dyr = dy + (size_t)row * cols;
		float* dxr = dx + (size_t)row * cols;
		float r = rstd[row], m = layer ? mean[row] : 0.0f, a = 0, b = 0;
		for (int c = lane_id(); c < cols; c += 32) {
			float d = dyr[c], h = (xr[c] - m) * r, w = d * gain[c];
			a += w;
			b += w * h;
			mine[c] += d * h;
			if (layer) mine[cols + c] += d;
		}
		a = layer ? warp_sum(a) / cols : 0.0f;
		b = warp_sum(b) / cols;
		for (int c = lane_id(); c < cols; c += 32) {
			float h = (xr[c] - m) * r;
			float v = r * (dyr[c] * gain[c] - a - h * b);
			dxr[c] = v;
			if (sum) sum[(size_t)row * cols + c] = add(other[(size_t)row * cols + c], v);
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
