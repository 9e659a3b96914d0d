//go:build cuda

package cudax

/*
#include <cuda.h>

#cgo noescape cudax_launch
#cgo nocallback cudax_launch

enum { MAX_PARAMS = 32 };

static CUresult cudax_launch(CUfunction f, const unsigned *dims, unsigned shared, CUstream stream,
                             unsigned long long *words, int n) {
	void *params[MAX_PARAMS];
	if (n > MAX_PARAMS) return CUDA_ERROR_INVALID_VALUE;
	for (int i = 0; i < n; i++) params[i] = &words[i];
	return cuLaunchKernel(f, dims[0], dims[1], dims[2], dims[3], dims[4], dims[5], shared, stream, params, NULL);
}
*/
import "C"

import (
	"unsafe"

	"gorgonia.org/cu"
)

// Launch enqueues a kernel on s: cu.Function.Launch in one cgo call and without allocation.
func Launch(f cu.Function, grid, block Dim, shared int, s cu.Stream, a *Args) error {
	dims := [6]C.uint{C.uint(grid.X), C.uint(grid.Y), C.uint(grid.Z), C.uint(block.X), C.uint(block.Y), C.uint(block.Z)}
	return result(C.cudax_launch(functionOf(f), &dims[0], C.uint(shared), streamOf(s),
		(*C.ulonglong)(unsafe.Pointer(&a.words[0])), C.int(a.n)))
}

// SetMaxDynamicShared raises the dynamic shared memory that f may use above the 48 KiB which every device gives.
func SetMaxDynamicShared(f cu.Function, bytes int) error {
	return result(C.cuFuncSetAttribute(functionOf(f), C.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, C.int(bytes)))
}

// Attributes are what the compiler made of a kernel.
type Attributes struct {
	Registers  int // of a thread
	Local      int // bytes of local memory of a thread: spilled registers and indexed arrays
	Shared     int // bytes of static shared memory of a block
	MaxThreads int // of a block
}

// FunctionAttributes reads the attributes of f.
func FunctionAttributes(f cu.Function) (Attributes, error) {
	var a Attributes
	for _, q := range []struct {
		dst  *int
		attr C.CUfunction_attribute
	}{
		{&a.Registers, C.CU_FUNC_ATTRIBUTE_NUM_REGS},
		{&a.Local, C.CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES},
		{&a.Shared, C.CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES},
		{&a.MaxThreads, C.CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK},
	} {
		var v C.int
		if err := result(C.cuFuncGetAttribute(&v, q.attr, functionOf(f))); err != nil {
			return a, err
		}
		*q.dst = int(v)
	}
	return a, nil
}
