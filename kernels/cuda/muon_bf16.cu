// Muon's products on tensor cores, of all matrices of a model in one launch.
#include "gemm_bf16.cuh"
#include "muon.cuh"

template <bool TransA, bool TransB>
DEVICE void muon_bf16(MUON_PARAMS) {
	using Gemm = GemmBf16<kMuonTile, kMuonTile, 2, 2, TransA, TransB>;
	__shared__ __align__(16) uint16_t tiles[Gemm::kTiles];
	MuonTile t;
	t.find(MUON_ARGS);
	float acc[Gemm::kM][Gemm::kN][4] = {};
	Gemm::multiply(acc, tiles, t.a, t.b, t.m, t.n, t.k, t.row0, t.col0, 0, t.k);
	UNROLL
	for (int i = 0; i < Gemm::kM; i++) {
		UNROLL
		for (int j = 0; j < Gemm::kN; j++) {
			UNROLL
			for (int e = 0; e < 4; e++) {
				int row = t.row0 + Gemm::warp_row() + i * 16 + (lane_id() >> 2) + (e >> 1) * 8;
				int col = t.col0 + Gemm::warp_col() + j * 8 + (lane_id() & 3) * 2 + (e & 1);
				t.store(row, col, acc[i][j][e]);
			}
		}
	}
}

EXPORT __launch_bounds__(128) muon_bf16_nn(MUON_PARAMS) { muon_bf16<false, false>(MUON_ARGS); }
KERNEL(muon_bf16_nn)
EXPORT __launch_bounds__(128) muon_bf16_nt(MUON_PARAMS) { muon_bf16<false, true>(MUON_ARGS); }
KERNEL(muon_bf16_nt)
EXPORT __launch_bounds__(128) muon_bf16_tn(MUON_PARAMS) { muon_bf16<true, false>(MUON_ARGS); }
KERNEL(muon_bf16_tn)
