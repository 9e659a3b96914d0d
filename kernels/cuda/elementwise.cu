// Operations on single elements. All follow the stated arithmetic, so that they
// serve the student as well.
#include "epilogue.cuh"
#include "step.cuh"

// map calls op for four neighbouring elements at a time where every pointer
// allows that, and for single ones otherwise. With half the tensors are bfloat16.
template <class Op>
DEVICE void map1(void* dst, const void* a, long long n, bool half, Op op) {
	long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x, step = (long long)gridDim.x * blockDim.x;
	long long n4 = aligned16(dst) && aligned16(a) ? n / 4 : 0;
	for (long long j = i; j < n4; j += step) {
		float4 x = load4_at(a, 4 * j, half);
		store4_at(dst, 4 * j, {op(x.x), op(x.y), op(x.z), op(x.w)}, half);
	}
	for (long long j = 4 * n4 + i; j < n; j += step) store_at(dst, j, op(load_at(a, j, half)), half);
}
template <class Op>
DEVICE void map2(void* dst, const void* a, const void* b, long long n, bool half, Op op) {
	long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x, step = (long long)gridDim.x * blockDim.x;
	long long n4 = aligned16(dst) && aligned16(a) && aligned16(b) ? n / 4 : 0;
	for (long long j = i; j < n4; j += step) {
		float4 x = load4_at(a, 4 * j, half), y = load4_at(b, 4 * j, half);
		store4_at(dst, 4 * j, {op(x.x, y.x), op(x.y, y.y), op(x.z, y.z), op(x.w, y.w)}, half);
	}
	for (long long j = 4 * n4 + i; j < n; j += step) store_at(dst, j, op(load_at(a, j, half), load_at(b, j, half)), half);
}

// dst = x in the other type.
EXPORT_STRIDING(8) cast_f32(void* dst, const void* x, long long n, int half_dst, int half_x) {
	long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x, step = (long long)gridDim.x * blockDim.x;
	long long n4 = aligned16(dst) && aligned16(x) ? n / 4 : 0;
	for (long long j = i; j < n4; j += step) store4_at(dst, 4 * j, load4_at(x, 4 * j, half_x), half_dst);
	for (long long j = 4 * n4 + i; j < n; j += step) store_at(dst, j, load_at(x, j, half_x), half_dst);
}
KERNEL(cast_f32)

EXPORT_STRIDING(8) add_f32(float* dst, const float* a, const float* b, long long n) {
	map2(dst, a, b, n, false, [](float x, float y) { return add(x, y); });
}
KERNEL(add_f32)

EXPORT_STRIDING(8) mul_f32(float* dst, const float* a, const float* b, long long n) {
	map2(dst, a, b, n, false, [](float x, float y) { return mul(x, y); });
}
KERNEL(mul_f32)

EXPORT_STRIDING(8) lerp_f32(float* dst, const float* x, float weight, const float* step, long long n) {
	weight = times_step(weight, step, kStepEMA);
	map2(dst, dst, x, n, false, [=](float d, float v) { return add(d, mul(weight, sub(v, d))); });
}
KERNEL(lerp_f32)

DEVICE float one_plus_exp_neg(float x) { return add(1.0f, stated_exp(-x)); }
DEVICE float silu_slope(float x, float s) { return mul(s, add(1.0f, mul(x, sub(1.0f, s)))); }

// 2·sqrt(2/π), that times 0.044715, and three times that.
static constexpr float kGelu0 = 1.5957691216057308f;
static constexpr float kGelu1 = 0.07135481627159225f;
static constexpr float kGelu2 = 0.21406444881477676f;
DEVICE float gelu_arg(float x, float z) { return mul(x, add(mul(z, kGelu1), kGelu0)); }

EXPORT_STRIDING(8) relu_f32(void* dst, const void* x, long long n, int half) {
	map1(dst, x, n, half, [](float v) { return relu(v); });
}
KERNEL(relu_f32)
EXPORT_STRIDING(8) relu_backward_f32(void* dx, const void* dy, const void* x, long long n, int half) {
	map2(dx, dy, x, n, half, [](float d, float v) { return relu_slope(v, d); });
}
KERNEL(relu_backward_f32)

EXPORT_STRIDING(8) relu2_f32(void* dst, const void* x, long long n, int half) {
	map1(dst, x, n, half, [](float v) { return mul(relu(v), relu(v)); });
}
KERNEL(relu2_f32)
EXPORT_STRIDING(8) relu2_backward_f32(void* dx, const void* dy, const void* x, long long n, int half) {
	map2(dx, dy, x, n, half, [](float d, float v) { return relu2_slope(v, d); });
}
KERNEL(relu2_backward_f32)

EXPORT_STRIDING(6) relu2_output_backward_f32(void* dx, const void* dy, const void* y, long long n, int half) {
	map2(dx, dy, y, n, half, [](float d, float v) { return relu2_output_slope(v, d); });
}
KERNEL(relu2_output_backward_f32)

EXPORT_STRIDING(8) silu_f32(void* dst, const void* x, long long n, int half) {
	map1(dst, x, n, half, [](float v) { return quot(v, one_plus_exp_neg(v)); });
}
KERNEL(silu_f32)
EXPORT_STRIDING(8) silu_backward_f32(void* dx, const void* dy, const void* x, long long n, int half) {
	map2(dx, dy, x, n, half, [](float d, float v) { return mul(d, silu_slope(v, quot(1.0f, one_plus_exp_neg(v)))); });
}
KERNEL(silu_backward_f32)

EXPORT_STRIDING(8) gelu_f32(void* dst, const void* x, long long n, int half) {
	map1(dst, x, n, half, [](float v) { return quot(v, one_plus_exp_neg(gelu_arg(v, mul(v, v)))); });
}
KERNEL(gelu_f32)
EXPORT_STRIDING(8) gelu_backward_f32(void* dx, const void* dy, const void* x, long long n, int half) {
	map2(dx, dy, x, n, half, [](float d, float v) {
		float z = mul(v, v);
		float s = quot(1.0f, one_plus_exp_neg(gelu_arg(v, z)));
		float slope = add(s, mul(mul(mul(v, s), sub(1.0f, s)), add(mul(z, kGelu2), kGelu0)));
		return mul(d, slope);
	});
}
KERNEL(gelu_backward_f32)

EXPORT_STRIDING(8) swiglu_f32(void* dst, const void* gate, const void* up, long long n, int half) {
	map2(dst, gate, up, n, half, [](float g, float u) { return mul(quot(g, one_plus_exp_neg(g)), u); });
}
KERNEL(swiglu_f32)

EXPORT_STRIDING(8) swiglu_backward_f32(void* dgate, void* dup, const void* dy, const void* gate, const void* up, long long n,
                                       int half) {
	long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x, step = (long long)gridDim.x * blockDim.x;
	for (; i < n; i += step) {
		float g = load_at(gate, i, half), d = load_at(dy, i, half), u = mul(d, load_at(up, i, half));
		float e = one_plus_exp_neg(g);
		store_at(dup, i, mul(d, quot(g, e)), half);
		store_at(dgate, i, mul(u, silu_slope(g, quot(1.0f, e))), half);
	}
}
KERNEL(swiglu_backward_f32)

// dst = x/(1-rate) where backend.DropoutHash is not below limit, else 0.
EXPORT_STRIDING(8) dropout_f32(float* dst, const float* x, long long n, int cols, unsigned limit, float scale, unsigned long long seed,
                   long long row0, const float* step) {
	seed = plus_step_seed(seed, step);
	long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x, stride = (long long)gridDim.x * blockDim.x;
	for (; i < n; i += stride) {
		long long row;
		int col;
		divide(i, cols, n, &row, &col);
		unsigned long long h = seed ^ (unsigned long long)(row0 + row) * 0x9e3779b97f4a7c15ull ^
		                       (unsigned long long)col * 0xc2b2ae3d27d4eb4full;
		h ^= h >> 33;
		h *= 0xff51afd7ed558ccdull;
		h ^= h >> 33;
		h *= 0xc4ceb9fe1a85ec53ull;
		h ^= h >> 33;
		dst[i] = (unsigned)(h >> 32) < limit ? 0.0f : mul(x[i], scale);
	}
}
KERNEL(dropout_f32)

// y [n] += row of cols elements, repeated
EXPORT_STRIDING(8) add_row_f32(float* y, const float* row, long long n, int cols) {
	long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x, step = (long long)gridDim.x * blockDim.x;
	for (; i < n; i += step) {
		long long r;
		int c;
		divide(i, cols, n, &r, &c);
		y[i] = add(y[i], row[c]);
	}
}
KERNEL(add_row_f32)
