//go:build cuda

package cudax

/*
#cgo linux LDFLAGS: -ldl
#include <dlfcn.h>
#include <stddef.h>
#include <stdint.h>

// Own declarations: the values and parameter lists are the same in cuBLAS 11, 12 and 13.
typedef void *blas_handle;
enum { BLAS_R_32F = 0, BLAS_R_16BF = 14, BLAS_COMPUTE_32F = 68, BLAS_DEFAULT = -1 };

static struct {
	void *library;
	const char *name;
	int (*create)(blas_handle *);
	int (*destroy)(blas_handle);
	int (*set_stream)(blas_handle, void *);
	int (*set_workspace)(blas_handle, void *, size_t);
	int (*gemm_ex)(blas_handle, int, int, int, int, int, const void *, const void *, int, int, const void *, int, int,
	               const void *, void *, int, int, int, int);
} blas;

static const char *blas_load(void) {
	static const char *const names[] = {"libcublas.so.13", "libcublas.so.12", "libcublas.so.11", "libcublas.so"};
	for (unsigned i = 0; i < sizeof names / sizeof *names && !blas.library; i++)
		if ((blas.library = dlopen(names[i], RTLD_LAZY | RTLD_LOCAL))) blas.name = names[i];
	if (!blas.library) return "libcublas was not found";
	const struct { void **slot; const char *symbol; } symbols[] = {
		{(void **)&blas.create, "cublasCreate_v2"}, {(void **)&blas.destroy, "cublasDestroy_v2"},
		{(void **)&blas.set_stream, "cublasSetStream_v2"}, {(void **)&blas.set_workspace, "cublasSetWorkspace_v2"},
		{(void **)&blas.gemm_ex, "cublasGemmEx"},
	};
	for (unsigned i = 0; i < sizeof symbols / sizeof *symbols; i++)
		if (!(*symbols[i].slot = dlsym(blas.library, symbols[i].symbol))) return symbols[i].symbol;
	return NULL;
}
static const char *blas_name(void) { return blas.name; }
static int blas_create(blas_handle *h) { return blas.create(h); }
static int blas_destroy(blas_handle h) { return blas.destroy(h); }
static int blas_set_stream(blas_handle h, void *stream) { return blas.set_stream(h, stream); }
static int blas_set_workspace(blas_handle h, uint64_t p, size_t n) { return blas.set_workspace(h, (void *)p, n); }

// Row-major c [m,n] = op(a)·op(b) + beta·c is the column-major product of the operands in the other order.
static int blas_gemm(blas_handle h, int type, int trans_a, int trans_b, int m, int n, int k, uint64_t a, uint64_t b,
                     float beta, uint64_t c) {
	const float alpha = 1;
	return blas.gemm_ex(h, trans_b, trans_a, n, m, k, &alpha, (void *)b, type, trans_b ? k : n, (void *)a, type,
	                    trans_a ? m : k, &beta, (void *)c, BLAS_R_32F, n, BLAS_COMPUTE_32F, BLAS_DEFAULT);
}
*/
import "C"

import (
	"fmt"
	"unsafe"

	"gorgonia.org/cu"
)

// BlasError is a cublasStatus_t other than success.
type BlasError struct {
	Call   string
	Status int
}

func (e *BlasError) Error() string { return fmt.Sprintf("%s: cuBLAS status %d", e.Call, e.Status) }

func blasResult(call string, status C.int) error {
	if status == 0 {
		return nil
	}
	return &BlasError{call, int(status)}
}

// Blas is a handle of whichever cuBLAS the machine has. mito's own kernels do not need it; it is what they are
// measured against.
type Blas struct{ h C.blas_handle }

// NewBlas loads cuBLAS and makes a handle in the current context.
func NewBlas() (*Blas, error) {
	if missing := C.blas_load(); missing != nil {
		return nil, fmt.Errorf("cublas: missing: %s", C.GoString(missing))
	}
	b := &Blas{}
	return b, blasResult("cublasCreate", C.blas_create(&b.h))
}

// Library is the name of the library that NewBlas found.
func (b *Blas) Library() string { return C.GoString(C.blas_name()) }

// SetStream makes the handle enqueue on s.
func (b *Blas) SetStream(s cu.Stream) error {
	return blasResult("cublasSetStream", C.blas_set_stream(b.h, unsafe.Pointer(streamOf(s))))
}

// SetWorkspace gives the handle scratch memory of its own, which stream capture needs.
func (b *Blas) SetWorkspace(p cu.DevicePtr, n int64) error {
	return blasResult("cublasSetWorkspace", C.blas_set_workspace(b.h, C.uint64_t(p), C.size_t(n)))
}

// Gemm enqueues c [m,n] f32 = op(a)·op(b) + beta·c with float32 accumulation. bf16 says that a and b hold bfloat16
// instead of float32.
func (b *Blas) Gemm(bf16, transA, transB bool, m, n, k int, pa, pb cu.DevicePtr, beta float32, pc cu.DevicePtr) error {
	kind := C.int(C.BLAS_R_32F)
	if bf16 {
		kind = C.BLAS_R_16BF
	}
	flag := func(t bool) C.int {
		if t {
			return 1
		}
		return 0
	}
	return blasResult("cublasGemmEx", C.blas_gemm(b.h, kind, flag(transA), flag(transB), C.int(m), C.int(n), C.int(k),
		C.uint64_t(pa), C.uint64_t(pb), C.float(beta), C.uint64_t(pc)))
}

// Destroy releases the handle.
func (b *Blas) Destroy() error { return blasResult("cublasDestroy", C.blas_destroy(b.h)) }
