// Scalar device functions; included by cuda_emu.h only.
#pragma once

namespace emu {
template <class To, class From>
inline To bit_cast(From from) {
	static_assert(sizeof(To) == sizeof(From));
	To to;
	memcpy(&to, &from, sizeof to);
	return to;
}
inline float bf16_value(uint32_t half) { return bit_cast<float>(half << 16); }
inline uint32_t bf16_round(float f) {
	uint32_t u = bit_cast<uint32_t>(f);
	if ((u & 0x7fffffff) > 0x7f800000) return 0x7fff;
	return (u + 0x7fff + (u >> 16 & 1)) >> 16;
}
}  // namespace emu

// The host compiles without contraction, so each of these rounds once.
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __fmaf_rn(float a, float b, float c) { return std::fma(a, b, c); }
inline float __fsqrt_rn(float a) { return std::sqrt(a); }
inline float __int2float_rn(int a) { return (float)a; }
inline int __float2int_rz(float a) { return (int)a; }
inline float __int_as_float(int a) { return emu::bit_cast<float>(a); }
inline int __float_as_int(float a) { return emu::bit_cast<int>(a); }
inline float __uint_as_float(unsigned a) { return emu::bit_cast<float>(a); }
inline unsigned __float_as_uint(float a) { return emu::bit_cast<unsigned>(a); }
inline int __dp4a(int a, int b, int c) {
	for (int i = 0; i < 32; i += 8) c += (int8_t)(a >> i) * (int8_t)(b >> i);
	return c;
}
template <class T>
inline T __ldg(const T* p) {
	return *p;
}
inline void __threadfence() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
inline unsigned atomicAdd(unsigned* p, unsigned v) { return __atomic_fetch_add(p, v, __ATOMIC_SEQ_CST); }
inline unsigned atomicOr(unsigned* p, unsigned v) { return __atomic_fetch_or(p, v, __ATOMIC_SEQ_CST); }
inline int __popc(unsigned v) { return __builtin_popcount(v); }
inline int __ffs(int v) { return __builtin_ffs(v); }
inline int min(int a, int b) { return a < b ? a : b; }
