// Kernels that do wrong on purpose, and the right versions beside them: what the
// emulator must find.
#include "cuda_emu.h"

#define EXPORT extern "C" __global__ void

// Thread i reads what thread n-1-i wrote, with or without a barrier between.
EXPORT test_reverse(float* y, int barrier) {
	__shared__ float s[64];
	s[threadIdx.x] = -1;
	__syncthreads();
	s[threadIdx.x] = (float)threadIdx.x;
	if (barrier) __syncthreads();
	y[threadIdx.x] = s[63 - threadIdx.x];
}
KERNEL(test_reverse)

// Half of the threads reach the barrier; the others wait in a collective.
EXPORT test_divergent_barrier(float* y) {
	if (threadIdx.x < 16) y[threadIdx.x] = __shfl_xor_sync(0xffffffffu, y[threadIdx.x], 1);
	__syncthreads();
}
KERNEL(test_divergent_barrier)

// A lane shuffles although the mask does not name it.
EXPORT test_mask(float* y) { y[threadIdx.x] = __shfl_xor_sync(0x0000ffffu, 1.0f, 1); }
KERNEL(test_mask)

// A copy is read with or without waiting for it.
EXPORT test_async_copy(float* y, const float* x, int wait) {
	__shared__ __align__(16) float s[4];
	if (threadIdx.x == 0) {
		emu_cp_async16(s, x);
		emu_cp_commit();
		if (wait) emu_cp_wait(0);
		for (int i = 0; i < 4; i++) y[i] = s[i];
		emu_cp_wait(0);
	}
}
KERNEL(test_async_copy)

// Every thread fills its part of a buffer, reads that of another and refills its own: after the barrier behind the reads, or early.
EXPORT test_async_refill(float* y, const float* x, int early) {
	__shared__ __align__(16) float s[64][4];
	int t = threadIdx.x;
	auto fill = [&](int part) {
		emu_cp_async16(s[t], x + 4 * (t + 64 * part));
		emu_cp_commit();
	};
	fill(0);
	emu_cp_wait(0);
	__syncthreads();
	if (early) fill(1);
	float first = s[63 - t][0];
	__syncthreads();
	if (!early) fill(1);
	emu_cp_wait(0);
	__syncthreads();
	y[t] = first + s[63 - t][1];
}
KERNEL(test_async_refill)

// Shared memory that nobody wrote, dynamic or not, also by the block before.
EXPORT test_unwritten(float* y, int dynamic) {
	__shared__ float s[64];
	y[threadIdx.x] = (dynamic ? (float*)emu::dynamic_shared() : s)[threadIdx.x];
	s[threadIdx.x] = 1;
}
KERNEL(test_unwritten)

// An early exit of some threads does not keep the others at a barrier.
EXPORT test_early_exit(float* y) {
	if (threadIdx.x >= 40) return;
	__syncthreads();
	y[threadIdx.x] = 1;
}
KERNEL(test_early_exit)

// The matrix instructions on fragments of known matrices: c [16,8] of a [16,16]
// and b [8,16] (rows of bᵀ) as bfloat16, through ldmatrix.
EXPORT test_mma(float* c, const uint16_t* a, const uint16_t* b, int transposed) {
	__shared__ __align__(16) uint16_t as[16][24], bs[16][24];
	int l = threadIdx.x & 31;
	for (int i = l; i < 256; i += 32) as[i / 16][i % 16] = transposed ? a[i % 16 * 16 + i / 16] : a[i];
	for (int i = l; i < 128; i += 32) bs[i / 16][i % 16] = b[i];
	__syncwarp();
	uint32_t fa[4], fb[4];
	if (transposed) emu_ldmatrix<4, true>(fa, &as[(l >> 4) * 8 + (l & 7)][(l >> 3 & 1) * 8]);
	else emu_ldmatrix<4, false>(fa, &as[l & 15][(l >> 4) * 8]);
	emu_ldmatrix<4, false>(fb, &bs[l & 7][(l >> 3 & 1) * 8]);
	uint32_t b0[2] = {fb[0], fb[1]};
	float d[4] = {};
	emu_mma_bf16(d, fa, b0);
	for (int e = 0; e < 4; e++) c[((l >> 2) + (e >> 1) * 8) * 8 + (l & 3) * 2 + (e & 1)] = d[e];
}
KERNEL(test_mma)

// Reads or writes one element past an allocation (kind 0, 1), past static shared
// memory (2) or past dynamic shared memory (3).
EXPORT test_out_of_bounds(float* y, int n, int kind) {
	__shared__ float s[64];
	s[threadIdx.x] = 0;
	float* d = (float*)emu::dynamic_shared();
	switch (kind) {
	case 0: s[0] = y[n]; break;
	case 1: y[n] = 1; break;
	case 2: y[0] = s[threadIdx.x + 64]; break;
	case 3: y[0] = d[n]; break;
	}
	y[1] = s[0];
}
KERNEL(test_out_of_bounds)
