//go:build cuda && cudaemu

// A CUDA driver of one emulated device: as much of the driver API as this
// program calls. Streams execute at once; a capturing stream records instead.
#include "cuda_emu.h"

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "cudaemu.h"

namespace {

int multiprocessors = EMU_MULTIPROCESSORS;

enum Result {
	SUCCESS = 0,
	INVALID_VALUE = 1,
	OUT_OF_MEMORY = 2,
	INVALID_DEVICE = 101,
	INVALID_IMAGE = 200,
	INVALID_CONTEXT = 201,
	INVALID_HANDLE = 400,
	NOT_FOUND = 500,
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
	double ms = 0;
};
struct Graph {
	std::vector<std::function<int()>> operations;
};
struct Stream {
	std::unique_ptr<Graph> capture;
	bool invalidated = false;
};

Context primary;
thread_local Context* current;
Stream null_stream;
std::mutex memory_mutex;
std::map<DevicePtr, size_t> allocations;
size_t memory_used;
size_t memory_total = 4ull << 30;

Stream& stream(void* s) { return s ? *(Stream*)s : null_stream; }

// enqueue runs an operation, or records it where the stream is capturing.
int enqueue(void* s, std::function<int()> operation) {
	if (!current) return INVALID_CONTEXT;
	if (!stream(s).capture) return operation();
	stream(s).capture->operations.push_back(std::move(operation));
	return SUCCESS;
}

// Calls that wait, or that take effect at once, must not be made while a stream
// of the thread captures. One stream is all this program has.
thread_local Stream* capturing;
int not_in_capture() {
	if (!capturing) return SUCCESS;
	capturing->invalidated = true;
	return CAPTURE_UNSUPPORTED;
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
	case 97: *v = EMU_MAX_DYNAMIC_SHARED; break;
	case 115: *v = 1; break;
	default: *v = 0;
	}
	return SUCCESS;
}

int primary_retain(void** c, int) { return *c = &primary, SUCCESS; }
int context_set(void* c) { return current = (Context*)c, SUCCESS; }
int context_get(void** c) { return *c = current, SUCCESS; }
int context_synchronize() { return current ? not_in_capture() : INVALID_CONTEXT; }

int module_load(void** m, const void* image) {
	if (!current) return INVALID_CONTEXT;
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
	if (value < 0 || value > EMU_MAX_DYNAMIC_SHARED) return INVALID_VALUE;
	((Function*)f)->max_dynamic_shared = value;
	return SUCCESS;
}
int function_get(int* v, int attribute, void* f) {
	if (!f) return INVALID_HANDLE;
	return *v = attribute == 0 ? EMU_MAX_THREADS : 0, SUCCESS;
}

int memory_alloc(DevicePtr* d, size_t n) {
	if (!current) return INVALID_CONTEXT;
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
int memory_free(DevicePtr d) {
	std::lock_guard<std::mutex> lock(memory_mutex);
	auto it = allocations.find(d);
	if (it == allocations.end()) return INVALID_VALUE;
	memory_used -= it->second;
	allocations.erase(it);
	free((void*)d);
	return SUCCESS;
}
int memory_alloc_async(DevicePtr* d, size_t n, void* s) { return stream(s).capture ? NOT_SUPPORTED : memory_alloc(d, n); }
int memory_free_async(DevicePtr d, void* s) { return stream(s).capture ? NOT_SUPPORTED : memory_free(d); }
int memory_info(size_t* available, size_t* total) {
	std::lock_guard<std::mutex> lock(memory_mutex);
	*available = memory_total - memory_used;
	return *total = memory_total, SUCCESS;
}
int host_alloc(void** p, size_t n, unsigned) { return posix_memalign(p, 4096, n) ? OUT_OF_MEMORY : SUCCESS; }
int host_free(void* p) { return free(p), SUCCESS; }

int copy(DevicePtr d, DevicePtr s, size_t n) {
	if (!current) return INVALID_CONTEXT;
	if (int r = not_in_capture()) return r;
	return memcpy((void*)d, (void*)s, n), SUCCESS;
}
int copy_async(DevicePtr d, DevicePtr s, size_t n, void* q) {
	return enqueue(q, [=] { return memcpy((void*)d, (void*)s, n), SUCCESS; });
}
int set_async(DevicePtr d, unsigned char c, size_t n, void* s) {
	return enqueue(s, [=] { return memset((void*)d, c, n), SUCCESS; });
}

int stream_create(void** s, unsigned) { return *s = new Stream, SUCCESS; }
int stream_destroy(void* s) { return delete (Stream*)s, SUCCESS; }
int stream_wait(void*) { return not_in_capture(); }

int event_create(void** e, unsigned) { return *e = new Event, SUCCESS; }
int event_destroy(void* e) { return delete (Event*)e, SUCCESS; }
int event_record(void* e, void* s) {
	return enqueue(s, [=] { return ((Event*)e)->ms = now_ms(), SUCCESS; });
}
int event_elapsed(float* ms, void* a, void* b) { return *ms = (float)(((Event*)b)->ms - ((Event*)a)->ms), SUCCESS; }

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
	if (stream(s).capture) return CAPTURE_UNSUPPORTED;
	stream(s).capture.reset(new Graph);
	stream(s).invalidated = false;
	return capturing = &stream(s), SUCCESS;
}
int end_capture(void* s, void** g) {
	Stream& st = stream(s);
	*g = nullptr;
	capturing = nullptr;
	if (!st.capture) return CAPTURE_UNSUPPORTED;
	if (st.invalidated) return st.capture.reset(), CAPTURE_INVALIDATED;
	return *g = st.capture.release(), SUCCESS;
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
	    {"cuDevicePrimaryCtxRelease_v2", (void*)ok},
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
	    {"cuMemcpyHtoDAsync_v2", (void*)copy_async},
	    {"cuMemcpyDtoHAsync_v2", (void*)copy_async},
	    {"cuMemcpyDtoDAsync_v2", (void*)copy_async},
	    {"cuMemsetD8Async", (void*)set_async},
	    {"cuStreamCreate", (void*)stream_create},
	    {"cuStreamDestroy_v2", (void*)stream_destroy},
	    {"cuStreamSynchronize", (void*)stream_wait},
	    {"cuEventCreate", (void*)event_create},
	    {"cuEventDestroy_v2", (void*)event_destroy},
	    {"cuEventRecord", (void*)event_record},
	    {"cuEventSynchronize", (void*)stream_wait},
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
