// Barriers, warp collectives, asynchronous copies and matrix instructions;
// included by cuda_emu.h only.
#pragma once

inline void __syncthreads() {
	auto& w = emu::worker;
	uint32_t seen = w.barrier;
	if (++w.arrived == w.alive) {
		w.arrived = 0;
		w.barrier++;
	} else {
		emu::wait_change(&w.barrier, seen);
	}
}

namespace emu {

inline int lane() { return worker.current->linear & 31; }
inline Warp& warp() { return worker.warps[worker.current->linear >> 5]; }

// rendezvous waits for every live lane of mask. Each leaves a value; the last to
// arrive runs last on all of them before any goes on. It returns the values.
template <class F>
inline uint64_t (&rendezvous(uint32_t mask, uint64_t value, F last))[32] {
	Warp& w = warp();
	uint32_t bit = 1u << lane();
	if (!(mask & bit)) fail("warp collective: the calling lane is not in its mask");
	int i = 0;
	while (i < w.slots && w.slot[i].mask != mask) i++;
	if (i == w.slots) {
		if (i == Warp::kMasks) fail("warp collective: too many different masks in one warp");
		w.slot[w.slots++] = WarpSlot{mask, 0, 0, {}};
	}
	WarpSlot& s = w.slot[i];
	uint32_t seen = s.generation;
	auto& values = s.value[seen & 1];
	values[lane()] = value;
	s.arrived |= bit;
	if ((s.arrived & w.live) == (mask & w.live)) {
		last(values);
		s.arrived = 0;
		s.generation++;
	} else {
		wait_change(&s.generation, seen);
	}
	return values;
}
inline uint64_t (&rendezvous(uint32_t mask, uint64_t value))[32] {
	return rendezvous(mask, value, [](uint64_t (&)[32]) {});
}

template <class T>
inline uint64_t to_word(T v) {
	static_assert(sizeof(T) <= 8);
	uint64_t u = 0;
	memcpy(&u, &v, sizeof v);
	return u;
}
template <class T>
inline T from_word(uint64_t u) {
	T v;
	memcpy(&v, &u, sizeof v);
	return v;
}

// What a lane reads that the source lane never wrote is undefined on a GPU; here
// it is NaN.
template <class T>
inline T shuffle(uint32_t mask, T v, int source) {
	uint32_t live = warp().live;
	auto& values = rendezvous(mask, to_word(v));
	if (!(mask >> source & 1) || !(live >> source & 1)) return from_word<T>(0xfff7dead7ff7deadull);
	return from_word<T>(values[source]);
}

}  // namespace emu

inline void __syncwarp(uint32_t mask = ~0u) { emu::rendezvous(mask, 0); }
template <class T>
inline T __shfl_xor_sync(uint32_t mask, T v, int x) {
	return emu::shuffle(mask, v, emu::lane() ^ x);
}
template <class T>
inline T __shfl_sync(uint32_t mask, T v, int source) {
	return emu::shuffle(mask, v, source & 31);
}
inline unsigned __ballot_sync(uint32_t mask, int predicate) {
	uint32_t live = emu::warp().live & mask, r = 0;
	auto& values = emu::rendezvous(mask, predicate != 0);
	for (int i = 0; i < 32; i++)
		if (live >> i & 1 && values[i]) r |= 1u << i;
	return r;
}

namespace emu {
inline void land(AsyncCopy& c) {
	if (c.landed) return;
	c.landed = true;
	memcpy(c.dst, c.src, c.bytes);
	memset((char*)c.dst + c.bytes, 0, c.size - c.bytes);
}
}  // namespace emu

// Asynchronous copies land when they are waited for at the latest. bytes are read, the rest of size is zero.
inline void emu_cp_async(void* dst, const void* src, int bytes, int size) {
	if (((uintptr_t)dst | (uintptr_t)src) & (size - 1)) emu::fail("asynchronous copy: an address is not aligned to its size");
	auto& copies = emu::worker.current->copies;
	copies.push_back({dst, src, bytes, size, false});
	if (emu::landing() == emu::kLandAtOnce) emu::land(copies.back());
}
inline void emu_cp_async16(void* dst, const void* src) { emu_cp_async(dst, src, 16, 16); }
inline void emu_cp_commit() {
	auto* t = emu::worker.current;
	t->groups.push_back(t->copies.size());
}
inline void emu_cp_wait(int keep) {
	auto* t = emu::worker.current;
	int done = (int)t->groups.size() - keep;
	if (done <= 0) return;
	size_t n = t->groups[done - 1];
	bool backwards = emu::landing() > emu::kLandAtOnce;
	for (size_t i = 0; i < n; i++) emu::land(t->copies[backwards ? n - 1 - i : i]);
	t->copies.erase(t->copies.begin(), t->copies.begin() + n);
	t->groups.erase(t->groups.begin(), t->groups.begin() + done);
	for (auto& g : t->groups) g -= n;
}

// ldmatrix: lane i of group g = i/8 names row i%8 of the 8x8 matrix g of 16-bit
// elements; every lane gets two neighbouring elements of each matrix.
template <int N, bool Transposed>
inline void emu_ldmatrix(uint32_t (&r)[N], const void* row) {
	auto& rows = emu::rendezvous(~0u, (uint64_t)(uintptr_t)row);
	int lane = emu::lane();
	for (int i = 0; i < N; i++) {
		uint16_t v[2];
		for (int h = 0; h < 2; h++) {
			int rr = Transposed ? (lane & 3) * 2 + h : lane >> 2;
			int cc = Transposed ? lane >> 2 : (lane & 3) * 2 + h;
			const char* p = (const char*)(uintptr_t)rows[i * 8 + rr];
			if ((uintptr_t)p & 15) emu::fail("ldmatrix: a row is not aligned to 16 bytes");
			memcpy(&v[h], p + cc * 2, 2);
		}
		r[i] = v[0] | (uint32_t)v[1] << 16;
	}
}

namespace emu {
template <class D>
struct Fragments {
	D* d;
	const uint32_t *a, *b;
};
}  // namespace emu

// mma.m16n8k16: d [16,8] f32 += a [16,16] bf16 · b [16,8] bf16, in the fragment
// layout of the PTX manual. The last lane computes for the warp.
inline void emu_mma_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
	emu::Fragments<float> mine{d, a, b};
	emu::rendezvous(~0u, (uint64_t)(uintptr_t)&mine, [](uint64_t (&all)[32]) {
		float A[16][16], B[8][16];
		for (int t = 0; t < 32; t++) {
			auto* f = (const emu::Fragments<float>*)(uintptr_t)all[t];
			for (int i = 0; i < 4; i++)
				for (int h = 0; h < 2; h++)
					A[(t >> 2) + (i & 1) * 8][(t & 3) * 2 + h + (i >> 1) * 8] = emu::bf16_value(f->a[i] >> 16 * h & 0xffff);
			for (int i = 0; i < 2; i++)
				for (int h = 0; h < 2; h++) B[t >> 2][(t & 3) * 2 + h + i * 8] = emu::bf16_value(f->b[i] >> 16 * h & 0xffff);
		}
		for (int t = 0; t < 32; t++) {
			auto* f = (emu::Fragments<float>*)(uintptr_t)all[t];
			for (int i = 0; i < 4; i++) {
				int r = (t >> 2) + (i >> 1) * 8, c = (t & 3) * 2 + (i & 1);
				float s = 0;
				for (int k = 0; k < 16; k++) s += A[r][k] * B[c][k];
				f->d[i] += s;
			}
		}
	});
}

// mma.m16n8k32: d [16,8] s32 += a [16,32] s8 · b [32,8] s8.
inline void emu_mma_s8(int (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
	emu::Fragments<int> mine{d, a, b};
	emu::rendezvous(~0u, (uint64_t)(uintptr_t)&mine, [](uint64_t (&all)[32]) {
		int8_t A[16][32], B[8][32];
		for (int t = 0; t < 32; t++) {
			auto* f = (const emu::Fragments<int>*)(uintptr_t)all[t];
			for (int i = 0; i < 4; i++) memcpy(&A[(t >> 2) + (i & 1) * 8][(t & 3) * 4 + (i >> 1) * 16], &f->a[i], 4);
			for (int i = 0; i < 2; i++) memcpy(&B[t >> 2][(t & 3) * 4 + i * 16], &f->b[i], 4);
		}
		for (int t = 0; t < 32; t++) {
			auto* f = (emu::Fragments<int>*)(uintptr_t)all[t];
			for (int i = 0; i < 4; i++) {
				int r = (t >> 2) + (i >> 1) * 8, c = (t & 3) * 2 + (i & 1), s = 0;
				for (int k = 0; k < 32; k++) s += A[r][k] * B[c][k];
				f->d[i] += s;
			}
		}
	});
}
