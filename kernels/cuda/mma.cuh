// mma.cuh wraps the matrix and copy instructions of compute capability 8.0. The emulator has its own versions of them.
#pragma once
#include "device.cuh"

#if defined(CUDA_EMU)

DEVICE void ldmatrix4(uint32_t (&r)[4], const void* row) { emu_ldmatrix<4, false>(r, row); }
DEVICE void ldmatrix4_trans(uint32_t (&r)[4], const void* row) { emu_ldmatrix<4, true>(r, row); }
DEVICE void mma_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) { emu_mma_bf16(d, a, b); }
DEVICE void mma_s8(int (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) { emu_mma_s8(d, a, b); }
DEVICE void cp_async16(void* dst, const void* src) { emu_cp_async16(dst, src); }
// Of so many bytes, with zeros after them.
DEVICE void cp_async16(void* dst, const void* src, int bytes) { emu_cp_async(dst, src, bytes, 16); }
DEVICE void cp_async4(void* dst, const void* src, int bytes) { emu_cp_async(dst, src, bytes, 4); }
DEVICE void cp_async_commit() { emu_cp_commit(); }
template <int Keep>
DEVICE void cp_async_wait() {
	emu_cp_wait(Keep);
}
DEVICE float exp2_approx(float x) { return std::exp2(x); }
DEVICE float log2_approx(float x) { return std::log2(x); }

#else

DEVICE uint32_t shared_address(const void* p) { return (uint32_t)__cvta_generic_to_shared(p); }
DEVICE void ldmatrix4(uint32_t (&r)[4], const void* row) {
	asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
	             : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
	             : "r"(shared_address(row))
	             : "memory");
}
DEVICE void ldmatrix4_trans(uint32_t (&r)[4], const void* row) {
	asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
	             : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
	             : "r"(shared_address(row))
	             : "memory");
}
DEVICE void mma_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
	asm volatile(
	    "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
	    : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
	    : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
DEVICE void mma_s8(int (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
	asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
	             : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
	             : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
DEVICE void cp_async16(void* dst, const void* src) {
	asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(shared_address(dst)), "l"(src) : "memory");
}
// Of so many bytes, with zeros after them.
DEVICE void cp_async16(void* dst, const void* src, int bytes) {
	asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(dst)), "l"(src), "r"(bytes) : "memory");
}
DEVICE void cp_async4(void* dst, const void* src, int bytes) {
	asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(shared_address(dst)), "l"(src), "r"(bytes) : "memory");
}
DEVICE void cp_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int Keep>
DEVICE void cp_async_wait() {
	asm volatile("cp.async.wait_group %0;" ::"n"(Keep) : "memory");
}
DEVICE float exp2_approx(float x) {
	float y;
	asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
	return y;
}
DEVICE float log2_approx(float x) {
	float y;
	asm("lg2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
	return y;
}

#endif
