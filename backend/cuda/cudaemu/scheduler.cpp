//go:build cuda && cudaemu

// The scheduler: fibers for the threads of a block, blocks on OS threads.
#include "cuda_emu.h"

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <map>
#include <mutex>
#include <string>
#include <thread>

#include <link.h>
#include <sys/mman.h>

#include "cudaemu.h"

#if !defined(__x86_64__)
#include <ucontext.h>
#endif
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(p, n) (void)0
#define ASAN_UNPOISON_MEMORY_REGION(p, n) (void)0
#endif

namespace emu {

thread_local Worker worker;

namespace {

constexpr size_t kStack = 64 << 10;
constexpr size_t kPage = 4096;
constexpr size_t kDynamicShared = EMU_MOST_DYNAMIC_SHARED;

std::atomic<unsigned> thread_order{0}, landing_order{kLandLate};
std::atomic<int> os_threads{1};

alignas(128) thread_local unsigned char dynamic_memory[kDynamicShared];

std::mutex fault_mutex;
std::string fault;

// Stacks that no block uses. OS threads come and go; the stacks stay.
std::mutex stacks_mutex;
std::vector<void*>& spare_stacks() {
	static auto* all = new std::vector<void*>;  // outlives every thread
	return *all;
}

// A fiber is its stack pointer; switching saves and restores what a call must keep.
extern "C" void emu_switch(void** save, void* to);
#if defined(__x86_64__)
__asm__(
    ".text\n.globl emu_switch\n.type emu_switch,@function\nemu_switch:\n"
    "pushq %rbp\npushq %rbx\npushq %r12\npushq %r13\npushq %r14\npushq %r15\n"
    "movq %rsp,(%rdi)\nmovq %rsi,%rsp\n"
    "popq %r15\npopq %r14\npopq %r13\npopq %r12\npopq %rbx\npopq %rbp\nret\n"
    ".size emu_switch,.-emu_switch\n");

void* new_fiber(void* stack, void (*entry)()) {
	void** sp = (void**)((char*)stack + kStack);
	*--sp = nullptr;  // keeps the stack aligned as after a call
	*--sp = (void*)entry;
	for (int i = 0; i < 6; i++) *--sp = nullptr;
	return sp;
}
#else
extern "C" void emu_switch(void** save, void* to) {
	ucontext_t here;
	*save = &here;
	swapcontext(&here, (ucontext_t*)to);
}

void* new_fiber(void* stack, void (*entry)()) {
	auto* u = (ucontext_t*)((char*)stack + kPage);
	getcontext(u);
	u->uc_stack.ss_sp = u + 1;
	u->uc_stack.ss_size = kStack - kPage - sizeof *u;
	u->uc_link = nullptr;
	makecontext(u, entry, 0);
	return u;
}
#endif

void* take_stack() {
	Worker& w = worker;
	if (w.stacks.empty()) {
		// A few at a time: a thread that took all of them would have the others map new ones at every launch.
		std::lock_guard<std::mutex> lock(stacks_mutex);
		auto& spare = spare_stacks();
		size_t n = std::min<size_t>(spare.size(), 64);
		w.stacks.assign(spare.end() - n, spare.end());
		spare.resize(spare.size() - n);
	}
	if (w.stacks.empty()) {
		void* p = mmap(nullptr, kStack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		if (p == MAP_FAILED) return nullptr;
		mprotect(p, kPage, PROT_NONE);
		w.stacks.push_back(p);
	}
	void* stack = w.stacks.back();
	w.stacks.pop_back();
	ASAN_UNPOISON_MEMORY_REGION((char*)stack + kPage, kStack - kPage);
	return stack;
}

void give_back_stacks() {
	std::lock_guard<std::mutex> lock(stacks_mutex);
	auto& spare = spare_stacks();
	spare.insert(spare.end(), worker.stacks.begin(), worker.stacks.end());
	worker.stacks.clear();
}

// A thread that exits may be the last one that the others wait for.
void leave(Thread* t) {
	Worker& w = worker;
	t->done = true;
	w.alive--;
	if (w.alive && w.arrived == w.alive) {
		w.arrived = 0;
		w.barrier++;
	}
	Warp& wp = w.warps[t->linear >> 5];
	wp.live &= ~(1u << (t->linear & 31));
	for (int i = 0; i < wp.slots; i++) {
		WarpSlot& s = wp.slot[i];
		if (s.arrived && (s.arrived & wp.live) == (s.mask & wp.live)) {
			s.arrived = 0;
			s.generation++;
		}
	}
	t->copies.clear();
	t->groups.clear();
}

void fiber_main() {
	Thread* t = worker.current;
	(*worker.body)();
	leave(t);
	emu_switch(&t->sp, worker.scheduler_sp);
}

void set_fault(const char* what, const Thread* t) {
	const Worker& w = worker;
	char text[512];
	int n = snprintf(text, sizeof text, "kernel %s: %s (block %u,%u,%u", w.kernel, what, w.block.x, w.block.y, w.block.z);
	if (t && n > 0 && n < (int)sizeof text)
		n += snprintf(text + n, sizeof text - n, " thread %u,%u,%u", t->id.x, t->id.y, t->id.z);
	std::lock_guard<std::mutex> lock(fault_mutex);
	fault = std::string(text) + ")";
}

// Order 0 is ascending, 1 descending; any other number seeds a shuffle, another
// one for each block.
void order_threads(int n, unsigned order) {
	auto& o = worker.order;
	o.resize(n);
	for (int i = 0; i < n; i++) o[i] = order == 1 ? n - 1 - i : i;
	if (order < 2) return;
	uint32_t r = order * 2654435761u + worker.block.x;
	for (int i = n - 1; i > 0; i--) std::swap(o[i], o[next_random(r, order) % (i + 1)]);
}

// What a thread copied without waiting may land whenever others run.
void land_some(Thread* t) {
	unsigned how = landing();
	if (how < 2) return;
	for (auto& c : t->copies)
		if (next_random(worker.random, how) & 1) land(c);
}

void prepare_block() {
	Worker& w = worker;
	int n = w.block_dim.x * w.block_dim.y * w.block_dim.z;
	if ((int)w.threads.size() < n) w.threads.resize(n);
	w.warps.resize((n + 31) / 32);
	for (size_t i = 0; i < w.warps.size(); i++) {
		int lanes = n - 32 * (int)i;
		w.warps[i].live = lanes >= 32 ? ~0u : (1u << lanes) - 1;
		w.warps[i].slots = 0;
	}
	int linear = 0;
	for (unsigned z = 0; z < w.block_dim.z; z++)
		for (unsigned y = 0; y < w.block_dim.y; y++)
			for (unsigned x = 0; x < w.block_dim.x; x++, linear++) {
				Thread& t = w.threads[linear];
				t.id = {x, y, z};
				t.linear = linear;
				t.started = t.done = false;
				t.wait = nullptr;
				t.copies.clear();
				t.groups.clear();
			}
	w.alive = n;
	w.arrived = 0;
	w.barrier = 0;
	w.failed = false;
	order_threads(n, thread_order);
	memset(dynamic_memory, 0xff, w.dynamic_shared);
	if (w.static_shared.begin) memset(w.static_shared.begin, 0xff, w.static_shared.size);
}

// Threads of a failed block are abandoned where they stand.
void abandon_block(int n) {
	for (int i = 0; i < n; i++) {
		Thread& t = worker.threads[i];
		if (t.started && !t.done) worker.stacks.push_back(t.stack);
		t.copies.clear();
		t.groups.clear();
	}
}

bool run_block() {
	prepare_block();
	Worker& w = worker;
	int n = w.alive;
	while (w.alive) {
		bool progress = false;
		for (int i = 0; i < n; i++) {
			Thread& t = w.threads[w.order[i]];
			if (t.done || (t.wait && *t.wait == t.seen)) continue;
			t.wait = nullptr;
			progress = true;
			w.current = &t;
			if (!t.started) {
				t.stack = take_stack();
				if (!t.stack) {
					set_fault("out of memory for stacks", &t);
					abandon_block(n);
					return false;
				}
				t.started = true;
				t.sp = new_fiber(t.stack, fiber_main);
			}
			emu_switch(&w.scheduler_sp, t.sp);
			if (w.failed) {
				abandon_block(n);
				return false;
			}
			if (t.done) w.stacks.push_back(t.stack);
		}
		if (!progress) {
			const Thread* waiting = nullptr;
			for (int i = 0; i < n && !waiting; i++)
				if (!w.threads[i].done && w.threads[i].wait) waiting = &w.threads[i];
			set_fault(w.arrived ? "deadlock: some thread never reaches __syncthreads"
			                    : "deadlock: some lane never reaches a warp collective whose mask names it",
			          waiting);
			abandon_block(n);
			return false;
		}
	}
	return true;
}

// The linker says where the section of static shared memory lies in the thread-local memory that a thread starts with; the thread
// has its copy at the same distance from the beginning of its own.
#ifndef __SANITIZE_ADDRESS__
extern "C" char __start_emu_shared[], __stop_emu_shared[];
int find_shared(dl_phdr_info* object, size_t, void* result) {
	for (int i = 0; i < object->dlpi_phnum; i++) {
		auto& part = object->dlpi_phdr[i];
		uintptr_t first = object->dlpi_addr + part.p_vaddr, at = (uintptr_t)__start_emu_shared;
		if (part.p_type != PT_TLS || at < first || (uintptr_t)__stop_emu_shared > first + part.p_memsz) continue;
		*(Range*)result = {(char*)object->dlpi_tls_data + (at - first), (size_t)(__stop_emu_shared - __start_emu_shared)};
		return 1;
	}
	return 0;
}
#else
int find_shared(dl_phdr_info*, size_t, void*) { return 0; }
#endif

std::map<std::string, Kernel>& kernels() {
	static std::map<std::string, Kernel> all;
	return all;
}

}  // namespace

__attribute__((noinline)) void wait_change(const uint32_t* generation, uint32_t seen) {
	Thread* t = worker.current;
	t->wait = generation;
	t->seen = seen;
	land_some(t);
	emu_switch(&t->sp, worker.scheduler_sp);
}

void fail(const char* what) {
	set_fault(what, worker.current);
	worker.failed = true;
	emu_switch(&worker.current->sp, worker.scheduler_sp);
	__builtin_unreachable();
}

unsigned landing() { return landing_order; }

uint32_t next_random(uint32_t& state, unsigned seed) {
	if (!state) state = seed * 2654435761u | 1;
	state ^= state << 13;
	state ^= state >> 17;
	return state ^= state << 5;
}

unsigned char* dynamic_shared() { return dynamic_memory; }

bool launch(const Kernel& kernel, dim3 grid, dim3 block, size_t dynamic, void** params) {
	size_t blocks = (size_t)grid.x * grid.y * grid.z;
	std::function<void()> body = [&] { kernel.call(params); };
	std::atomic<size_t> next{0};
	std::atomic<bool> ok{true};
	auto work = [&] {
		Worker& w = worker;
		w.body = &body;
		w.kernel = kernel.name;
		w.block_dim = block;
		w.grid_dim = grid;
		w.dynamic_shared = dynamic;
		if (!w.static_shared.begin) dl_iterate_phdr(find_shared, &w.static_shared);
		ASAN_POISON_MEMORY_REGION(dynamic_memory + dynamic, kDynamicShared - dynamic);
		for (size_t b; ok && (b = next++) < blocks;) {
			w.block = {(unsigned)(b % grid.x), (unsigned)(b / grid.x % grid.y), (unsigned)(b / grid.x / grid.y)};
			if (!run_block()) ok = false;
		}
		give_back_stacks();
		ASAN_UNPOISON_MEMORY_REGION(dynamic_memory + dynamic, kDynamicShared - dynamic);
	};
#ifdef __SANITIZE_ADDRESS__
	int threads = 1;
#else
	int threads = (int)std::min<size_t>(blocks, os_threads);
#endif
	std::vector<std::thread> others;
	for (int i = 1; i < threads; i++) others.emplace_back(work);
	work();
	for (auto& t : others) t.join();
	return ok;
}

const char* last_fault() {
	static thread_local std::string copy;
	std::lock_guard<std::mutex> lock(fault_mutex);
	copy = fault;
	return copy.c_str();
}

void add_kernel(const Kernel& kernel) { kernels()[kernel.name] = kernel; }

const Kernel* find_kernel(const char* name) {
	auto it = kernels().find(name);
	return it == kernels().end() ? nullptr : &it->second;
}

}  // namespace emu

extern "C" void cudaemu_set_order(unsigned order) { emu::thread_order = order; }
extern "C" void cudaemu_set_landing(unsigned how) { emu::landing_order = how; }
extern "C" void cudaemu_set_threads(int n) { emu::os_threads = n < 1 ? 1 : n; }
extern "C" const char* cudaemu_last_fault(void) { return emu::last_fault(); }
