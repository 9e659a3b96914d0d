//go:build cuda && cudaemu

// A CUDA driver of one emulated device: as much of the driver API as this
// program calls. Work waits in streams (streams.h); a capturing stream records instead.
#include "cuda_emu.h"

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "cudaemu.h"
#include "streams.h"

namespace {

using emu::Graph;
using emu::Stream;

int multiprocessors = EMU_MULTIPROCESSORS;
int max_dynamic_shared = EMU_MAX_DYNAMIC_SHARED;

enum Result {
	SUCCESS = 0,
	INVALID_VALUE = 1,
	OUT_OF_MEMORY = 2,
	INVALID_DEVICE = 101,
	INVALID_IMAGE = 200,
	INVALID_CONTEXT = 201,
	INVALID_HANDLE = 400,
	NOT_FOUND = 500,
	NOT_READY = 600,
	LAUNCH_FAILED = 719,
	NOT_SUPPORTED = 801,
	CAPTURE_UNSUPPORTED = 900,
	CAPTURE_INVALIDATED = 901,
};

typedef unsigned long long DevicePtr;

struct Context {};
struct Function {
	const emu::Kernel* kernel;
	unsigned max_dynamic_shared = EMU_DEFAULT_DYNAMIC_SHARED;
};
struct Module {
	std::string image;
	std::map<std::string, Function> functions;
};
struct Event {
	struct State {
		int pending = 0;  // records that did not run yet
		double ms = -1;
	};
	Stream* stream = nullptr;
	std::shared_ptr<State> state = std::make_shared<State>();
};

Context primary;
thread_local Context* current;
std::mutex memory_mutex;
int retained;
std::map<DevicePtr, size_t> allocations, pinned;
size_t memory_used;
size_t memory_total = 4ull << 30;

// usable is what a call returns that needs a context in which nothing failed: an error stays until the context ends.
int usable() { return !current ? INVALID_CONTEXT : emu::failed(); }

// enqueue gives an operation to a stream, or records it where that is capturing. Like the driver, it also returns errors of
// earlier work.
int enqueue(void* s, emu::Operation operation) {
	if (int r = usable()) return r;
	return emu::submit((Stream*)s, std::move(operation));
}

// Calls that wait, or that take effect at once, must not be made while a stream
// of the thread captures. One stream is all this program has.
thread_local Stream* capturing;
thread_local bool invalidated;
int not_in_capture() {
	if (!capturing) return SUCCESS;
	invalidated = true;
	return CAPTURE_UNSUPPORTED;
}
int waitable() {
	if (int r = usable()) return r;
	return not_in_capture();
}

double now_ms() {
	return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

int ok() { return SUCCESS; }

int driver_version(int* v) { return *v = EMU_DRIVER_VERSION, SUCCESS; }
int device_count(int* n) { return *n = 1, SUCCESS; }
int device_get(int* d, int ordinal) { return *d = 0, ordinal == 0 ? SUCCESS : INVALID_DEVICE; }
int device_name(char* s, int n, int) { return snprintf(s, n, "CUDA emulator (host)"), SUCCESS; }
int device_memory(size_t* n, int) { return *n = memory_total, SUCCESS; }

int device_attribute(int* v, int attribute, int) {
	switch (attribute) {
	case 1: *v = EMU_MAX_THREADS; break;
	case 8: *v = EMU_DEFAULT_DYNAMIC_SHARED; break;
	case 10: *v = 32; break;
	case 16: *v = multiprocessors; break;
	case 75: *v = EMU_COMPUTE_MAJOR; break;
	case 76: *v = EMU_COMPUTE_MINOR; break;
	case 97: *v = max_dynamic_shared; break;
	case 115: *v = 1; break;
	default: *v = 0;
	}
	return SUCCESS;
}

int primary_retain(void** c, int) {
	std::lock_guard<std::mutex> lock(memory_mutex);
	retained++;
	return *c = &primary, SUCCESS;
}
// The last release ends the context with all that is in it, and with its error.
int primary_release(int) {
	std::lock_guard<std::mutex> lock(memory_mutex);
	if (!retained) return INVALID_CONTEXT;
	if (--retained) return SUCCESS;
	emu::drop();
	emu::clear_failed();
	for (auto& a : allocations) free((void*)a.first);
	allocations.clear();
	memory_used = 0;
	return SUCCESS;
}
int context_set(void* c) { return current = (Context*)c, SUCCESS; }
int context_get(void** c) { return *c = current, SUCCESS; }
int context_synchronize() {
	if (int r = waitable()) return r;
	return emu::finish_all(), emu::failed();
}

int module_load(void** m, const void* image) {
	if (int r = usable()) return r;
	const char* text = (const char*)image;
	if (!strstr(text, ".version") || !strstr(text, ".target")) return INVALID_IMAGE;
	return *m = new Module{text, {}}, SUCCESS;
}
int module_load_ex(void** m, const void* image, unsigned, void*, void*) { return module_load(m, image); }
int module_unload(void* m) { return delete (Module*)m, SUCCESS; }

// A kernel is found where the image has it, so that sources and PTX cannot
// drift apart unnoticed.
int module_function(void** f, void* m, const char* name) {
	*f = nullptr;
	Module& module = *(Module*)m;
	if (module.image.find(".entry " + std::string(name) + "(") == std::string::npos) return NOT_FOUND;
	const emu::Kernel* k = emu::find_kernel(name);
	if (!k) return NOT_FOUND;
	return *f = &module.functions.insert({name, Function{k}}).first->second, SUCCESS;
}

int function_set(void* f, int attribute, int value) {
	if (!f) return INVALID_HANDLE;
	if (attribute != 8) return SUCCESS;
	if (value < 0 || value > max_dynamic_shared) return INVALID_VALUE;
	((Function*)f)->max_dynamic_shared = value;
	return SUCCESS;
}
int function_get(int* v, int attribute, void* f) {
	if (!f) return INVALID_HANDLE;
	return *v = attribute == 0 ? EMU_MAX_THREADS : 0, SUCCESS;
}

int memory_alloc(DevicePtr* d, size_t n) {
	if (int r = usable()) return r;
	if (!n) return INVALID_VALUE;
	if (int r = not_in_capture()) return r;
	std::lock_guard<std::mutex> lock(memory_mutex);
	if (n > memory_total - memory_used) return OUT_OF_MEMORY;
	// The size is not rounded up, so that AddressSanitizer sees the end.
	void* p = nullptr;
	if (posix_memalign(&p, 256, n)) return OUT_OF_MEMORY;
	memset(p, 0xff, n);
	memory_used += n;
	allocations[(DevicePtr)p] = n;
	return *d = (DevicePtr)p, SUCCESS;
}
int forget(DevicePtr d) {
	std::lock_guard<std::mutex> lock(memory_mutex);
	auto it = allocations.find(d);
	if (it == allocations.end()) return INVALID_VALUE;
	memory_used -= it->second;
	allocations.erase(it);
	free((void*)d);
	return SUCCESS;
}
// The driver waits for the device before it frees memory.
int memory_free(DevicePtr d) {
	emu::finish_all();
	if (int r = usable()) return r;
	return forget(d);
}
int memory_alloc_async(DevicePtr* d, size_t n, void* s) {
	return emu::capture_of((Stream*)s) ? NOT_SUPPORTED : memory_alloc(d, n);
}
int memory_free_async(DevicePtr d, void* s) {
	return emu::capture_of((Stream*)s) ? NOT_SUPPORTED : enqueue(s, [=] { return forget(d); });
}
int memory_info(size_t* available, size_t* total) {
	std::lock_guard<std::mutex> lock(memory_mutex);
	*available = memory_total - memory_used;
	return *total = memory_total, SUCCESS;
}
int host_alloc(void** p, size_t n, unsigned) {
	if (posix_memalign(p, 4096, n)) return OUT_OF_MEMORY;
	std::lock_guard<std::mutex> lock(memory_mutex);
	pinned[(DevicePtr)*p] = n;
	return SUCCESS;
}
int host_free(void* p) {
	emu::finish_all();
	std::lock_guard<std::mutex> lock(memory_mutex);
	pinned.erase((DevicePtr)p);
	return free(p), SUCCESS;
}
bool is_pinned(DevicePtr p) {
	std::lock_guard<std::mutex> lock(memory_mutex);
	auto it = pinned.upper_bound(p);
	return it != pinned.begin() && p < (--it)->first + it->second;
}

// A copy without a stream waits for the null stream and for those that wait for it, not for others.
int copy(DevicePtr d, DevicePtr s, size_t n) {
	if (int r = waitable()) return r;
	emu::finish_blocking();
	if (int r = emu::failed()) return r;
	return memcpy((void*)d, (void*)s, n), SUCCESS;
}
int copy_async(DevicePtr d, DevicePtr s, size_t n, void* q) {
	return enqueue(q, [=] { return memcpy((void*)d, (void*)s, n), SUCCESS; });
}
// From memory that may be paged out, the driver takes a copy before it returns; to such memory, it waits.
int upload_async(DevicePtr d, DevicePtr s, size_t n, void* q) {
	if (is_pinned(s) || emu::capture_of((Stream*)q)) return copy_async(d, s, n, q);
	auto taken = std::make_shared<std::vector<char>>((char*)s, (char*)s + n);
	return enqueue(q, [=] { return memcpy((void*)d, taken->data(), n), SUCCESS; });
}
int download_async(DevicePtr d, DevicePtr s, size_t n, void* q) {
	int r = copy_async(d, s, n, q);
	if (r || is_pinned(d) || emu::capture_of((Stream*)q)) return r;
	return emu::finish((Stream*)q), emu::failed();
}
int set_async(DevicePtr d, unsigned char c, size_t n, void* s) {
	return enqueue(s, [=] { return memset((void*)d, c, n), SUCCESS; });
}

int stream_create(void** s, unsigned flags) { return *s = emu::new_stream(!(flags & 1)), SUCCESS; }
int stream_destroy(void* s) { return emu::delete_stream((Stream*)s), SUCCESS; }
int stream_wait(void* s) {
	if (int r = waitable()) return r;
	return emu::finish((Stream*)s), emu::failed();
}

int event_create(void** e, unsigned) { return *e = new Event, SUCCESS; }
int event_destroy(void* e) { return delete (Event*)e, SUCCESS; }
int event_record(void* p, void* s) {
	Event& e = *(Event*)p;
	auto state = e.state;
	e.stream = (Stream*)s;
	if (!emu::capture_of((Stream*)s)) state->pending++;
	return enqueue(s, [state] {
		if (state->pending) state->pending--;
		return state->ms = now_ms(), SUCCESS;
	});
}
int event_wait(void* p) {
	if (int r = waitable()) return r;
	Event& e = *(Event*)p;
	auto state = e.state;
	emu::finish(e.stream, [state] { return state->pending == 0; });
	return emu::failed();
}
int event_elapsed(float* ms, void* a, void* b) {
	auto &first = *((Event*)a)->state, &last = *((Event*)b)->state;
	if (first.pending || last.pending) return NOT_READY;
	if (first.ms < 0 || last.ms < 0) return INVALID_HANDLE;
	return *ms = (float)(last.ms - first.ms), SUCCESS;
}

int launch_kernel(void* f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned shared,
                  void* s, void** params, void**) {
	if (!f) return INVALID_HANDLE;
	const Function& fn = *(Function*)f;
	if (!gx || !gy || !gz || gy > 65535 || gz > 65535 || !bx || !by || !bz ||
	    bx * by * bz > EMU_MAX_THREADS)
		return INVALID_VALUE;
	if (shared > fn.max_dynamic_shared) return INVALID_VALUE;
	// Parameters are read now, as the driver does.
	const emu::Kernel& k = *fn.kernel;
	std::vector<uint64_t> words(k.params);
	for (int i = 0; i < k.params; i++) {
		if (k.sizes[i] > 8) return INVALID_VALUE;
		memcpy(&words[i], params[i], k.sizes[i]);
	}
	return enqueue(s, [&k, words, gx, gy, gz, bx, by, bz, shared]() mutable -> int {
		std::vector<void*> p;
		for (auto& w : words) p.push_back(&w);
		return emu::launch(k, dim3(gx, gy, gz), dim3(bx, by, bz), shared, p.data()) ? SUCCESS : LAUNCH_FAILED;
	});
}

int begin_capture(void* s, int) {
	auto& graph = emu::capture_of((Stream*)s);
	if (graph) return CAPTURE_UNSUPPORTED;
	graph.reset(new Graph);
	invalidated = false;
	return capturing = (Stream*)s, SUCCESS;
}
int end_capture(void* s, void** g) {
	auto& graph = emu::capture_of((Stream*)s);
	*g = nullptr;
	capturing = nullptr;
	if (!graph) return CAPTURE_UNSUPPORTED;
	if (invalidated) return graph.reset(), CAPTURE_INVALIDATED;
	return *g = graph.release(), SUCCESS;
}
int graph_nodes(void* g, void**, size_t* n) { return *n = ((Graph*)g)->operations.size(), SUCCESS; }
int graph_instantiate(void** x, void* g, unsigned long long) { return *x = new Graph(*(Graph*)g), SUCCESS; }
int graph_destroy(void* g) { return delete (Graph*)g, SUCCESS; }
int graph_launch(void* x, void* s) {
	for (auto& f : ((Graph*)x)->operations)
		if (int r = enqueue(s, f)) return r;
	return SUCCESS;
}

int error_name(int e, const char** s) {
	switch (e) {
	case INVALID_VALUE: *s = "CUDA_ERROR_INVALID_VALUE"; break;
	case OUT_OF_MEMORY: *s = "CUDA_ERROR_OUT_OF_MEMORY"; break;
	case INVALID_DEVICE: *s = "CUDA_ERROR_INVALID_DEVICE"; break;
	case INVALID_IMAGE: *s = "CUDA_ERROR_INVALID_IMAGE"; break;
	case INVALID_CONTEXT: *s = "CUDA_ERROR_INVALID_CONTEXT"; break;
	case INVALID_HANDLE: *s = "CUDA_ERROR_INVALID_HANDLE"; break;
	case NOT_FOUND: *s = "CUDA_ERROR_NOT_FOUND"; break;
	case NOT_READY: *s = "CUDA_ERROR_NOT_READY"; break;
	case LAUNCH_FAILED: *s = "CUDA_ERROR_LAUNCH_FAILED"; break;
	case NOT_SUPPORTED: *s = "CUDA_ERROR_NOT_SUPPORTED"; break;
	case CAPTURE_UNSUPPORTED: *s = "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED"; break;
	case CAPTURE_INVALIDATED: *s = "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED"; break;
	default: *s = nullptr; return INVALID_VALUE;
	}
	return SUCCESS;
}
int error_string(int e, const char** s) {
	static thread_local std::string text;
	text = e == LAUNCH_FAILED ? emu::last_fault() : "emulated";
	return *s = text.c_str(), SUCCESS;
}
int default_pool(void** p, int) { return *p = &primary, SUCCESS; }

}  // namespace

extern "C" void cudaemu_set_multiprocessors(int n) { multiprocessors = n > 0 ? n : 1; }

extern "C" void cudaemu_set_max_shared(int bytes) {
	max_dynamic_shared = bytes < EMU_DEFAULT_DYNAMIC_SHARED ? EMU_DEFAULT_DYNAMIC_SHARED
	                     : bytes > EMU_MOST_DYNAMIC_SHARED  ? EMU_MOST_DYNAMIC_SHARED
	                                                        : bytes;
}

extern "C" void cudaemu_set_memory(unsigned long long bytes) {
	std::lock_guard<std::mutex> lock(memory_mutex);
	memory_total = bytes;
}

// Package cudrv finds the driver by this function.
extern "C" void* emu_cuda_lookup(const char* name) {
	static const std::map<std::string, void*> entries = {
	    {"cuInit", (void*)ok},
	    {"cuDriverGetVersion", (void*)driver_version},
	    {"cuGetErrorName", (void*)error_name},
	    {"cuGetErrorString", (void*)error_string},
	    {"cuDeviceGetCount", (void*)device_count},
	    {"cuDeviceGet", (void*)device_get},
	    {"cuDeviceGetName", (void*)device_name},
	    {"cuDeviceTotalMem_v2", (void*)device_memory},
	    {"cuDeviceGetAttribute", (void*)device_attribute},
	    {"cuDeviceGetDefaultMemPool", (void*)default_pool},
	    {"cuDevicePrimaryCtxRetain", (void*)primary_retain},
	    {"cuDevicePrimaryCtxRelease_v2", (void*)primary_release},
	    {"cuCtxSetCurrent", (void*)context_set},
	    {"cuCtxGetCurrent", (void*)context_get},
	    {"cuCtxSynchronize", (void*)context_synchronize},
	    {"cuModuleLoadData", (void*)module_load},
	    {"cuModuleLoadDataEx", (void*)module_load_ex},
	    {"cuModuleGetFunction", (void*)module_function},
	    {"cuModuleUnload", (void*)module_unload},
	    {"cuFuncSetAttribute", (void*)function_set},
	    {"cuFuncGetAttribute", (void*)function_get},
	    {"cuMemAlloc_v2", (void*)memory_alloc},
	    {"cuMemFree_v2", (void*)memory_free},
	    {"cuMemAllocAsync", (void*)memory_alloc_async},
	    {"cuMemFreeAsync", (void*)memory_free_async},
	    {"cuMemPoolSetAttribute", (void*)ok},
	    {"cuMemGetInfo_v2", (void*)memory_info},
	    {"cuMemHostAlloc", (void*)host_alloc},
	    {"cuMemFreeHost", (void*)host_free},
	    {"cuMemcpy", (void*)copy},
	    {"cuMemcpyHtoD_v2", (void*)copy},
	    {"cuMemcpyDtoH_v2", (void*)copy},
	    {"cuMemcpyDtoD_v2", (void*)copy},
	    {"cuMemcpyHtoDAsync_v2", (void*)upload_async},
	    {"cuMemcpyDtoHAsync_v2", (void*)download_async},
	    {"cuMemcpyDtoDAsync_v2", (void*)copy_async},
	    {"cuMemsetD8Async", (void*)set_async},
	    {"cuStreamCreate", (void*)stream_create},
	    {"cuStreamDestroy_v2", (void*)stream_destroy},
	    {"cuStreamSynchronize", (void*)stream_wait},
	    {"cuEventCreate", (void*)event_create},
	    {"cuEventDestroy_v2", (void*)event_destroy},
	    {"cuEventRecord", (void*)event_record},
	    {"cuEventSynchronize", (void*)event_wait},
	    {"cuEventElapsedTime", (void*)event_elapsed},
	    {"cuLaunchKernel", (void*)launch_kernel},
	    {"cuStreamBeginCapture_v2", (void*)begin_capture},
	    {"cuStreamEndCapture", (void*)end_capture},
	    {"cuGraphGetNodes", (void*)graph_nodes},
	    {"cuGraphInstantiateWithFlags", (void*)graph_instantiate},
	    {"cuGraphDestroy", (void*)graph_destroy},
	    {"cuGraphExecDestroy", (void*)graph_destroy},
	    {"cuGraphLaunch", (void*)graph_launch},
	};
	auto it = entries.find(name);
	return it == entries.end() ? nullptr : it->second;
}
