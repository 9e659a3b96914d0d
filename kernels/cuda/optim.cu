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

// vec.AdamW; elements from decayed on take no weight decay
EXPORT_STRIDING(6) adamw_f32(float* p, const float* g, float* m, float* v, const float* step, float beta1, float beta2, float eps,
                 float weight_decay, long long n, long long decayed) {
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
		p[i] = sub(mul(p[i], i < decayed ? keep : 1.0f), mul(lr, quot(mul(mi, corr1), d)));
	}
}
KERNEL(adamw_f32)
