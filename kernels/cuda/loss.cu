// Softmax and the losses over it: one block a row, each in two passes over the
// logits (one to find maximum and sum, one to write).
#include "step.cuh"

struct SumExp {
	float max, sum;
};

// The largest element of a row times scale, and the sum of exp(x·scale - max).
DEVICE SumExp row_sum_exp(const float* x, int n, float scale, float* shared) {
	float m = -infinity();
	for (int i = threadIdx.x; i < n; i += blockDim.x) m = x[i] > m ? x[i] : m;
	m = mul(block_max(m, shared), scale);
	float s = 0;
	for (int i = threadIdx.x; i < n; i += blockDim.x) s += stated_exp(sub(mul(x[i], scale), m));
	return {m, block_sum(s, shared)};
}

// dst = weight·softmax(x·scale), or adds it.
EXPORT softmax_f32(float* dst, const float* x, float scale, float weight, int accumulate, int cols) {
	__shared__ float shared[32];
	x += (size_t)blockIdx.x * cols;
	dst += (size_t)blockIdx.x * cols;
	SumExp e = row_sum_exp(x, cols, scale, shared);
	float inv = quot(1.0f, e.sum);
	for (int i = threadIdx.x; i < cols; i += blockDim.x) {
		float p = mul(weight, mul(stated_exp(sub(mul(x[i], scale), e.max)), inv));
		dst[i] = accumulate ? add(dst[i], p) : p;
	}
}
KERNEL(softmax_f32)

// loss = w·CE and dlogits = scale·w·(p - target distribution); dlogits may be null,
// or the logits.
EXPORT cross_entropy_f32(float* loss, float* dlogits, const float* logits, const int* targets, const float* weights,
                         float smoothing, float scale, const float* step, int cols) {
	__shared__ float shared[32];
	int row = blockIdx.x, target = targets[row];
	float w = weights[row];
	const float* x = logits + (size_t)row * cols;
	float* d = dlogits ? dlogits + (size_t)row * cols : nullptr;
	if (w == 0) {
		if (threadIdx.x == 0) loss[row] = 0;
		if (d)
			for (int i = threadIdx.x; i < cols; i += blockDim.x) d[i] = 0;
		return;
	}
	bool valid = target >= 0 && target < cols;
	float xt = valid ? x[target] : quiet_nan();
	SumExp e = row_sum_exp(x, cols, 1.0f, shared);
	float u = quot(smoothing, __int2float_rn(cols)), c = sub(1.0f, smoothing);
	float total = 0;
	if (smoothing > 0) {
		for (int i = threadIdx.x; i < cols; i += blockDim.x) total += x[i];
		total = block_sum(total, shared);
	}
	if (threadIdx.x == 0) {
		float l = sub(add(e.max, stated_log(e.sum)), mul(c, xt));
		if (smoothing > 0) l = sub(l, mul(u, total));
		loss[row] = mul(w, l);
	}
	if (!d) return;
	float inv = quot(1.0f, e.sum), s = mul(times_step(scale, step, kStepLossScale), w);
	__syncthreads();  // every thread has read x[target] before any overwrites it
	for (int i = threadIdx.x; i < cols; i += blockDim.x) {
		float p = mul(stated_exp(sub(x[i], e.max)), inv);
		d[i] = mul(sub(p, i == target ? add(u, c) : u), s);
	}
}
KERNEL(cross_entropy_f32)

// kl = w·t²·KL(probs ‖ softmax(logits/t)); dlogits += scale·w·t·(q - probs).
EXPORT distill_f32(float* kl, float* dlogits, const float* logits, const float* probs, const float* weights,
                   float temperature, float scale, const float* step, int cols) {
	__shared__ float shared[32];
	int row = blockIdx.x;
	float w = weights[row];
	if (w == 0) {
		if (threadIdx.x == 0) kl[row] = 0;
		return;
	}
	const float* x = logits + (size_t)row * cols;
	const float* p = probs + (size_t)row * cols;
	float* d = dlogits + (size_t)row * cols;
	float inv_t = quot(1.0f, temperature);
	SumExp e = row_sum_exp(x, cols, inv_t, shared);
	float lse = add(e.max, stated_log(e.sum)), inv = quot(1.0f, e.sum);
	float g = mul(temperature, mul(times_step(scale, step, kStepLossScale), w));
	float k = 0;
	for (int i = threadIdx.x; i < cols; i += blockDim.x) {
		float z = mul(x[i], inv_t), pi = p[i];
		if (!(pi < kMinNormal)) k += mul(pi, sub(stated_log(pi), sub(z, lse)));
		float q = mul(stated_exp(sub(z, e.max)), inv);
		d[i] = add(d[i], mul(sub(q, pi), g));
	}
	k = block_sum(k, shared);
	if (threadIdx.x == 0) kl[row] = mul(w, mul(mul(temperature, temperature), k));
}
KERNEL(distill_f32)

// distill against the teacher's k largest probabilities and the mass of the rest
// as one bucket. Dynamic shared memory holds a bit for each entry of a row: is it
// one of the k?
EXPORT distill_topk_f32(float* kl, float* dlogits, const float* logits, const int* ids, const float* probs,
                        const float* tails, const float* weights, float temperature, float scale, const float* step, int cols,
                        int k) {
	__shared__ float shared[32];
	DYNAMIC_SHARED(unsigned, known);
	int row = blockIdx.x;
	float w = weights[row];
	if (w == 0) {
		if (threadIdx.x == 0) kl[row] = 0;
		return;
	}
	const float* x = logits + (size_t)row * cols;
	float* d = dlogits + (size_t)row * cols;
	ids += (size_t)row * k;
	probs += (size_t)row * k;
	for (int i = threadIdx.x; i < (cols + 31) / 32; i += blockDim.x) known[i] = 0;
	__syncthreads();
	for (int j = threadIdx.x; j < k; j += blockDim.x) {
		int id = ids[j];
		if (id >= 0 && id < cols) atomicOr(&known[id >> 5], 1u << (id & 31));
	}
	__syncthreads();
	float inv_t = quot(1.0f, temperature);
	SumExp e = row_sum_exp(x, cols, inv_t, shared);
	float lse = add(e.max, stated_log(e.sum)), inv = quot(1.0f, e.sum);
	float g = mul(temperature, mul(times_step(scale, step, kStepLossScale), w));
	float rest = 0;
	for (int i = threadIdx.x; i < cols; i += blockDim.x)
		if (!(known[i >> 5] >> (i & 31) & 1)) rest += stated_exp(sub(mul(x[i], inv_t), e.max));
	rest = mul(block_sum(rest, shared), inv);
	rest = rest > kMinNormal ? rest : kMinNormal;
	float tail = tails[row], sum = 0;
	for (int j = threadIdx.x; j < k; j += blockDim.x) {
		float p = probs[j];
		int id = ids[j];
		if (id < 0 || id >= cols) {
			sum = quiet_nan();
			continue;
		}
		float z = mul(x[id], inv_t);
		if (p >= kMinNormal) sum += mul(p, sub(stated_log(p), sub(z, lse)));
		float q = mul(stated_exp(sub(z, e.max)), inv);
		d[id] = add(d[id], mul(sub(q, p), g));
	}
	sum = block_sum(sum, shared);
	if (threadIdx.x == 0) {
		if (tail >= kMinNormal) sum += mul(tail, sub(stated_log(tail), stated_log(rest)));
		kl[row] = mul(w, mul(mul(temperature, temperature), sum));
	}
	float c = mul(mul(inv, sub(1.0f, quot(tail, rest))), g);
	for (int i = threadIdx.x; i < cols; i += blockDim.x)
		if (!(known[i >> 5] >> (i & 31) & 1)) d[i] = add(d[i], mul(c, stated_exp(sub(mul(x[i], inv_t), e.max))));
}
KERNEL(distill_topk_f32)
