// What attention kernels of every precision compute: which queries see which keys.
#pragma once
#include "device.cuh"

// starts [B,T] takes the place of window where it is not null: the first key that
// each query of its sequence sees. It never falls within a sequence.
struct AttentionShape {
	int time, heads, kv_heads, dim, window;
	float scale;
	const int* starts;
	bool half;  // q, k, v, out and their gradients are bfloat16, not float32
};

#define ATTENTION_PARAMS int time, int heads, int kv_heads, int dim, int window, float scale, const int* starts, int half
#define ATTENTION_ARGS \
	AttentionShape { time, heads, kv_heads, dim, window, scale, starts, half != 0 }

// A query sees span_of_query keys up to itself, and span_of_key queries from a key
// on see it; query and key see each other where (unsigned)(query - key) is below
// the span of either. Threads ask once, outside of their loops.
//
// A query behind the sequence sees nothing. A start outside the sequence does no
// harm: a negative one is 0, and a query that starts behind itself gives NaN.
DEVICE unsigned span_of_query(const AttentionShape& s, int batch, int query) {
	if (query >= s.time) return 0;
	unsigned before = query + 1, span = s.window > 0 ? s.window : before;
	if (s.starts != nullptr) {
		int first = s.starts[(size_t)batch * s.time + query];
		span = first > query ? 0 : first > 0 ? before - first : before;
	}
	return span < before ? span : before;
}
DEVICE unsigned span_of_key(const AttentionShape& s, int batch, int key) {
	if (key >= s.time) return 0;
	unsigned behind = s.time - key, span = s.window > 0 ? s.window : behind;
	if (s.starts != nullptr) {
		// The first query that starts behind the key.
		const int* starts = s.starts + (size_t)batch * s.time;
		int query = key, end = s.time;
		while (query < end) {
			int middle = query + (end - query) / 2;
			if (starts[middle] > key)
				end = middle;
			else
				query = middle + 1;
		}
		return query - key;
	}
	return span < behind ? span : behind;
}
// The first key that a query of the sequence sees, and the query behind the last
// one that sees a key.
DEVICE int first_key(const AttentionShape& s, int batch, int query) { return query + 1 - (int)span_of_query(s, batch, query); }
DEVICE int after_key(const AttentionShape& s, int batch, int key) { return key + (int)span_of_key(s, batch, key); }
