// Table look-ups and rotary positions.
#include "stated.cuh"

// dst[n] = table[ids[n]], or adds it. An id outside the table gives NaN.
EXPORT_STRIDING(8) embed_f32(float* dst, const float* table, const int* ids, long long n, int cols, int vocab, int accumulate) {
	long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x, step = (long long)gridDim.x * blockDim.x;
	for (; i < n; i += step) {
		long long r;
		int c;
		divide(i, cols, n, &r, &c);
		int id = ids[r];
		float v = id >= 0 && id < vocab ? table[(size_t)id * cols + c] : quiet_nan();
		dst[i] = accumulate ? add(dst[i], v) : v;
	}
}
KERNEL(embed_f32)

// Gradient of the table without atomics, from rows sorted by embed_sort_i32: block (v, s) adds the rows of share s of
// those whose id is v, in order; thread t takes the columns t, t+blockDim, … . With one share the result is added to
// dtable; with more, it is left in partial [shares, vocab, cols].
EXPORT embed_backward_f32(float* dtable, float* partial, const float* dy, const int* order, const int* bounds, int rows, int cols,
                          int vocab) {
	int v = blockIdx.x, share = blockIdx.y, shares = gridDim.y;
	int begin = bounds[v], count = bounds[v + 1] - begin, each = (count + shares - 1) / shares;
	int first = begin + min(share * each, count), last = begin + min((share + 1) * each, count);
	if (shares == 1 && !count) return;
	for (int c = threadIdx.x; c < cols; c += blockDim.x) {
		size_t at = (size_t)v * cols + c;
		float s = shares == 1 ? dtable[at] : 0.0f;
		int i = first;
		for (; i + 8 <= last; i += 8) { // loads that do not wait for each other
			float x[8];
			UNROLL
			for (int j = 0; j < 8; j++) x[j] = dy[(size_t)order[i + j] * cols + c];
			UNROLL
			for (int j = 0; j < 8; j++) s += x[j];
		}
		for (; i < last; i++) s += dy[(size_t)order[i] * cols + c];
		if (shares == 1) dtable[at] = s;
		else partial[(size_t)share * vocab * cols + at] = s;
	}
}
KERNEL(embed_backward_f32)

// Rotates the pairs (i, i+half) of every head by the angle of the row's position.
// x [rows, heads, 2·half]. inverse swaps the roles of the halves, which turns the
// angle round.
EXPORT_STRIDING(8) rope_f32(void* x, const int* positions, const float* cosines, const float* sines, int rows, int heads, int half,
                int limit, int inverse, int half_x) {
	long long n = (long long)rows * heads * half;
	long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x, step = (long long)gridDim.x * blockDim.x;
	for (; i < n; i += step) {
		long long head, row;
		int j, h;
		divide(i, half, n, &head, &j);
		divide(head, heads, n, &row, &h);
		int position = positions[row];
		size_t ia = head * 2 * half + j, ib = ia + half;
		if (position < 0 || position >= limit) {
			store_at(x, ia, quiet_nan(), half_x);
			store_at(x, ib, quiet_nan(), half_x);
			continue;
		}
		if (inverse) {
			size_t t = ia;
			ia = ib;
			ib = t;
		}
		float a = load_at(x, ia, half_x), b = load_at(x, ib, half_x), c = cosines[(size_t)position * half + j], s = sines[(size_t)position * half + j];
		store_at(x, ia, sub(mul(a, c), mul(b, s)), half_x);
		store_at(x, ib, add(mul(b, c), mul(a, s)), half_x);
	}
}
KERNEL(rope_f32)

// inputs[r,t] = tokens[starts[r]+t] and targets[r,t] = tokens[starts[r]+t+1], for
// tokens of length; what lies outside gives id -1.
EXPORT_STRIDING(8) gather_rows_i32(int* inputs, int* targets, const int* tokens, const int* starts, long long n, int time, int length) {
	long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x, step = (long long)gridDim.x * blockDim.x;
	for (; i < n; i += step) {
		long long row;
		int t;
		divide(i, time, n, &row, &t);
		long long at = (long long)starts[row] + t;
		inputs[i] = at >= 0 && at < length ? tokens[at] : -1;
		targets[i] = at >= -1 && at + 1 < length ? tokens[at + 1] : -1;
	}
}
KERNEL(gather_rows_i32)
