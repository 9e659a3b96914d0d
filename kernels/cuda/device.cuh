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

// Two floats rounded to nearest even bfloat16, lo in the low half.
#if defined(CUDA_EMU)
DEVICE uint32_t pack_bf16(float lo, float hi) { return emu::bf16_round(lo) | emu::bf16_round(hi) << 16; }
#else
DEVICE uint32_t pack_bf16(float lo, float hi) {
	uint32_t r;
	asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(hi), "f"(lo));
	return r;
}
#endif

// Tensors of float32 or, with half, of bfloat16, by the element. Fours lie on 16 bytes, or on 8 with half.
DEVICE float from_bf16(uint32_t low) { return __uint_as_float(low << 16); }
DEVICE float rounded_bf16(float v) { return from_bf16(pack_bf16(v, 0.0f) & 0xffff); }
DEVICE float load_at(const void* p, size_t i, bool half) {
	return half ? from_bf16(((const uint16_t*)p)[i]) : ((const float*)p)[i];
}
DEVICE float4 unpack_bf16(uint2 v) {
	return {from_bf16(v.x & 0xffff), __uint_as_float(v.x & 0xffff0000u), from_bf16(v.y & 0xffff), __uint_as_float(v.y & 0xffff0000u)};
}
DEVICE float4 load4_at(const void* p, size_t i, bool half) {
	return half ? unpack_bf16(*(const uint2*)&((const uint16_t*)p)[i]) : *(const float4*)&((const float*)p)[i];
}
DEVICE void store_at(void* p, size_t i, float v, bool half) {
	if (half) ((uint16_t*)p)[i] = (uint16_t)pack_bf16(v, 0.0f);
	else ((float*)p)[i] = v;
}
DEVICE void store4_at(void* p, size_t i, float4 v, bool half) {
	if (half) {
		uint2 packed = {pack_bf16(v.x, v.y), pack_bf16(v.z, v.w)};
		*(uint2*)&((uint16_t*)p)[i] = packed;
	} else {
		*(float4*)&((float*)p)[i] = v;
	}
}
DEVICE const void* element_at(const void* p, size_t i, bool half) { return (const char*)p + (half ? 2 : 4) * i; }
DEVICE void* element_at(void* p, size_t i, bool half) { return (char*)p + (half ? 2 : 4) * i; }

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
