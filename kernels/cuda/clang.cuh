// What clang (14 or later) needs to compile the kernels without a CUDA toolkit:
//
//	clang++ -x cuda --cuda-device-only -nocudainc -nocudalib --cuda-gpu-arch=sm_80 \
//	    -Xclang -target-feature -Xclang +ptx71 -fdeclspec -std=c++17 -O3 -S
#pragma once

typedef unsigned char uint8_t;
typedef signed char int8_t;
typedef unsigned short uint16_t;
typedef unsigned int uint32_t;
typedef unsigned long long uint64_t;
typedef unsigned long uintptr_t;
typedef unsigned long size_t;

#define __global__ __attribute__((global))
#define __device__ __attribute__((device))
#define __host__ __attribute__((host))
#define __shared__ __attribute__((shared))
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...) __attribute__((launch_bounds(__VA_ARGS__)))
#define __align__(n) __attribute__((aligned(n)))

__device__ __forceinline__ int __popc(unsigned v) { return __builtin_popcount(v); }

struct alignas(8) float2 {
	float x, y;
};
struct alignas(16) float4 {
	float x, y, z, w;
};
struct alignas(8) uint2 {
	unsigned x, y;
};
struct alignas(16) uint4 {
	unsigned x, y, z, w;
};
struct alignas(16) int4 {
	int x, y, z, w;
};

struct ThreadIndex {
	__declspec(property(get = get_x)) unsigned x;
	static __device__ unsigned get_x() { return __nvvm_read_ptx_sreg_tid_x(); }
};
struct BlockIndex {
	__declspec(property(get = get_x)) unsigned x;
	__declspec(property(get = get_y)) unsigned y;
	__declspec(property(get = get_z)) unsigned z;
	static __device__ unsigned get_x() { return __nvvm_read_ptx_sreg_ctaid_x(); }
	static __device__ unsigned get_y() { return __nvvm_read_ptx_sreg_ctaid_y(); }
	static __device__ unsigned get_z() { return __nvvm_read_ptx_sreg_ctaid_z(); }
};
struct BlockDim {
	__declspec(property(get = get_x)) unsigned x;
	static __device__ unsigned get_x() { return __nvvm_read_ptx_sreg_ntid_x(); }
};
struct GridDim {
	__declspec(property(get = get_x)) unsigned x;
	__declspec(property(get = get_y)) unsigned y;
	__declspec(property(get = get_z)) unsigned z;
	static __device__ unsigned get_x() { return __nvvm_read_ptx_sreg_nctaid_x(); }
	static __device__ unsigned get_y() { return __nvvm_read_ptx_sreg_nctaid_y(); }
	static __device__ unsigned get_z() { return __nvvm_read_ptx_sreg_nctaid_z(); }
};
extern const __device__ __attribute__((weak)) ThreadIndex threadIdx;
extern const __device__ __attribute__((weak)) BlockIndex blockIdx;
extern const __device__ __attribute__((weak)) BlockDim blockDim;
extern const __device__ __attribute__((weak)) GridDim gridDim;

#define MITO_CLANG_FN static __device__ __forceinline__

MITO_CLANG_FN void __syncwarp(unsigned mask = 0xffffffffu) { __nvvm_bar_warp_sync(mask); }
MITO_CLANG_FN void __threadfence() { __nvvm_membar_gl(); }

MITO_CLANG_FN int __shfl_xor_sync(unsigned mask, int v, int x) { return __nvvm_shfl_sync_bfly_i32(mask, v, x, 0x1f); }
MITO_CLANG_FN unsigned __shfl_xor_sync(unsigned mask, unsigned v, int x) {
	return (unsigned)__nvvm_shfl_sync_bfly_i32(mask, (int)v, x, 0x1f);
}
MITO_CLANG_FN float __shfl_xor_sync(unsigned mask, float v, int x) { return __nvvm_shfl_sync_bfly_f32(mask, v, x, 0x1f); }
MITO_CLANG_FN double __shfl_xor_sync(unsigned mask, double v, int x) {
	long long bits = __builtin_bit_cast(long long, v);
	unsigned lo = __shfl_xor_sync(mask, (unsigned)bits, x), hi = __shfl_xor_sync(mask, (unsigned)(bits >> 32), x);
	return __builtin_bit_cast(double, (long long)((unsigned long long)hi << 32 | lo));
}
MITO_CLANG_FN float __shfl_sync(unsigned mask, float v, int lane) { return __nvvm_shfl_sync_idx_f32(mask, v, lane, 0x1f); }
MITO_CLANG_FN unsigned __ballot_sync(unsigned mask, int p) { return __nvvm_vote_ballot_sync(mask, p); }

MITO_CLANG_FN float __fmul_rn(float a, float b) { return __nvvm_mul_rn_f(a, b); }
MITO_CLANG_FN float __fadd_rn(float a, float b) { return __nvvm_add_rn_f(a, b); }
MITO_CLANG_FN float __fsub_rn(float a, float b) { return __nvvm_add_rn_f(a, -b); }
MITO_CLANG_FN float __fdiv_rn(float a, float b) { return __nvvm_div_rn_f(a, b); }
MITO_CLANG_FN float __fmaf_rn(float a, float b, float c) { return __nvvm_fma_rn_f(a, b, c); }
MITO_CLANG_FN float __fsqrt_rn(float a) { return __nvvm_sqrt_rn_f(a); }
MITO_CLANG_FN float __int2float_rn(int a) { return __nvvm_i2f_rn(a); }
MITO_CLANG_FN int __float2int_rz(float a) { return __nvvm_f2i_rz(a); }
MITO_CLANG_FN float __int_as_float(int a) { return __builtin_bit_cast(float, a); }
MITO_CLANG_FN int __float_as_int(float a) { return __builtin_bit_cast(int, a); }
MITO_CLANG_FN float __uint_as_float(unsigned a) { return __builtin_bit_cast(float, a); }
MITO_CLANG_FN unsigned __float_as_uint(float a) { return __builtin_bit_cast(unsigned, a); }
MITO_CLANG_FN int __dp4a(int a, int b, int c) {
	int d;
	asm("dp4a.s32.s32 %0, %1, %2, %3;" : "=r"(d) : "r"(a), "r"(b), "r"(c));
	return d;
}
MITO_CLANG_FN int __ffs(int v) { return __builtin_ffs(v); }
MITO_CLANG_FN int min(int a, int b) { return a < b ? a : b; }
MITO_CLANG_FN unsigned atomicAdd(unsigned* p, unsigned v) { return __atomic_fetch_add(p, v, __ATOMIC_RELAXED); }
MITO_CLANG_FN unsigned atomicOr(unsigned* p, unsigned v) { return __atomic_fetch_or(p, v, __ATOMIC_RELAXED); }
MITO_CLANG_FN unsigned long __cvta_generic_to_shared(const void* p) {
	return (unsigned long)(__attribute__((address_space(3))) const void*)p;
}
