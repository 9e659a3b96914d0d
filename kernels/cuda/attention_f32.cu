// Causal attention in float32, for every head width: the float32 mode, and what
// the tensor-core kernels are checked against. Scores live in tiles of shared
// memory only (arXiv:2205.14135). Tile queries by Tile keys, 128 threads; Lanes
// neighbouring threads share a query (or key) row.
//
// q, out, dq, dout [B,T,H,D]; k, v, dk, dv [B,T,G,D]; lse, delta [B,T,H].
#include "attention.cuh"
#include "stated.cuh"

// Loads rows first … first+Tile of head h into a tile of pitch dim+1, zero outside.
template <int Tile>
DEVICE void load_heads(float* tile, const void* src, int batch, int first, int head, int heads, const AttentionShape& s) {
	for (int i = threadIdx.x; i < Tile * s.dim; i += 128) {
		int r = i / s.dim, d = i % s.dim, t = first + r;
		tile[r * (s.dim + 1) + d] = t < s.time ? load_at(src, ((size_t)(batch * s.time + t) * heads + head) * s.dim + d, s.half) : 0.0f;
	}
}
template <int Tile>
DEVICE void store_heads(void* dst, const float* tile, int batch, int first, int head, int heads, const AttentionShape& s) {
	for (int i = threadIdx.x; i < Tile * s.dim; i += 128) {
		int r = i / s.dim, d = i % s.dim, t = first + r;
		if (t < s.time) store_at(dst, ((size_t)(batch * s.time + t) * heads + head) * s.dim + d, tile[r * (s.dim + 1) + d], s.half);
	}
}
DEVICE float dot_rows(const float* a, const float* b, int n) {
	float s = 0;
	for (int d = 0; d < n; d++) s += a[d] * b[d];
	return s;
}
template <int Lanes>
DEVICE float lanes_sum(float v) {
	for (int o = Lanes / 2; o; o >>= 1) v += __shfl_xor_sync(kFullWarp, v, o);
	return v;
}
template <int Lanes>
DEVICE float lanes_max(float v) {
	for (int o = Lanes / 2; o; o >>= 1) {
		float w = __shfl_xor_sync(kFullWarp, v, o);
		v = w > v ? w : v;
	}
	return v;
}

template <int Tile>
DEVICE void attention_forward_f32(void* out, float* lse, const void* q, const void* k, const void* v, AttentionShape s) {
	constexpr int Lanes = 128 / Tile;
	DYNAMIC_SHARED(float, memory);
	int pitch = s.dim + 1, q0 = blockIdx.x * Tile, h = blockIdx.y, batch = blockIdx.z;
	int g = (int)((long long)h * s.kv_heads / s.heads);
	float* qs = memory;
	float* ks = qs + Tile * pitch;
	float* vs = ks + Tile * pitch;
	float* os = vs + Tile * pitch;
	float* ps = os + Tile * pitch;  // [Tile][Tile+1]
	int r = threadIdx.x / Lanes, l = threadIdx.x % Lanes;
	load_heads<Tile>(qs, q, batch, q0, h, s.heads, s);
	for (int d = l; d < s.dim; d += Lanes) os[r * pitch + d] = 0;
	int query = q0 + r;
	unsigned span = span_of_query(s, batch, query);
	float best = -infinity(), sum = 0;
	for (int k0 = first_key(s, batch, q0) / Tile * Tile; k0 < q0 + Tile && k0 < s.time; k0 += Tile) {
		__syncthreads();
		load_heads<Tile>(ks, k, batch, k0, g, s.kv_heads, s);
		load_heads<Tile>(vs, v, batch, k0, g, s.kv_heads, s);
		__syncthreads();
		float tile_best = best;
		for (int j = l; j < Tile; j += Lanes) {
			bool see = (unsigned)(query - k0 - j) < span;
			float x = see ? s.scale * dot_rows(qs + r * pitch, ks + j * pitch, s.dim) : -infinity();
			ps[r * (Tile + 1) + j] = x;
			tile_best = x > tile_best ? x : tile_best;
		}
		tile_best = lanes_max<Lanes>(tile_best);
		// A row that sees nothing yet keeps its -Inf and adds nothing.
		bool any = tile_best > -infinity();
		float shrink = any ? stated_exp(best - tile_best) : 1.0f, tile_sum = 0;
		for (int j = l; j < Tile; j += Lanes) {
			float p = any ? stated_exp(ps[r * (Tile + 1) + j] - tile_best) : 0.0f;
			ps[r * (Tile + 1) + j] = p;
			tile_sum += p;
		}
		sum = sum * shrink + lanes_sum<Lanes>(tile_sum);
		best = tile_best;
		__syncwarp();
		for (int d = l; d < s.dim; d += Lanes) {
			float o = os[r * pitch + d] * shrink;
			for (int j = 0; j < Tile; j++) o += ps[r * (Tile + 1) + j] * vs[j * pitch + d];
			os[r * pitch + d] = o;
		}
	}
	float inv = 1.0f / sum;
	for (int d = l; d < s.dim; d += Lanes) os[r * pitch + d] *= inv;
	if (l == 0 && q0 + r < s.time) lse[(size_t)(batch * s.time + q0 + r) * s.heads + h] = best + stated_log(sum);
	__syncthreads();
	store_heads<Tile>(out, os, batch, q0, h, s.heads, s);
}

// delta [rows] = Σ_d dout·out, which is Σ_j p_j·dp_j. One warp a row.
EXPORT attention_delta_f32(float* delta, const void* dout, const void* out, int rows, int dim, int half) {
	int row = blockIdx.x * (blockDim.x >> 5) + warp_id();
	if (row >= rows) return;
	float s = 0;
	for (int d = lane_id(); d < dim; d += 32) s += load_at(dout, (size_t)row * dim + d, half) * load_at(out, (size_t)row * dim + d, half);
	s = warp_sum(s);
	if (lane_id() == 0) delta[row] = s;
}
KERNEL(attention_delta_f32)

template <int Tile>
DEVICE void attention_dq_f32(void* dq, const void* dout, const float* delta, const float* lse, const void* q,
                             const void* k, const void* v, AttentionShape s) {
	constexpr int Lanes = 128 / Tile;
	DYNAMIC_SHARED(float, memory);
	int pitch = s.dim + 1, q0 = blockIdx.x * Tile, h = blockIdx.y, batch = blockIdx.z;
	int g = (int)((long long)h * s.kv_heads / s.heads);
	float* qs = memory;
	float* dos = qs + Tile * pitch;
	float* ks = dos + Tile * pitch;
	float* vs = ks + Tile * pitch;
	float* dqs = vs + Tile * pitch;
	float* dss = dqs + Tile * pitch;  // [Tile][Tile+1]
	int r = threadIdx.x / Lanes, l = threadIdx.x % Lanes;
	load_heads<Tile>(qs, q, batch, q0, h, s.heads, s);
	load_heads<Tile>(dos, dout, batch, q0, h, s.heads, s);
	for (int d = l; d < s.dim; d += Lanes) dqs[r * pitch + d] = 0;
	int query = q0 + r;
	unsigned span = span_of_query(s, batch, query);
	bool inside = query < s.time;
	size_t at = (size_t)(batch * s.time + q0 + r) * s.heads + h;
	float row_lse = inside ? lse[at] : 0.0f, row_delta = inside ? delta[at] : 0.0f;
	for (int k0 = first_key(s, batch, q0) / Tile * Tile; k0 < q0 + Tile && k0 < s.time; k0 += Tile) {
		__syncthreads();
		load_heads<Tile>(ks, k, batch, k0, g, s.kv_heads, s);
		load_heads<Tile>(vs, v, batch, k0, g, s.kv_heads, s);
		__syncthreads();
		for (int j = l; j < Tile; j += Lanes) {
			float ds = 0;
			if ((unsigned)(query - k0 - j) < span) {
				float p = stated_exp(s.scale * dot_rows(qs + r * pitch, ks + j * pitch, s.dim) - row_lse);
				ds = p * (dot_rows(dos + r * pitch, vs + j * pitch, s.dim) - row_delta) * s.scale;
			}
			dss[r * (Tile + 1) + j] = ds;
		}
		__syncwarp();
		for (int d = l; d < s.dim; d += Lanes) {
			float x = dqs[r * pitch + d];
			for (int j = 0; j < Tile; j++) x += dss[r * (Tile + 1) + j] * ks[j * pitch + d];
			dqs[r * pitch + d] = x;
		}
	}
	__syncthreads();
	store_heads<Tile>(dq, dqs, batch, q0, h, s.heads, s);
}

// dk and dv of one tile of keys: a row of threads is a key; the query heads of
// the group add up in order.
template <int Tile>
DEVICE void attention_dkv_f32(void* dk, void* dv, const void* dout, const float* delta, const float* lse,
                              const void* q, const void* k, const void* v, AttentionShape s) {
	constexpr int Lanes = 128 / Tile;
	DYNAMIC_SHARED(float, memory);
	int pitch = s.dim + 1, k0 = blockIdx.x * Tile, g = blockIdx.y, batch = blockIdx.z, group = s.heads / s.kv_heads;
	float* ks = memory;
	float* vs = ks + Tile * pitch;
	float* qs = vs + Tile * pitch;
	float* dos = qs + Tile * pitch;
	float* dks = dos + Tile * pitch;
	float* dvs = dks + Tile * pitch;
	float* ps = dvs + Tile * pitch;  // [Tile keys][Tile+1 queries]
	float* dss = ps + Tile * (Tile + 1);
	int r = threadIdx.x / Lanes, l = threadIdx.x % Lanes;
	load_heads<Tile>(ks, k, batch, k0, g, s.kv_heads, s);
	load_heads<Tile>(vs, v, batch, k0, g, s.kv_heads, s);
	for (int d = l; d < s.dim; d += Lanes) dks[r * pitch + d] = dvs[r * pitch + d] = 0;
	int key = k0 + r, last = after_key(s, batch, min(k0 + Tile, s.time) - 1);
	unsigned span = span_of_key(s, batch, key);
	for (int h = g * group; h < (g + 1) * group; h++) {
		for (int q0 = k0; q0 < last; q0 += Tile) {
			__syncthreads();
			load_heads<Tile>(qs, q, batch, q0, h, s.heads, s);
			load_heads<Tile>(dos, dout, batch, q0, h, s.heads, s);
			__syncthreads();
			for (int i = l; i < Tile; i += Lanes) {
				float p = 0, ds = 0;
				if ((unsigned)(q0 + i - key) < span) {
					size_t at = (size_t)(batch * s.time + q0 + i) * s.heads + h;
					p = stated_exp(s.scale * dot_rows(qs + i * pitch, ks + r * pitch, s.dim) - lse[at]);
					ds = p * (dot_rows(dos + i * pitch, vs + r * pitch, s.dim) - delta[at]) * s.scale;
				}
				ps[r * (Tile + 1) + i] = p;
				dss[r * (Tile + 1) + i] = ds;
			}
			__syncwarp();
			for (int d = l; d < s.dim; d += Lanes) {
				float x = dks[r * pitch + d], y = dvs[r * pitch + d];
				for (int i = 0; i < Tile; i++) {
					x += dss[r * (Tile + 1) + i] * qs[i * pitch + d];
					y += ps[r * (Tile + 1) + i] * dos[i * pitch + d];
				}
				dks[r * pitch + d] = x;
				dvs[r * pitch + d] = y;
			}
		}
	}
	__syncthreads();
	store_heads<Tile>(dk, dks, batch, k0, g, s.kv_heads, s);
	store_heads<Tile>(dv, dvs, batch, k0, g, s.kv_heads, s);
}

#define ATTENTION_F32(tile)                                                                                             \
	EXPORT __launch_bounds__(128) attention_f32_##tile(void* out, float* lse, const void* q, const void* k,           \
	                                                   const void* v, ATTENTION_PARAMS) {                                   \
		attention_forward_f32<tile>(out, lse, q, k, v, ATTENTION_ARGS);                                                      \
	}                                                                                                                   \
	KERNEL(attention_f32_##tile)                                                                                        \
	EXPORT __launch_bounds__(128) attention_dq_f32_##tile(void* dq, const void* dout, const float* delta,              \
	                                                      const float* lse, const void* q, const void* k,              \
	                                                      const void* v, ATTENTION_PARAMS) {                                \
		attention_dq_f32<tile>(dq, dout, delta, lse, q, k, v, ATTENTION_ARGS);                                               \
	}                                                                                                                   \
	KERNEL(attention_dq_f32_##tile)                                                                                     \
	EXPORT __launch_bounds__(128) attention_dkv_f32_##tile(void* dk, void* dv, const void* dout, const float* delta,  \
	                                                       const float* lse, const void* q, const void* k,             \
	                                                       const void* v, ATTENTION_PARAMS) {                               \
		attention_dkv_f32<tile>(dk, dv, dout, delta, lse, q, k, v, ATTENTION_ARGS);                                          \
	}                                                                                                                   \
	KERNEL(attention_dkv_f32_##tile)

ATTENTION_F32(32)
ATTENTION_F32(16)
