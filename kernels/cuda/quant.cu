// The student's INT8 operations, with the bits of engine/student/SPEC.md.
#include "mma.cuh"
#include "stated.cuh"

DEVICE unsigned magnitude_bits(float x) { return __float_as_uint(x) & 0x7fffffffu; }

// Quantises row r of x [rows, cols] to q with rows of stride bytes (cols rounded
// up, the rest zero) and scale[r]. One warp a row.
EXPORT quantize_rows_f32(int8_t* q, float* scale, const float* x, int rows, int cols, int stride) {
	int row = blockIdx.x * (blockDim.x >> 5) + warp_id();
	if (row >= rows) return;
	x += (size_t)row * cols;
	q += (size_t)row * stride;
	unsigned a = 0;
	for (int c = lane_id(); c < cols; c += 32) {
		unsigned m = magnitude_bits(x[c]);
		a = m > a ? m : a;
	}
	RowScale s = row_scale(warp_max(a));
	if (lane_id() == 0) scale[row] = s.scale;
	for (int c = lane_id(); c < stride; c += 32) q[c] = (int8_t)(c < cols ? quantized(x[c], s) : 0);
}
KERNEL(quantize_rows_f32)

EXPORT_STRIDING(8) qembed_f32(float* y, const int8_t* table, const float* scale, const int* ids, long long n, int cols, int vocab) {
	long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x, step = (long long)gridDim.x * blockDim.x;
	for (; i < n; i += step) {
		long long r;
		int c;
		divide(i, cols, n, &r, &c);
		int id = ids[r];
		y[i] = id >= 0 && id < vocab ? mul(__int2float_rn(table[(size_t)id * cols + c]), scale[id]) : quiet_nan();
	}
}
KERNEL(qembed_f32)

// The sum over one warp's share of a row of K products; words says that both rows
// lie on whole words.
DEVICE int warp_dot(const int8_t* a, const int8_t* b, int k, bool words) {
	int acc = 0;
	if (words) {
		for (int i = lane_id(); i < k / 4; i += 32) acc = __dp4a(((const int*)a)[i], ((const int*)b)[i], acc);
	} else {
		for (int i = lane_id(); i < k; i += 32) acc += a[i] * b[i];
	}
	return warp_sum(acc);
}

// y [n,m] = (xq·wᵀ)·(xscale·wscale) + bias for few rows or odd sizes: one warp an
// output. Grid (m/4, n), block 128.
EXPORT qlinear_dp4a(float* y, const int8_t* xq, const float* xscale, const int8_t* w, const float* wscale,
                    const float* bias, int m, int k, int words) {
	int col = blockIdx.x * (blockDim.x >> 5) + warp_id(), row = blockIdx.y;
	if (col >= m) return;
	int acc = warp_dot(xq + (size_t)row * k, w + (size_t)col * k, k, words);
	if (lane_id() == 0) y[(size_t)row * m + col] = rescaled(acc, xscale[row], wscale[col], bias, col);
}
KERNEL(qlinear_dp4a)

// The same on tensor cores, for k a multiple of 16 and rows on 16 bytes: a block
// of four warps computes 64 rows by 64 outputs, in steps of 64 that are copied
// asynchronously one ahead.
static constexpr int kQTile = 64;
static constexpr int kQPitch = kQTile + 16;

DEVICE void qlinear_load(int8_t (*tile)[kQPitch], const int8_t* src, int first, int rows, int k0, int k) {
	for (int i = threadIdx.x; i < kQTile * (kQTile / 16); i += 128) {
		int r = i / (kQTile / 16), c = i % (kQTile / 16) * 16;
		int row = min(first + r, rows - 1);
		if (k0 + c < k) cp_async16(&tile[r][c], src + (size_t)row * k + k0 + c);
		else *(int4*)&tile[r][c] = {0, 0, 0, 0};
	}
}

EXPORT qlinear_mma(float* y, const int8_t* xq, const float* xscale, const int8_t* w, const float* wscale,
                   const float* bias, int n, int m, int k) {
	__shared__ __align__(16) int8_t xs[2][kQTile][kQPitch];
	__shared__ __align__(16) int8_t ws[2][kQTile][kQPitch];
	int lane = lane_id(), wm = (warp_id() >> 1) * 32, wn = (warp_id() & 1) * 32;
	int row0 = blockIdx.y * kQTile, col0 = blockIdx.x * kQTile;
	int acc[2][4][4] = {};
	qlinear_load(xs[0], xq, row0, n, 0, k);
	qlinear_load(ws[0], w, col0, m, 0, k);
	cp_async_commit();
	for (int k0 = 0, buf = 0; k0 < k; k0 += kQTile, buf ^= 1) {
		if (k0 + kQTile < k) {
			qlinear_load(xs[buf ^ 1], xq, row0, n, k0 + kQTile, k);
			qlinear_load(ws[buf ^ 1], w, col0, m, k0 + kQTile, k);
		}
		cp_async_commit();
		cp_async_wait<1>();
		__syncthreads();
		UNROLL
		for (int kk = 0; kk < kQTile; kk += 32) {
			uint32_t a[2][4], b[2][4];
			UNROLL
			for (int i = 0; i < 2; i++) ldmatrix4(a[i], &xs[buf][wm + i * 16 + (lane & 15)][kk + (lane >> 4) * 16]);
			UNROLL
			for (int j = 0; j < 2; j++)
				ldmatrix4(b[j], &ws[buf][wn + j * 16 + (lane >> 4) * 8 + (lane & 7)][kk + (lane >> 3 & 1) * 16]);
			UNROLL
			for (int i = 0; i < 2; i++) {
				UNROLL
				for (int j = 0; j < 4; j++) {
					uint32_t bj[2] = {b[j >> 1][(j & 1) * 2], b[j >> 1][(j & 1) * 2 + 1]};
					mma_s8(acc[i][j], a[i], bj);
				}
			}
		}
		__syncthreads();
	}
	UNROLL
	for (int i = 0; i < 2; i++) {
		UNROLL
		for (int j = 0; j < 4; j++) {
			UNROLL
			for (int e = 0; e < 4; e++) {
				int row = row0 + wm + i * 16 + (lane >> 2) + (e >> 1) * 8;
				int col = col0 + wn + j * 8 + (lane & 3) * 2 + (e & 1);
				if (row < n && col < m) y[(size_t)row * m + col] = rescaled(acc[i][j][e], xscale[row], wscale[col], bias, col);
			}
		}
	}
}
KERNEL(qlinear_mma)

// qlinear with a weight of 4x8 blocks: a warp takes one block row of one row of x,
// a lane every 32nd block. Grid (block rows/4, n), block 128.
EXPORT qsparse_linear(float* y, const int8_t* xq, const float* xscale, const int8_t* values, const int* columns,
                      const int* row_ptr, const float* wscale, const float* bias, int m, int k, int words) {
	int br = blockIdx.x * (blockDim.x >> 5) + warp_id(), row = blockIdx.y;
	if (br >= m / 4) return;
	const int8_t* x = xq + (size_t)row * k;
	int acc[4] = {};
	for (int i = row_ptr[br] + lane_id(); i < row_ptr[br + 1]; i += 32) {
		const int8_t* xb = x + columns[i] * 8;
		const int8_t* wb = values + (size_t)i * 32;
		UNROLL
		for (int r = 0; r < 4; r++) {
			if (words) {
				acc[r] = __dp4a(((const int*)wb)[r * 2], ((const int*)xb)[0], acc[r]);
				acc[r] = __dp4a(((const int*)wb)[r * 2 + 1], ((const int*)xb)[1], acc[r]);
			} else {
				for (int c = 0; c < 8; c++) acc[r] += wb[r * 8 + c] * xb[c];
			}
		}
	}
	UNROLL
	for (int r = 0; r < 4; r++) acc[r] = warp_sum(acc[r]);
	if (lane_id() != 0) return;
	UNROLL
	for (int r = 0; r < 4; r++) y[(size_t)row * m + br * 4 + r] = rescaled(acc[r], xscale[row], wscale[br * 4 + r], bias, br * 4 + r);
}
KERNEL(qsparse_linear)

// Attention of one query head at one position over INT8 keys and values
// k8, v8 [batch, time, kv_heads, stride] with scales ks, vs [batch, time, kv_heads].
// One warp each; the warp's piece of dynamic shared memory holds time scores and
// stride bytes of the quantised query.
EXPORT qattention_f32(float* out, const float* q, const int8_t* k8, const float* ks, const int8_t* v8, const float* vs,
                      int rows, int time, int heads, int kv_heads, int dim, int stride, int window, float scale) {
	DYNAMIC_SHARED(int, scratch);
	long long job = (long long)blockIdx.x * (blockDim.x >> 5) + warp_id();
	if (job >= (long long)rows * heads) return;
	int h = (int)(job % heads), row = (int)(job / heads), pos = row % time, lane = lane_id();
	int g = (int)((long long)h * kv_heads / heads);
	int row0 = row - pos, first = window > 0 && pos - window + 1 > 0 ? pos - window + 1 : 0;
	int* score = scratch + (size_t)warp_id() * (time + stride / 4);
	int* q8 = score + time;
	q += job * dim;
	out += job * dim;

	// The largest value scale, by bits: a NaN is larger than every number.
	unsigned top = 0;
	for (int t = first + lane; t <= pos; t += 32) {
		unsigned b = magnitude_bits(vs[(size_t)(row0 + t) * kv_heads + g]);
		top = b > top ? b : top;
	}
	float m = __uint_as_float(warp_max(top));
	if (m == 0) {
		for (int d = lane; d < dim; d += 32) out[d] = 0;
		return;
	}

	unsigned a = 0;
	for (int d = lane; d < dim; d += 32) {
		unsigned b = magnitude_bits(q[d]);
		a = b > a ? b : a;
	}
	RowScale qs = row_scale(warp_max(a));
	for (int d = lane; d < stride; d += 32) ((int8_t*)q8)[d] = (int8_t)(d < dim ? quantized(q[d], qs) : 0);
	float c = mul(qs.scale, mul(scale, 2954.6394f));  // 2048·log2 e: units of 2^-11 octaves
	bool defect = !(m < 1.2676506e30f);               // 2^100
	int best = -536870912;
	__syncwarp();
	for (int t = first + lane; t <= pos; t += 32) {
		size_t at = (size_t)(row0 + t) * kv_heads + g;
		const int* key = (const int*)(k8 + at * stride);
		int acc = 0;
		for (int i = 0; i < stride / 4; i++) acc = __dp4a(key[i], q8[i], acc);
		float s = mul(__int2float_rn(acc), mul(ks[at], c));
		bool whole = s > -536870912.0f && s < 536870912.0f;
		int y = whole ? __float2int_rz(s) : 0;
		score[t] = y;
		best = y > best ? y : best;
		defect = defect || !whole;
	}
	best = warp_max(best);
	if (__ballot_sync(kFullWarp, defect)) {
		for (int d = lane; d < dim; d += 32) out[d] = quiet_nan();
		return;
	}

	// Value scales up to m become integers below 2^(15-shift), so that all products add up within 32 bits.
	int b = (int)(__float_as_uint(m) >> 23), shift = 0;
	while (pos - first >= 512 << shift) shift++;
	float unit = __uint_as_float((unsigned)(268 - shift - b) << 23);
	int z = 0;  // below 2^31 for two million positions
	for (int t = first + lane; t <= pos; t += 32) {
		int e = stated_pow2(best - score[t]);
		z += e;
		score[t] = rounded_product(e, __float2int_rz(mul(vs[(size_t)(row0 + t) * kv_heads + g], unit)));
	}
	long long sum = (long long)warp_sum(z >> 15) * 32768 + warp_sum(z & 32767);
	float grain = quot(__uint_as_float((unsigned)(b + 1 + shift) << 23), (float)sum);
	__syncwarp();
	for (int d = lane; d < dim; d += 32) {
		int acc = 0;
		for (int t = first; t <= pos; t++) acc += score[t] * v8[((size_t)(row0 + t) * kv_heads + g) * stride + d];
		out[d] = mul(__int2float_rn(acc), grain);
	}
}
KERNEL(qattention_f32)
