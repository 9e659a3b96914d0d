// What Muon does to each element of its matrices. Row y of the grid is matrix y of the
// table, whose elements the blocks of the row share.
#include "muon.cuh"

struct MuonElements {
	const int* t;
	long long n, first, step;
	DEVICE explicit MuonElements(const int* table)
	    : t(table + blockIdx.y * kMuonColumns), n((long long)t[kMuonRows] * t[kMuonCols]),
	      first(blockIdx.x * (long long)blockDim.x + threadIdx.x), step((long long)gridDim.x * blockDim.x) {}
};

// buf = momentum·buf + g·scale; u = g·scale + momentum·buf (Nesterov) or buf, into the scratch x. Each block leaves the
// sum of its squares in partial [matrices, blocks].
EXPORT_STRIDING(8) muon_momentum_f32(float* x, double* partial, float* buf, const float* g, const int* table, const float* step,
                                     float momentum, int nesterov) {
	__shared__ double sums[32];
	MuonElements e(table);
	x += e.t[kMuonX];
	buf += e.t[kMuonOffset];
	g += e.t[kMuonOffset];
	float scale = step[kStepGradScale];
	double s = 0;
	for (long long i = e.first; i < e.n; i += e.step) {
		float gi = mul(g[i], scale), b = add(mul(momentum, buf[i]), gi);
		buf[i] = b;
		float u = nesterov ? add(gi, mul(momentum, b)) : b;
		x[i] = u;
		s += (double)u * u;
	}
	s = block_sum(s, sums);
	if (threadIdx.x == 0) partial[blockIdx.y * gridDim.x + blockIdx.x] = s;
}
KERNEL(muon_momentum_f32)

// u /= ‖u‖ + 1e-7, with the norm from the sums that muon_momentum_f32 left on a grid of the same size.
EXPORT_STRIDING(8) muon_normalize_f32(float* x, const double* partial, const int* table) {
	MuonElements e(table);
	x += e.t[kMuonX];
	double s = 0;
	for (int i = 0; i < (int)gridDim.x; i++) s += partial[blockIdx.y * gridDim.x + i];
	float inv = 1.0f / (__fsqrt_rn((float)s) + 1e-7f);
	for (long long i = e.first; i < e.n; i += e.step) x[i] *= inv;
}
KERNEL(muon_normalize_f32)

// p -= lr·(lr_scale·u + weight_decay·p)
EXPORT_STRIDING(8) muon_update_f32(float* p, const float* x, const int* table, const float* step, float weight_decay) {
	MuonElements e(table);
	p += e.t[kMuonOffset];
	x += e.t[kMuonX];
	float lr = step[kStepMuonLR], lr_scale = __int_as_float(e.t[kMuonScale]);
	for (long long i = e.first; i < e.n; i += e.step) p[i] -= lr * (lr_scale * x[i] + weight_decay * p[i]);
}
KERNEL(muon_update_f32)
