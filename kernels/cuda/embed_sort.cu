// Rows of a batch sorted by their ids, for the gradient of the table.
#include "device.cuh"

static constexpr int kDigit = 8, kValues = 1 << kDigit;
static constexpr int kSortWarps = 32;

// The lanes of the warp that hold the same digit; those without one hold a number of more bits.
DEVICE unsigned same_digit(int digit) {
	unsigned same = kFullWarp;
	UNROLL
	for (int bit = 0; bit <= kDigit; bit++) {
		unsigned set = __ballot_sync(kFullWarp, digit >> bit & 1);
		same &= digit >> bit & 1 ? set : ~set;
	}
	return same;
}

// One block of 32 warps sorts the rows by their ids, a byte of the id at a time from the lowest, each warp a piece of the rows. Rows
// of one id keep their order. order [n] holds the rows, bounds [vocab+1] where those of an id begin; rows whose id lies outside the
// table stand behind all of them. spare [n] is scratch memory.
EXPORT __launch_bounds__(1024) embed_sort_i32(int* order, int* spare, int* bounds, const int* ids, int n, int vocab) {
	__shared__ int next[kSortWarps][kValues];  // where a warp puts the next row of a digit
	__shared__ int begin[kValues];             // of a digit
	int t = threadIdx.x, w = warp_id(), l = lane_id();
	int each = ((n + kSortWarps - 1) / kSortWarps + 31) / 32 * 32, first = min(w * each, n), last = min(first + each, n);
	auto key = [&](int row) {
		int id = ids[row];
		return id >= 0 && id < vocab ? id : vocab;
	};
	int rounds = 1;
	while (rounds < 4 && vocab >> (kDigit * rounds)) rounds++;
	for (int round = 0; round < rounds; round++) {
		bool odd = (rounds - round) & 1;  // the last one writes to order
		int* dst = odd ? order : spare;
		const int* src = odd ? spare : order;
		for (int i = t; i < kSortWarps * kValues; i += blockDim.x) next[i / kValues][i % kValues] = 0;
		__syncthreads();
		for (int place = 0; place < 2; place++) {  // counts, then places
			for (int p0 = first; p0 < last; p0 += 32) {
				int p = p0 + l, row = 0, digit = kValues;
				if (p < last) {
					row = round ? src[p] : p;
					digit = key(row) >> (kDigit * round) & (kValues - 1);
				}
				unsigned same = same_digit(digit);
				int before = __popc(same & ((1u << l) - 1));
				if (place && p < last) dst[begin[digit] + next[w][digit] + before] = row;
				__syncwarp();
				if (p < last && !before) next[w][digit] += __popc(same);
				__syncwarp();
			}
			if (place) break;
			__syncthreads();
			if (t < kValues) {
				int sum = 0;
				for (int i = 0; i < kSortWarps; i++) {
					int here = next[i][t];
					next[i][t] = sum;
					sum += here;
				}
				begin[t] = sum;
			}
			__syncthreads();
			if (w == 0) {  // begin: from counts to their sums so far
				int mine = 0;
				for (int i = 0; i < kValues / 32; i++) mine += begin[l * (kValues / 32) + i];
				int sum = mine;
				for (int o = 1; o < 32; o *= 2) {
					int other = __shfl_sync(kFullWarp, sum, l - o);
					if (l >= o) sum += other;
				}
				sum -= mine;
				for (int i = 0; i < kValues / 32; i++) {
					int here = begin[l * (kValues / 32) + i];
					begin[l * (kValues / 32) + i] = sum;
					sum += here;
				}
			}
			__syncthreads();
		}
		__syncthreads();
	}
	for (int p = t; p <= n; p += blockDim.x) {
		int below = p ? key(order[p - 1]) : -1, here = p < n ? key(order[p]) : vocab;
		for (int v = below + 1; v <= here; v++) bounds[v] = p;
	}
}
KERNEL(embed_sort_i32)
