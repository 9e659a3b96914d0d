// Causal attention on tensor cores (arXiv:2205.14135, arXiv:2307.08691): operands
// are bfloat16, or rounded to it on their way into shared memory; scores, sums and
// results stay float32 in registers. Heads are padded with zeros to Dim columns.
// Four warps a block; the backward pass recomputes the scores and uses no atomics.
//
// q, out, dq, dout [B,T,H,D]; k, v, dk, dv [B,T,G,D]; lse, delta [B,T,H].
#include "attention.cuh"
#include "mma.cuh"
#include "stated.cuh"

static constexpr float kLog2e = 1.44269504088896341f;
static constexpr float kLn2 = 0.69314718055994531f;

// Rows of heads in shared memory, rounded; the pitch spreads rows over the banks.
template <int Rows, int Dim>
struct HeadTile {
	static constexpr int kPitch = Dim + 8;
	static constexpr int kSize = Rows * kPitch;

	// load reads rows first … of a head, zero past the end of the sequence and of
	// the head. whole: heads lie on 16 bytes, or 8 of bfloat16, and have a multiple of 4 columns.
	static DEVICE void load(uint16_t* tile, const void* src, int batch, int first, int head, int heads, const AttentionShape& s,
	                        bool whole) {
		for (int i = threadIdx.x; i < Rows * (Dim / 4); i += 128) {
			int r = i / (Dim / 4), d = i % (Dim / 4) * 4, t = first + r;
			int left = t < s.time ? s.dim - d : 0;
			size_t at = ((size_t)(batch * s.time + t) * heads + head) * s.dim + d;
			if (s.half && left >= 4 && whole) {
				*(uint2*)&tile[r * kPitch + d] = *(const uint2*)&((const uint16_t*)src)[at];
				continue;
			}
			float4 x = {0, 0, 0, 0};
			if (left >= 4 && whole) {
				x = *(const float4*)&((const float*)src)[at];
			} else {
				if (left > 0) x.x = load_at(src, at, s.half);
				if (left > 1) x.y = load_at(src, at + 1, s.half);
				if (left > 2) x.z = load_at(src, at + 2, s.half);
				if (left > 3) x.w = load_at(src, at + 3, s.half);
			}
			uint2 v = {pack_bf16(x.x, x.y), pack_bf16(x.z, x.w)};
			*(uint2*)&tile[r * kPitch + d] = v;
		}
	}
	// Operand A: 16 rows from r, 16 columns from d.
	static DEVICE void a(uint32_t (&f)[4], const uint16_t* tile, int r, int d) {
		int l = lane_id();
		ldmatrix4(f, &tile[(r + (l & 15)) * kPitch + d + (l >> 4) * 8]);
	}
	// Operand B = rowsᵀ: columns of B are rows r … r+16 of the tile, k runs along d.
	static DEVICE void b_rows(uint32_t (&f)[4], const uint16_t* tile, int r, int d) {
		int l = lane_id();
		ldmatrix4(f, &tile[(r + (l >> 4) * 8 + (l & 7)) * kPitch + d + (l >> 3 & 1) * 8]);
	}
	// Operand B = rows: k runs along rows r … r+16, columns of B are d … d+16.
	static DEVICE void b_columns(uint32_t (&f)[4], const uint16_t* tile, int r, int d) {
		int l = lane_id();
		ldmatrix4_trans(f, &tile[(r + (l >> 3 & 1) * 8 + (l & 7)) * kPitch + d + (l >> 4) * 8]);
	}
};

// acc [16, N·8] += a16·tileᵀ over Dim: scores of 16 rows from r of one tile
// against all rows of another.
template <int N, int Dim, class TileA, class TileB>
DEVICE void multiply_rows(float (&acc)[N][4], const uint16_t* a, int r, const uint16_t* b) {
	UNROLL
	for (int d = 0; d < Dim; d += 16) {
		uint32_t fa[4];
		TileA::a(fa, a, r, d);
		UNROLL
		for (int j = 0; j < N / 2; j++) {
			uint32_t fb[4];
			TileB::b_rows(fb, b, j * 16, d);
			uint32_t b0[2] = {fb[0], fb[1]}, b1[2] = {fb[2], fb[3]};
			mma_bf16(acc[2 * j], fa, b0);
			mma_bf16(acc[2 * j + 1], fa, b1);
		}
	}
}

// acc [16, Dim] += p·tile, where p [16, N·8] is in the layout of an accumulator:
// two neighbouring accumulators are one operand A.
template <int N, int Dim, class Tile>
DEVICE void multiply_columns(float (&acc)[Dim / 8][4], const float (&p)[N][4], const uint16_t* b) {
	UNROLL
	for (int j = 0; j < N / 2; j++) {
		uint32_t fa[4] = {pack_bf16(p[2 * j][0], p[2 * j][1]), pack_bf16(p[2 * j][2], p[2 * j][3]),
		                  pack_bf16(p[2 * j + 1][0], p[2 * j + 1][1]), pack_bf16(p[2 * j + 1][2], p[2 * j + 1][3])};
		UNROLL
		for (int d = 0; d < Dim / 16; d++) {
			uint32_t fb[4];
			Tile::b_columns(fb, b, j * 16, d * 16);
			uint32_t b0[2] = {fb[0], fb[1]}, b1[2] = {fb[2], fb[3]};
			mma_bf16(acc[2 * d], fa, b0);
			mma_bf16(acc[2 * d + 1], fa, b1);
		}
	}
}

// Stores rows first+r … of 16 rows held as an accumulator, each times factor[half].
template <int Dim>
DEVICE void store_rows(void* dst, const float (&acc)[Dim / 8][4], const float (&factor)[2], int batch, int row, int head,
                       int heads, const AttentionShape& s) {
	bool pairs = s.half && (s.dim & 1) == 0 && ((uintptr_t)dst & 3) == 0;
	UNROLL
	for (int half = 0; half < 2; half++) {
		int t = row + (lane_id() >> 2) + half * 8;
		if (t >= s.time) continue;
		size_t at = ((size_t)(batch * s.time + t) * heads + head) * s.dim;
		UNROLL
		for (int j = 0; j < Dim / 8; j++) {
			int d = j * 8 + (lane_id() & 3) * 2;
			float x = acc[j][half * 2] * factor[half], y = acc[j][half * 2 + 1] * factor[half];
			if (pairs) {
				if (d < s.dim) *(uint32_t*)&((uint16_t*)dst)[at + d] = pack_bf16(x, y);
				continue;
			}
			if (d < s.dim) store_at(dst, at + d, x, s.half);
			if (d + 1 < s.dim) store_at(dst, at + d + 1, y, s.half);
		}
	}
}

static constexpr int kQueries = 64, kKeys = 64;

template <int Dim>
DEVICE void attention_forward_bf16(void* out, float* lse, const void* q, const void* k, const void* v, AttentionShape s) {
	using Tile = HeadTile<64, Dim>;
	constexpr int N = kKeys / 8;
	DYNAMIC_SHARED(uint16_t, memory);
	uint16_t* qs = memory;
	uint16_t* ks = qs + Tile::kSize;
	uint16_t* vs = ks + Tile::kSize;
	// The last query tiles have the most keys: they go first.
	int q0 = (gridDim.x - 1 - blockIdx.x) * kQueries, h = blockIdx.y, batch = blockIdx.z;
	int g = (int)((long long)h * s.kv_heads / s.heads), r = warp_id() * 16;
	bool whole = (s.dim & 3) == 0 && aligned16(q) && aligned16(k) && aligned16(v);
	Tile::load(qs, q, batch, q0, h, s.heads, s, whole);
	float o[Dim / 8][4] = {}, best[2] = {-infinity(), -infinity()}, sum[2] = {};
	float log2_scale = s.scale * kLog2e;
	int row = q0 + r + (lane_id() >> 2);
	unsigned span[2] = {span_of_query(s, batch, row), span_of_query(s, batch, row + 8)};
	// Keys from here on are seen by every query of the tile that stands behind them.
	int common = first_key(s, batch, min(q0 + kQueries, s.time) - 1);
	for (int k0 = first_key(s, batch, q0) / kKeys * kKeys; k0 < q0 + kQueries && k0 < s.time; k0 += kKeys) {
		__syncthreads();
		Tile::load(ks, k, batch, k0, g, s.kv_heads, s, whole);
		Tile::load(vs, v, batch, k0, g, s.kv_heads, s, whole);
		__syncthreads();
		float p[N][4] = {};
		multiply_rows<N, Dim, Tile, Tile>(p, qs, r, ks);
		bool edge = k0 + kKeys > q0 || k0 < common;
		UNROLL
		for (int half = 0; half < 2; half++) {
			int query = row + half * 8;
			float top = best[half];
			UNROLL
			for (int j = 0; j < N; j++) {
				UNROLL
				for (int e = 0; e < 2; e++) {
					float& x = p[j][half * 2 + e];
					int key = k0 + j * 8 + (lane_id() & 3) * 2 + e;
					x = !edge || (unsigned)(query - key) < span[half] ? x * log2_scale : -infinity();
					top = x > top ? x : top;
				}
			}
			for (int i = 1; i < 4; i <<= 1) {
				float other = __shfl_xor_sync(kFullWarp, top, i);
				top = other > top ? other : top;
			}
			// A row that sees nothing yet keeps its -Inf and adds nothing.
			float base = top > -infinity() ? top : 0.0f, shrink = exp2_approx(best[half] - base), add = 0;
			UNROLL
			for (int j = 0; j < N; j++) {
				UNROLL
				for (int e = 0; e < 2; e++) {
					float& x = p[j][half * 2 + e];
					x = exp2_approx(x - base);
					add += x;
				}
			}
			sum[half] = sum[half] * shrink + add;
			best[half] = top;
			UNROLL
			for (int j = 0; j < Dim / 8; j++) {
				o[j][half * 2] *= shrink;
				o[j][half * 2 + 1] *= shrink;
			}
		}
		multiply_columns<N, Dim, Tile>(o, p, vs);
	}
	float inv[2];
	UNROLL
	for (int half = 0; half < 2; half++) {
		for (int i = 1; i < 4; i <<= 1) sum[half] += __shfl_xor_sync(kFullWarp, sum[half], i);
		inv[half] = 1.0f / sum[half];
		int t = q0 + r + (lane_id() >> 2) + half * 8;
		if ((lane_id() & 3) == 0 && t < s.time)
			lse[(size_t)(batch * s.time + t) * s.heads + h] = (best[half] + log2_approx(sum[half])) * kLn2;
	}
	store_rows<Dim>(out, o, inv, batch, q0 + r, h, s.heads, s);
}

// dq of 64 queries; Keys keys at a time.
template <int Dim, int Keys>
DEVICE void attention_dq_bf16(void* dq, const void* dout, const float* delta, const float* lse, const void* q,
                              const void* k, const void* v, AttentionShape s) {
	using Queries = HeadTile<64, Dim>;
	using KeyTile = HeadTile<Keys, Dim>;
	constexpr int N = Keys / 8;
	DYNAMIC_SHARED(uint16_t, memory);
	uint16_t* qs = memory;
	uint16_t* dos = qs + Queries::kSize;
	uint16_t* ks = dos + Queries::kSize;
	uint16_t* vs = ks + KeyTile::kSize;
	int q0 = (gridDim.x - 1 - blockIdx.x) * kQueries, h = blockIdx.y, batch = blockIdx.z;
	int g = (int)((long long)h * s.kv_heads / s.heads), r = warp_id() * 16;
	bool whole = (s.dim & 3) == 0 && aligned16(q) && aligned16(k) && aligned16(v) && aligned16(dout);
	Queries::load(qs, q, batch, q0, h, s.heads, s, whole);
	Queries::load(dos, dout, batch, q0, h, s.heads, s, whole);
	float acc[Dim / 8][4] = {}, row_lse[2], row_delta[2], log2_scale = s.scale * kLog2e;
	unsigned span[2];
	UNROLL
	for (int half = 0; half < 2; half++) {
		int t = q0 + r + (lane_id() >> 2) + half * 8;
		size_t at = (size_t)(batch * s.time + t) * s.heads + h;
		row_lse[half] = t < s.time ? lse[at] * kLog2e : 0.0f;
		row_delta[half] = t < s.time ? delta[at] : 0.0f;
		span[half] = span_of_query(s, batch, t);
	}
	for (int k0 = first_key(s, batch, q0) / Keys * Keys; k0 < q0 + kQueries && k0 < s.time; k0 += Keys) {
		__syncthreads();
		KeyTile::load(ks, k, batch, k0, g, s.kv_heads, s, whole);
		KeyTile::load(vs, v, batch, k0, g, s.kv_heads, s, whole);
		__syncthreads();
		float p[N][4] = {};
		multiply_rows<N, Dim, Queries, KeyTile>(p, qs, r, ks);
		UNROLL
		for (int j = 0; j < N; j++) {
			UNROLL
			for (int e = 0; e < 4; e++) {
				int half = e >> 1, query = q0 + r + (lane_id() >> 2) + half * 8, key = k0 + j * 8 + (lane_id() & 3) * 2 + (e & 1);
				bool sees = (unsigned)(query - key) < span[half];
				// A choice before the power, not between powers, needs no branch.
				p[j][e] = exp2_approx(sees ? p[j][e] * log2_scale - row_lse[half] : -infinity());
			}
		}
		float dp[N][4] = {};
		multiply_rows<N, Dim, Queries, KeyTile>(dp, dos, r, vs);
		UNROLL
		for (int j = 0; j < N; j++) {
			UNROLL
			for (int e = 0; e < 4; e++) p[j][e] = p[j][e] * (dp[j][e] - row_delta[e >> 1]) * s.scale;
		}
		multiply_columns<N, Dim, KeyTile>(acc, p, ks);
	}
	float one[2] = {1, 1};
	store_rows<Dim>(dq, acc, one, batch, q0 + r, h, s.heads, s);
}

// dk and dv of 64 keys: the scores are computed transposed, keys by queries, so
// that a warp owns 16 keys; Queries queries at a time, over the heads of the group.
template <int Dim, int Queries>
DEVICE void attention_dkv_bf16(void* dk, void* dv, const void* dout, const float* delta, const float* lse,
                               const void* q, const void* k, const void* v, AttentionShape s) {
	using KeyTile = HeadTile<64, Dim>;
	using QueryTile = HeadTile<Queries, Dim>;
	constexpr int N = Queries / 8;
	DYNAMIC_SHARED(uint16_t, memory);
	__shared__ float tile_lse[Queries], tile_delta[Queries];
	uint16_t* ks = memory;
	uint16_t* vs = ks + KeyTile::kSize;
	uint16_t* qs = vs + KeyTile::kSize;
	uint16_t* dos = qs + QueryTile::kSize;
	int k0 = blockIdx.x * kKeys, g = blockIdx.y, batch = blockIdx.z, group = s.heads / s.kv_heads, r = warp_id() * 16;
	bool whole = (s.dim & 3) == 0 && aligned16(q) && aligned16(k) && aligned16(v) && aligned16(dout);
	KeyTile::load(ks, k, batch, k0, g, s.kv_heads, s, whole);
	KeyTile::load(vs, v, batch, k0, g, s.kv_heads, s, whole);
	float acc_k[Dim / 8][4] = {}, acc_v[Dim / 8][4] = {}, log2_scale = s.scale * kLog2e;
	int row = k0 + r + (lane_id() >> 2);
	unsigned span[2] = {span_of_key(s, batch, row), span_of_key(s, batch, row + 8)};
	int last = after_key(s, batch, min(k0 + kKeys, s.time) - 1);
	for (int h = g * group; h < (g + 1) * group; h++) {
		for (int q0 = k0; q0 < last; q0 += Queries) {
			__syncthreads();
			QueryTile::load(qs, q, batch, q0, h, s.heads, s, whole);
			QueryTile::load(dos, dout, batch, q0, h, s.heads, s, whole);
			for (int i = threadIdx.x; i < Queries; i += 128) {
				size_t at = (size_t)(batch * s.time + q0 + i) * s.heads + h;
				bool inside = q0 + i < s.time;
				tile_lse[i] = inside ? lse[at] * kLog2e : 0.0f;
				tile_delta[i] = inside ? delta[at] : 0.0f;
			}
			__syncthreads();
			float p[N][4] = {}, dp[N][4] = {};
			multiply_rows<N, Dim, KeyTile, QueryTile>(p, ks, r, qs);
			multiply_rows<N, Dim, KeyTile, QueryTile>(dp, vs, r, dos);
			UNROLL
			for (int j = 0; j < N; j++) {
				UNROLL
				for (int e = 0; e < 4; e++) {
					int i = j * 8 + (lane_id() & 3) * 2 + (e & 1), half = e >> 1, key = row + half * 8;
					bool seen = (unsigned)(q0 + i - key) < span[half];
					float w = exp2_approx(seen ? p[j][e] * log2_scale - tile_lse[i] : -infinity());
					p[j][e] = w;
					dp[j][e] = w * (dp[j][e] - tile_delta[i]) * s.scale;
				}
			}
			multiply_columns<N, Dim, QueryTile>(acc_v, p, dos);
			multiply_columns<N, Dim, QueryTile>(acc_k, dp, qs);
		}
	}
	float one[2] = {1, 1};
	store_rows<Dim>(dk, acc_k, one, batch, k0 + r, g, s.kv_heads, s);
	store_rows<Dim>(dv, acc_v, one, batch, k0 + r, g, s.kv_heads, s);
}

// The number is Dim; wide heads take fewer keys or queries at a time, to stay in
// registers.
#define ATTENTION_BF16(width, step)                                                                                        \
	EXPORT __launch_bounds__(128) attention_bf16_##width(void* out, float* lse, const void* q, const void* k,            \
	                                                     const void* v, ATTENTION_PARAMS) {                                \
		attention_forward_bf16<width>(out, lse, q, k, v, ATTENTION_ARGS);                                                   \
	}                                                                                                                      \
	KERNEL(attention_bf16_##width)                                                                                         \
	EXPORT __launch_bounds__(128) attention_dq_bf16_##width(void* dq, const void* dout, const float* delta,               \
	                                                        const float* lse, const void* q, const void* k,               \
	                                                        const void* v, ATTENTION_PARAMS) {                             \
		attention_dq_bf16<width, step>(dq, dout, delta, lse, q, k, v, ATTENTION_ARGS);                                      \
	}                                                                                                                      \
	KERNEL(attention_dq_bf16_##width)                                                                                      \
	EXPORT __launch_bounds__(128, 2) attention_dkv_bf16_##width(void* dk, void* dv, const void* dout, const float* delta, \
	                                                            const float* lse, const void* q, const void* k,           \
	                                                            const void* v, ATTENTION_PARAMS) {                         \
		attention_dkv_bf16<width, step>(dk, dv, dout, delta, lse, q, k, v, ATTENTION_ARGS);                                 \
	}                                                                                                                      \
	KERNEL(attention_dkv_bf16_##width)

ATTENTION_BF16(32, 64)
ATTENTION_BF16(64, 64)
ATTENTION_BF16(96, 32)
ATTENTION_BF16(128, 32)
