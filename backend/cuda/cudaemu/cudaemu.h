#ifndef MITO_CUDAEMU_H
#define MITO_CUDAEMU_H

// The emulated device.
enum {
	EMU_COMPUTE_MAJOR = 8,
	EMU_COMPUTE_MINOR = 0,
	EMU_MULTIPROCESSORS = 4,
	EMU_MAX_DYNAMIC_SHARED = 163 << 10,   // of an A100; the device says so until another number is set
	EMU_MOST_DYNAMIC_SHARED = 227 << 10,  // of an H100, whose multiprocessors have 228 KiB
	EMU_DEFAULT_DYNAMIC_SHARED = 48 << 10,
	EMU_MAX_THREADS = 1024,
	EMU_DRIVER_VERSION = 12000,
};

#ifdef __cplusplus
extern "C" {
#endif
void cudaemu_set_order(unsigned order);
void cudaemu_set_threads(int n);
void cudaemu_set_memory(unsigned long long bytes);
void cudaemu_set_multiprocessors(int n);
void cudaemu_set_max_shared(int bytes);
void cudaemu_set_landing(unsigned how);
void cudaemu_set_cublaslt(int there, int starts, int delay_ms);
unsigned cudaemu_cublaslt_products(void);
const char *cudaemu_last_fault(void);
#ifdef __cplusplus
}
#endif

#endif
