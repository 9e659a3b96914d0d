// Optimisers.
#include "step.cuh"

// min(1, max_norm/sqrt(sumsq))
EXPORT clip_scale_f32(float* step, const float* sumsq, float max_norm) {
	float s = 1.0f;
	if (max_norm > 0) {
		float norm = __fsqrt_rn(sumsq[0]);
		if (norm > max_norm) s = quot(max_norm, norm);
	}
	step[kStepGradScale] = s;
}
KERNEL(clip_scale_f32)

// vec.AdamW
EXPORT_STRIDING(6) adamw_f32(float* p, const float* g, float* m, float* v, const float* step, float beta1, float beta2, float eps,
                 float weight_decay, long long n) {
	float lr = step[kStepLR], grad_scale = step[kStepGradScale];
	float corr1 = quot(1.0f, step[kStepBias1]), corr2 = quot(1.0f, step[kStepBias2]);
	float rest1 = sub(1.0f, beta1), rest2 = sub(1.0f, beta2), keep = sub(1.0f, mul(lr, weight_decay));
	long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x, stride = (long long)gridDim.x * blockDim.x;
	for (; i < n; i += stride) {
		float gi = mul(g[i], grad_scale);
		float mi = add(mul(beta1, m[i]), mul(rest1, gi));
		float vi = add(mul(beta2, v[i]), mul(mul(rest2, gi), gi));
		m[i] = mi;
		v[i] = vi;
		float d = add(__fsqrt_rn(mul(vi, corr2)), eps);
		p[i] = sub(mul(p[i], keep), mul(lr, quot(mul(mi, corr1), d)));
	}
}
KERNEL(adamw_f32)

// buf = momentum·buf + g·scale; u = g·scale + momentum·buf (Nesterov) or buf.
// sumsq[0] is set to zero for the norm that follows.
EXPORT_STRIDING(8) muon_momentum_f32(float* u, float* buf, const float* g, const float* step, float momentum, int nesterov,
                         float* sumsq, long long n) {
	float scale = step[kStepGradScale];
	long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x, stride = (long long)gridDim.x * blockDim.x;
	if (i == 0) sumsq[0] = 0;
	for (; i < n; i += stride) {
		float gi = mul(g[i], scale), b = add(mul(momentum, buf[i]), gi);
		buf[i] = b;
		u[i] = nesterov ? add(gi, mul(momentum, b)) : b;
	}
}
KERNEL(muon_momentum_f32)

// u /= ‖u‖ + 1e-7
EXPORT_STRIDING(8) muon_normalize_f32(float* u, const float* sumsq, long long n) {
	float inv = 1.0f / (__fsqrt_rn(sumsq[0]) + 1e-7f);
	long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x, stride = (long long)gridDim.x * blockDim.x;
	for (; i < n; i += stride) u[i] *= inv;
}
KERNEL(muon_normalize_f32)

// p -= lr·(lr_scale·u + weight_decay·p)
EXPORT_STRIDING(8) muon_update_f32(float* p, const float* u, const float* step, float lr_scale, float weight_decay, long long n) {
	float lr = step[kStepMuonLR];
	long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x, stride = (long long)gridDim.x * blockDim.x;
	for (; i < n; i += stride) p[i] -= lr * (lr_scale * u[i] + weight_decay * p[i]);
}
KERNEL(muon_update_f32)
