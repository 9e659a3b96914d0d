//go:build cuda

package cudax

// #include <cuda.h>
import "C"

import (
	"math"
	"unsafe"

	"gorgonia.org/cu"
)

// AllocPinned returns n bytes of page-locked host memory, from and to which copies run beside the host.
func AllocPinned(n int) ([]byte, error) {
	var p unsafe.Pointer
	if err := result(C.cuMemHostAlloc(&p, C.size_t(n), C.CU_MEMHOSTALLOC_PORTABLE)); err != nil {
		return nil, err
	}
	return unsafe.Slice((*byte)(p), n), nil
}

// FreePinned releases what AllocPinned returned.
func FreePinned(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	return result(C.cuMemFreeHost(unsafe.Pointer(&b[0])))
}

// AllocAsync allocates n bytes in stream order from the device's default pool.
func AllocAsync(n int64, s cu.Stream) (cu.DevicePtr, error) {
	var p C.CUdeviceptr
	err := result(C.cuMemAllocAsync(&p, C.size_t(n), streamOf(s)))
	return cu.DevicePtr(p), err
}

// FreeAsync gives memory back to the pool in stream order.
func FreeAsync(p cu.DevicePtr, s cu.Stream) error {
	return result(C.cuMemFreeAsync(C.CUdeviceptr(p), streamOf(s)))
}

// KeepPool makes the default pool of d keep what is freed instead of returning it at every synchronisation.
func KeepPool(d cu.Device) error {
	var pool C.CUmemoryPool
	if err := result(C.cuDeviceGetDefaultMemPool(&pool, C.CUdevice(d))); err != nil {
		return err
	}
	threshold := C.cuuint64_t(math.MaxUint64)
	return result(C.cuMemPoolSetAttribute(pool, C.CU_MEMPOOL_ATTR_RELEASE_THRESHOLD, unsafe.Pointer(&threshold)))
}

// Memset fills n bytes at p with b, in stream order.
func Memset(p cu.DevicePtr, b byte, n int64, s cu.Stream) error {
	return result(C.cuMemsetD8Async(C.CUdeviceptr(p), C.uchar(b), C.size_t(n), streamOf(s)))
}

// Synchronize waits for what was enqueued on s. Unlike cu's, its error has the driver's description.
func Synchronize(s cu.Stream) error { return result(C.cuStreamSynchronize(streamOf(s))) }
