//go:build cuda

package cudax

/*
#include <cuda.h>
#include <stdint.h>
#include <stdlib.h>

static CUresult cudax_load(CUmodule *module, const char *image, char *log, unsigned size) {
	CUjit_option options[] = {CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES};
	void *values[] = {log, (void *)(uintptr_t)size};
	return cuModuleLoadDataEx(module, image, 2, options, values);
}
*/
import "C"

import (
	"fmt"
	"strings"
	"unsafe"

	"gorgonia.org/cu"
)

// LoadPTX compiles a PTX image for the device of the current context. The error carries the compiler's log.
func LoadPTX(image string) (cu.Module, error) {
	text := C.CString(image)
	defer C.free(unsafe.Pointer(text))
	const size = 8 << 10
	log := (*C.char)(C.calloc(1, size))
	defer C.free(unsafe.Pointer(log))
	var m C.CUmodule
	if err := result(C.cudax_load(&m, text, log, size)); err != nil {
		if said := strings.TrimSpace(C.GoString(log)); said != "" {
			return cu.Module{}, fmt.Errorf("%w: %s", err, said)
		}
		return cu.Module{}, err
	}
	return moduleFrom(m), nil
}
