// device.cuh makes one source of the kernels: nvcc, clang (also without a CUDA
// toolkit) and the host emulator of package cudaemu compile the same .cu files.
#pragma once

#if !defined(__CUDACC__) && !defined(__CUDA__)
#include "cuda_emu.h"
#elif defined(__clang__)
#include "clang.cuh"
#define KERNEL(f)
#else
#include <stdint.h>
#define KERNEL(f)
#endif

#if defined(CUDA_EMU)
#define UNROLL
#define DYNAMIC_SHARED(T, name) T* name = (T*)emu::dynamic_shared()
#else
#define UNROLL _Pragma("unroll")
#define DYNAMIC_SHARED(T, name)                                   \
	extern __shared__ __align__(16) unsigned char dynamic_memory[]; \
	T* name = (T*)dynamic_memory
#endif

#define DEVICE __device__ __forceinline__
#define EXPORT extern "C" __global__ void
// A kernel whose threads stride over elements: the launcher gives every processor as
// many blocks of 256 at once (Kernel.Striding). With registers for fewer, the rest
// would run alone in a second wave.
#define EXPORT_STRIDING(blocks) EXPORT __launch_bounds__(256, blocks)

static constexpr unsigned kFullWarp = 0xffffffffu;

DEVICE int lane_id() { return threadIdx.x & 31; }
DEVICE int warp_id() { return threadIdx.x >> 5; }

// i = quotient·d + remainder for i below n. Division of 32 bits where n allows it:
// that of 64 bits is a long subroutine.
DEVICE void divide(long long i, int d, long long n, long long* quotient, int* remainder) {
	if (n <= 0x7fffffff) {
		unsigned q = (unsigned)i / (unsigned)d;
		*quotient = q;
		*remainder = (int)((unsigned)i - q * (unsigned)d);
	} else {
		*quotient = i / d;
		*remainder = (int)(i % d);
	}
}

DEVICE bool aligned16(const void* p) { return ((uintptr_t)p & 15) == 0; }

DEVICE float warp_sum(float v) {
	for (int o = 16; o; o >>= 1) v += __shfl_xor_sync(kFullWarp, v, o);
	return v;
}
DEVICE int warp_sum(int v) {
	for (int o = 16; o; o >>= 1) v += __shfl_xor_sync(kFullWarp, v, o);
	return v;
}
DEVICE float warp_max(float v) {
	for (int o = 16; o; o >>= 1) {
		float w = __shfl_xor_sync(kFullWarp, v, o);
		v = w > v ? w : v;
	}
	return v;
}
DEVICE int warp_max(int v) {
	for (int o = 16; o; o >>= 1) {
		int w = __shfl_xor_sync(kFullWarp, v, o);
		v = w > v ? w : v;
	}
	return v;
}
DEVICE unsigned warp_max(unsigned v) {
	for (int o = 16; o; o >>= 1) {
		unsigned w = __shfl_xor_sync(kFullWarp, v, o);
		v = w > v ? w : v;
	}
	return v;
}

// Sums over a block of up to 32 warps, the same in every thread and in a fixed
// order. shared holds one element a warp and may be used again at once.
template <class T>
DEVICE T block_sum(T v, T* shared) {
	for (int o = 16; o; o >>= 1) v += __shfl_xor_sync(kFullWarp, v, o);
	int warps = blockDim.x >> 5;
	if (warps == 1) return v;
	if (lane_id() == 0) shared[warp_id()] = v;
	__syncthreads();
	v = shared[0];
	for (int i = 1; i < warps; i++) v += shared[i];
	__syncthreads();
	return v;
}
DEVICE float block_max(float v, float* shared) {
	v = warp_max(v);
	int warps = blockDim.x >> 5;
	if (warps == 1) return v;
	if (lane_id() == 0) shared[warp_id()] = v;
	__syncthreads();
	v = shared[0];
	for (int i = 1; i < warps; i++) v = shared[i] > v ? shared[i] : v;
	__syncthreads();
	return v;
}
