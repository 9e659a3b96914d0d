// cuda_emu.h runs CUDA C++ kernels on the host, for tests.
//
// Each thread of a block is a fiber, so barriers and warp collectives are real
// rendezvous; blocks run one after another, or on several OS threads. What a
// kernel may not rely on is made to fail: threads run in a chosen order between
// barriers, asynchronous copies land as late as they may, or at once, or in any
// order between, shared memory starts as NaN, and a rendezvous that some thread
// never reaches is reported.
#pragma once

// a*b+c rounds twice, as with the _rn intrinsics.
#if defined(__clang__)
#pragma clang fp contract(off)
#else
#pragma GCC optimize("fp-contract=off")
#endif

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <type_traits>
#include <utility>
#include <vector>

#define CUDA_EMU 1
#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __constant__ const
#define __restrict__ __restrict
#define __align__(n) __attribute__((aligned(n)))
// One block at a time runs on an OS thread, so thread-local storage is the
// block's own; the section is where prepare_block finds it. AddressSanitizer
// guards plain statics only; there is one OS thread then.
#ifdef __SANITIZE_ADDRESS__
#define __shared__ static
#else
#define __shared__ static thread_local __attribute__((section("emu_shared")))
#endif

struct uint3 {
	unsigned x, y, z;
};
struct dim3 {
	unsigned x, y, z;
	constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};
struct alignas(8) float2 {
	float x, y;
};
struct alignas(16) float4 {
	float x, y, z, w;
};
struct alignas(8) int2 {
	int x, y;
};
struct alignas(16) int4 {
	int x, y, z, w;
};
struct alignas(8) uint2 {
	unsigned x, y;
};
struct alignas(16) uint4 {
	unsigned x, y, z, w;
};

namespace emu {

// What a lane leaves at a rendezvous of its warp.
struct WarpSlot {
	uint32_t mask, arrived, generation;
	uint64_t value[2][32];
};

struct Warp {
	static constexpr int kMasks = 4;
	uint32_t live;
	int slots;
	WarpSlot slot[kMasks];
};

// bytes of src and zeros after them, to a total of size.
struct AsyncCopy {
	void* dst;
	const void* src;
	int bytes, size;
	bool landed;
};

struct Thread {
	void* sp;
	void* stack;
	const uint32_t* wait;  // the generation that the thread waits to see change
	uint32_t seen;
	uint3 id;
	int linear;
	bool started, done;
	std::vector<AsyncCopy> copies;
	std::vector<size_t> groups;
};

struct Range {
	char* begin;
	size_t size;
};

// The state of one OS thread that runs blocks.
struct Worker {
	void* scheduler_sp;
	Thread* current;
	uint3 block;
	dim3 block_dim, grid_dim;
	int alive, arrived;
	uint32_t barrier;
	size_t dynamic_shared;
	Range static_shared;
	const char* kernel;
	bool failed;
	uint32_t random;
	std::vector<Thread> threads;
	std::vector<Warp> warps;
	std::vector<void*> stacks;
	std::vector<int> order;
	const std::function<void()>* body;
};
extern thread_local Worker worker;

// When work lands that was started and not waited for; other numbers seed a shuffle.
enum { kLandLate, kLandAtOnce };
unsigned landing();
// next_random changes state and returns it; a state of 0 is made of the seed first.
uint32_t next_random(uint32_t& state, unsigned seed);

// wait_change gives up the processor until *generation is no longer seen.
void wait_change(const uint32_t* generation, uint32_t seen);
// fail reports a fault of the kernel and ends the launch.
[[noreturn]] void fail(const char* what);
// dynamic_shared is the block's extern shared memory.
unsigned char* dynamic_shared();

// A kernel as the driver calls it: params[i] points at parameter i.
struct Kernel {
	const char* name;
	void (*call)(void** params);
	int params;
	const int* sizes;
};
void add_kernel(const Kernel& kernel);
const Kernel* find_kernel(const char* name);
// launch returns false where the kernel failed; last_fault says why.
bool launch(const Kernel& kernel, dim3 grid, dim3 block, size_t dynamic_shared, void** params);
const char* last_fault();

template <class F, size_t... I, class... A>
inline void call_with(F* f, void** params, std::index_sequence<I...>, void (*)(A...)) {
	f(*(std::decay_t<A>*)params[I]...);
}
template <auto F>
struct Registration;
template <class... A, void (*F)(A...)>
struct Registration<F> {
	static void call(void** params) { call_with(F, params, std::index_sequence_for<A...>{}, F); }
	static constexpr int n = sizeof...(A);
	static constexpr int sizes[n + 1] = {(int)sizeof(A)..., 0};
};

}  // namespace emu

// KERNEL makes a __global__ function known to the emulated driver.
#define KERNEL(f)                                  \
	static const bool emu_registered_##f = (emu::add_kernel({#f, emu::Registration<f>::call, \
	                                                         emu::Registration<f>::n, emu::Registration<f>::sizes}), \
	                                        true);

#define threadIdx (::emu::worker.current->id)
#define blockIdx (::emu::worker.block)
#define blockDim (::emu::worker.block_dim)
#define gridDim (::emu::worker.grid_dim)

#include "cuda_emu_math.h"
#include "cuda_emu_warp.h"
