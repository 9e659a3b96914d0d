//go:build cuda

package cudax

// #include <cuda.h>
import "C"

import "fmt"

// Error is a CUresult other than CUDA_SUCCESS.
type Error int

// Results that callers tell apart.
const (
	ErrInvalidValue Error = C.CUDA_ERROR_INVALID_VALUE
	ErrOutOfMemory  Error = C.CUDA_ERROR_OUT_OF_MEMORY
	ErrNoDevice     Error = C.CUDA_ERROR_NO_DEVICE
	ErrNotFound     Error = C.CUDA_ERROR_NOT_FOUND
	ErrLaunchFailed Error = C.CUDA_ERROR_LAUNCH_FAILED
)

// Error gives the driver's name and description of the result.
func (e Error) Error() string {
	var name, text *C.char
	if C.cuGetErrorName(C.CUresult(e), &name) != 0 || name == nil {
		return fmt.Sprintf("CUDA error %d", int(e))
	}
	if C.cuGetErrorString(C.CUresult(e), &text) != 0 || text == nil {
		return C.GoString(name)
	}
	return C.GoString(name) + ": " + C.GoString(text)
}

func result(r C.CUresult) error {
	if r == C.CUDA_SUCCESS {
		return nil
	}
	return Error(r)
}
