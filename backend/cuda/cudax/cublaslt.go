//go:build cuda

package cudax

/*
#cgo linux LDFLAGS: -ldl
#include <dlfcn.h>
#include <stdlib.h>
#include "cublaslt.h"

#cgo noescape lt_run
#cgo nocallback lt_run

static struct {
	void *library;
#define X(name, parameters) int (*name) parameters;
	LT_FUNCTIONS(X)
#undef X
} lt;

// Defined by package cudaemu where that is linked in; then its functions are the library's, or there is none.
extern void *emu_cublaslt_lookup(const char *name) __attribute__((weak));

static void *lt_symbol(const char *name) { return emu_cublaslt_lookup ? emu_cublaslt_lookup(name) : dlsym(lt.library, name); }

// lt_load returns NULL, or the name of a function that the library lacks, or "" where there is no library of that name.
static const char *lt_load(const char *name) {
	if (!emu_cublaslt_lookup && !(lt.library = dlopen(name, RTLD_LAZY | RTLD_LOCAL))) return "";
	if (emu_cublaslt_lookup && !emu_cublaslt_lookup("cublasLtCreate")) return "";
#define X(name, parameters) \
	if (!(*(void **)&lt.name = lt_symbol("cublasLt" #name))) return "cublasLt" #name;
	LT_FUNCTIONS(X)
#undef X
	return NULL;
}

static int lt_create(lt_object *handle) { return lt.Create(handle); }
static int lt_destroy(lt_object handle) { return lt.Destroy(handle); }

// A product of one shape. Row-major c [m,n] = op(a)·op(b) is the column-major product of the operands in the other order.
typedef struct {
	lt_object handle, product, a, b, c;
	lt_algorithm algorithm;
} lt_plan;

static void lt_plan_free(lt_plan *p) {
	if (p->product) lt.MatmulDescDestroy(p->product);
	if (p->a) lt.MatrixLayoutDestroy(p->a);
	if (p->b) lt.MatrixLayoutDestroy(p->b);
	if (p->c) lt.MatrixLayoutDestroy(p->c);
	free(p);
}

static lt_plan *lt_plan_new(lt_object handle, int half, int half_c, int trans_a, int trans_b, uint64_t m, uint64_t n, uint64_t k,
                            uint64_t workspace, uint32_t alignment, int *status) {
	lt_plan *p = calloc(1, sizeof *p);
	lt_object preference = NULL;
	lt_heuristic found = {0};
	int type = half ? LT_R_16BF : LT_R_32F, count = 0, s;
	if (!p) return *status = -1, NULL;
	p->handle = handle;
	if ((s = lt.MatmulDescCreate(&p->product, half ? LT_COMPUTE_32F : LT_COMPUTE_32F_FAST_16BF, LT_R_32F))) goto end;
	if ((s = lt.MatmulDescSetAttribute(p->product, LT_DESC_TRANSA, &trans_b, sizeof trans_b))) goto end;
	if ((s = lt.MatmulDescSetAttribute(p->product, LT_DESC_TRANSB, &trans_a, sizeof trans_a))) goto end;
	if ((s = lt.MatrixLayoutCreate(&p->b, type, trans_b ? k : n, trans_b ? n : k, trans_b ? k : n))) goto end;
	if ((s = lt.MatrixLayoutCreate(&p->a, type, trans_a ? m : k, trans_a ? k : m, trans_a ? m : k))) goto end;
	if ((s = lt.MatrixLayoutCreate(&p->c, half_c ? LT_R_16BF : LT_R_32F, n, m, n))) goto end;
	if ((s = lt.MatmulPreferenceCreate(&preference))) goto end;
	if ((s = lt.MatmulPreferenceSetAttribute(preference, LT_PREF_WORKSPACE, &workspace, sizeof workspace))) goto end;
	for (int i = 0; i < 4; i++)
		if ((s = lt.MatmulPreferenceSetAttribute(preference, LT_PREF_ALIGNMENT_A + i, &alignment, sizeof alignment))) goto end;
	s = lt.MatmulAlgoGetHeuristic(handle, p->product, p->b, p->a, p->c, p->c, preference, 1, &found, &count);
	if (!s && count) s = found.state;
	else if (!s) s = 15; // CUBLAS_STATUS_NOT_SUPPORTED
	p->algorithm = found.algorithm;
end:
	if (preference) lt.MatmulPreferenceDestroy(preference);
	if ((*status = s)) return lt_plan_free(p), NULL;
	return p;
}

static int lt_run(lt_plan *p, float alpha, uint64_t a, uint64_t b, float beta, uint64_t c, uint64_t workspace, size_t bytes, uint64_t stream) {
	return lt.Matmul(p->handle, p->product, &alpha, (void *)b, p->b, (void *)a, p->a, &beta, (void *)c, p->c, (void *)c, p->c, &p->algorithm,
	                 (void *)workspace, bytes, (void *)stream);
}
*/
import "C"

import (
	"fmt"
	"unsafe"

	"gorgonia.org/cu"
)

// Lt is cuBLASLt, NVIDIA's library of matrix products, found when the program runs.
type Lt struct {
	handle  C.lt_object
	library string
}

// LtLibraries are the names that OpenLt tries.
var LtLibraries = []string{"libcublasLt.so.13", "libcublasLt.so.12", "libcublasLt.so.11", "libcublasLt.so"}

// OpenLt loads the first library of those named that there is, and makes a handle in the current context. One library at a time: the
// last that was loaded is called. Errors: where there is none, where a function is missing, a *BlasError where it does not start.
func OpenLt(libraries ...string) (*Lt, error) {
	for _, name := range libraries {
		s := C.CString(name)
		missing := C.lt_load(s)
		C.free(unsafe.Pointer(s))
		if missing == nil {
			l := &Lt{library: name}
			return l, blasResult("cublasLtCreate", C.lt_create(&l.handle))
		}
		if what := C.GoString(missing); what != "" {
			return nil, fmt.Errorf("cublasLt: %s has no %s", name, what)
		}
	}
	return nil, fmt.Errorf("cublasLt: none of %v was found", libraries)
}

// Library is the name of the library that OpenLt found.
func (l *Lt) Library() string { return l.library }

// Close releases the handle; plans are closed before.
func (l *Lt) Close() error { return blasResult("cublasLtDestroy", C.lt_destroy(l.handle)) }

// LtShape is a product c [m,n] = op(a)·op(b) with float32 sums. Operands are float32, rounded to bfloat16, or bfloat16.
type LtShape struct {
	M, N, K        int
	TransA, TransB bool
	Half           bool // a and b are bfloat16
	HalfC          bool // c is
}

// LtPlan is a product that the library is ready to compute.
type LtPlan struct{ p *C.lt_plan }

// Plan asks for the algorithm that the library thinks fastest, on operands at multiples of so many bytes, with so much workspace.
func (l *Lt) Plan(s LtShape, workspace int64, alignment int) (*LtPlan, error) {
	flag := func(v bool) C.int {
		if v {
			return 1
		}
		return 0
	}
	var status C.int
	p := C.lt_plan_new(l.handle, flag(s.Half), flag(s.HalfC), flag(s.TransA), flag(s.TransB), C.uint64_t(s.M), C.uint64_t(s.N), C.uint64_t(s.K),
		C.uint64_t(workspace), C.uint32_t(alignment), &status)
	if p == nil {
		return nil, blasResult("planning a product", status)
	}
	return &LtPlan{p}, nil
}

// Run enqueues c = alpha·op(a)·op(b) + beta·c on s.
func (p *LtPlan) Run(alpha float32, a, b Address, beta float32, c, workspace Address, bytes int64, s cu.Stream) error {
	return blasResult("cublasLtMatmul", C.lt_run(p.p, C.float(alpha), C.uint64_t(a), C.uint64_t(b), C.float(beta), C.uint64_t(c),
		C.uint64_t(workspace), C.size_t(bytes), C.uint64_t(StreamHandle(s))))
}

// Close releases the plan.
func (p *LtPlan) Close() { C.lt_plan_free(p.p) }
