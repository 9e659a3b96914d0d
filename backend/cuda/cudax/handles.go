//go:build cuda

package cudax

// #include <cuda.h>
import "C"

import (
	"unsafe"

	"gorgonia.org/cu"
)

// cu keeps its handles in structs of one C pointer. Its C types are not those of this package, so they pass through
// memory; the arrays below fail to compile where a layout is not what that assumes.
func streamOf(s cu.Stream) C.CUstream       { return *(*C.CUstream)(unsafe.Pointer(&s)) }
func functionOf(f cu.Function) C.CUfunction { return *(*C.CUfunction)(unsafe.Pointer(&f)) }
func moduleFrom(m C.CUmodule) cu.Module     { return *(*cu.Module)(unsafe.Pointer(&m)) }

// StreamHandle is a stream as libraries of C take it.
func StreamHandle(s cu.Stream) uintptr { return *(*uintptr)(unsafe.Pointer(&s)) }

const pointerSize = unsafe.Sizeof(uintptr(0))

var (
	_ [unsafe.Sizeof(cu.Stream{}) - pointerSize]struct{}
	_ [pointerSize - unsafe.Sizeof(cu.Stream{})]struct{}
	_ [unsafe.Sizeof(cu.Function{}) - pointerSize]struct{}
	_ [pointerSize - unsafe.Sizeof(cu.Function{})]struct{}
	_ [unsafe.Sizeof(cu.Module{}) - pointerSize]struct{}
	_ [pointerSize - unsafe.Sizeof(cu.Module{})]struct{}
)
