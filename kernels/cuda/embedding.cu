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

// Gradient of the table without atomics: block (v, s) walks through the rows of
// its share s in order and adds those whose id is v. Every warp looks at all ids
// of the share itself, so that no barrier is needed; thread t takes the columns t,
// t+blockDim, … . With one share the result is added to dtable; with more, it is
// left in partial [shares, vocab, cols].
EXPORT embed_backward_f32(float* dtable, float* partial, const float* dy, const int* ids, int rows, int cols, int vocab,
                          int rows_per_share) {
	int v = blockIdx.x, share = blockIdx.y;
	int first = share * rows_per_share, last = min(first + rows_per_share, rows);
	for (int c0 = 0; c0 < cols; c0 += blockDim.x) {
		int c = c0 + threadIdx.x;
		bool single = gridDim.y == 1;
		size_t at = (size_t)v * cols + c;
		float s = single && c < cols ? dtable[at] : 0.0f;
		bool any = false;
		for (int r0 = first; r0 < last; r0 += 32) {
			int r = r0 + lane_id();
			unsigned hits = __ballot_sync(kFullWarp, r < last && ids[r] == v);
			any |= hits != 0;
			for (; hits; hits &= hits - 1) {
				int bit = __ffs(hits) - 1;
				if (c < cols) s += dy[(size_t)(r0 + bit) * cols + c];
			}
		}
		if (c >= cols) continue;
		if (!single) partial[(size_t)share * vocab * cols + at] = s;
		else if (any) dtable[at] = s;
	}
}
KERNEL(embed_backward_f32)

// Rotates the pairs (i, i+half) of every head by the angle of the row's position.
// x [rows, heads, 2·half]. inverse swaps the roles of the halves, which turns the
// angle round.
EXPORT_STRIDING(8) rope_f32(float* x, const int* positions, const float* cosines, const float* sines, int rows, int heads, int half,
                int limit, int inverse) {
	long long n = (long long)rows * heads * half;
	long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x, step = (long long)gridDim.x * blockDim.x;
	for (; i < n; i += step) {
		long long head, row;
		int j, h;
		divide(i, half, n, &head, &j);
		divide(head, heads, n, &row, &h);
		int position = positions[row];
		float* pa = x + head * 2 * half + j;
		float* pb = pa + half;
		if (position < 0 || position >= limit) {
			*pa = *pb = quiet_nan();
			continue;
		}
		if (inverse) {
			float* t = pa;
			pa = pb;
			pb = t;
		}
		float a = *pa, b = *pb, c = cosines[(size_t)position * half + j], s = sines[(size_t)position * half + j];
		*pa = sub(mul(a, c), mul(b, s));
		*pb = add(mul(b, c), mul(a, s));
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
