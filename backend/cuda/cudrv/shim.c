//go:build cuda

// Forwarders for the CUDA driver API. They take the place of libcuda.so.1 at
// link time, so that the program does not depend on the driver being installed,
// and find the real entry points with dlopen when cuInit is first called.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#include "shim.h"

// The values of CUresult that the shim itself gives.
enum {
	CUDA_SUCCESS = 0,
	CUDA_ERROR_STUB_LIBRARY = 34,
	CUDA_ERROR_NO_DEVICE = 100,
	CUDA_ERROR_NOT_FOUND = 500,
};

static int no_driver(void) { return CUDA_ERROR_NO_DEVICE; }
static int not_in_driver(void) { return CUDA_ERROR_NOT_FOUND; }

// One slot for each entry point, called through until load has filled it.
#define X(name) __attribute__((visibility("hidden"))) void *cudrv_slot_##name = (void *)no_driver;
#include "names.h"
#undef X

// One forwarder for each entry point. A jump keeps registers and stack as they
// are, so that no prototype is needed.
#if defined(__x86_64__)
#define X(name)                                                                                                      \
	__asm__(".text\n.globl " #name "\n.hidden " #name "\n.type " #name ",@function\n" #name                      \
	        ":\n\tjmp *cudrv_slot_" #name "(%rip)\n.size " #name ",.-" #name "\n");
#elif defined(__aarch64__)
#define X(name)                                                                                                      \
	__asm__(".text\n.globl " #name "\n.hidden " #name "\n.type " #name ",%function\n" #name                      \
	        ":\n\tadrp x16, cudrv_slot_" #name "\n\tldr x16, [x16, :lo12:cudrv_slot_" #name                      \
	        "]\n\tbr x16\n.size " #name ",.-" #name "\n");
#else
#error "cudrv: CUDA has no driver for this architecture"
#endif
#include "names.h"
#undef X

static const struct {
	const char *name;
	void **slot;
} entries[] = {
#define X(name) {#name, &cudrv_slot_##name},
#include "names.h"
#undef X
};

// Defined by package cudaemu where that is linked in; then it is the driver.
extern void *emu_cuda_lookup(const char *name) __attribute__((weak));

static void *library;
static int status = CUDA_ERROR_NO_DEVICE;
static char reason[256];

static void *look(const char *name) {
	if (emu_cuda_lookup) return emu_cuda_lookup(name);
	return library ? dlsym(library, name) : NULL;
}

static void load(void) {
	static const char *const names[] = {"libcuda.so.1", "libcuda.so", "/usr/lib/wsl/lib/libcuda.so.1"};
	int (*init)(unsigned) = NULL;
	int stub = 0;
	// The stub that toolkits bring for linking is passed over: the driver may lie behind it.
	for (size_t i = 0; i < sizeof names / sizeof *names && !library && !emu_cuda_lookup; i++) {
		library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
		if (!library) continue;
		init = (int (*)(unsigned))look("cuInit");
		if (!init || (status = init(0)) != CUDA_ERROR_STUB_LIBRARY) break;
		stub = 1;
		dlclose(library);
		library = NULL;
	}
	if (emu_cuda_lookup && (init = (int (*)(unsigned))look("cuInit"))) status = init(0);
	if (!library && !emu_cuda_lookup) {
		status = CUDA_ERROR_NO_DEVICE;
		snprintf(reason, sizeof reason, "no NVIDIA driver: libcuda.so.1 %s",
		         stub ? "is only the stub of a CUDA toolkit" : "was not found");
		return;
	}
	if (!init) {
		status = CUDA_ERROR_NOT_FOUND;
		snprintf(reason, sizeof reason, "the driver library has no cuInit");
		return;
	}
	if (status == CUDA_ERROR_NO_DEVICE) {
		snprintf(reason, sizeof reason, "the NVIDIA driver finds no GPU");
		return;
	}
	if (status != CUDA_SUCCESS) {
		int (*error_name)(int, const char **) = (int (*)(int, const char **))look("cuGetErrorName");
		const char *name = NULL;
		if (!error_name || error_name(status, &name) || !name) name = "error";
		snprintf(reason, sizeof reason, "the NVIDIA driver does not start: %s (%d)", name, status);
		return;
	}
	for (size_t i = 0; i < sizeof entries / sizeof *entries; i++) {
		void *entry = look(entries[i].name);
		*entries[i].slot = entry ? entry : (void *)not_in_driver;
	}
}

// gorgonia.org/cu calls cuInit in a Go init function and ends the process where
// it fails. So report success, and let every later call say what is missing.
__attribute__((visibility("hidden"))) int cuInit(unsigned flags) {
	static int loaded;
	(void)flags;
	if (!loaded) {
		loaded = 1;
		load();
	}
	return CUDA_SUCCESS;
}

int cudrv_status(void) {
	cuInit(0);
	return status;
}

const char *cudrv_reason(void) { return reason; }

int cudrv_has(const char *name) { return status == CUDA_SUCCESS && look(name) != NULL; }
