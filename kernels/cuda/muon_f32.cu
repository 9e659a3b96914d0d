// Muon's products in float32, of all matrices of a model in one launch.
#include "gemm_f32.cuh"
#include "muon.cuh"

template <bool TransA, bool TransB>
DEVICE void muon_f32(MUON_PARAMS) {
	using Gemm = GemmF32<TransA, TransB>;
	MuonTile t;
	t.find(MUON_ARGS);
	float acc[8][4] = {};
	Gemm::multiply(acc, t.a, t.b, t.m, t.n, t.k, t.row0, t.col0, 1.0f);
	UNROLL
	for (int i = 0; i < 8; i++) {
		UNROLL
		for (int j = 0; j < 4; j++) t.store(t.row0 + Gemm::row(i), t.col0 + Gemm::col(j), acc[i][j]);
	}
}

EXPORT __launch_bounds__(128) muon_f32_nn(MUON_PARAMS) { muon_f32<false, false>(MUON_ARGS); }
KERNEL(muon_f32_nn)
EXPORT __launch_bounds__(128) muon_f32_nt(MUON_PARAMS) { muon_f32<false, true>(MUON_ARGS); }
KERNEL(muon_f32_nt)
EXPORT __launch_bounds__(128) muon_f32_tn(MUON_PARAMS) { muon_f32<true, false>(MUON_ARGS); }
KERNEL(muon_f32_tn)
