//go:build cuda

// Package cudrv stands in for libcuda.so.1 at link time.
//
// gorgonia.org/cu links against the CUDA driver and ends the process in an init function where that does not
// start. This package defines every driver function that the program links against as a forwarder to the driver
// found at run time by dlopen. So no driver is needed to build, a program built with CUDA starts on every machine,
// and [Available] tells whether there is a GPU to use.
package cudrv

/*
#cgo linux CFLAGS: -O2
#cgo linux LDFLAGS: -L${SRCDIR}/lib -Wl,--as-needed -ldl
#include <stdlib.h>
#include "shim.h"
*/
import "C"

import (
	"errors"
	"unsafe"
)

// Available returns nil where a driver was loaded and started, and otherwise an error that says what is missing.
// Until it returned nil, every driver function returns CUDA_ERROR_NO_DEVICE.
func Available() error {
	if C.cudrv_status() == 0 {
		return nil
	}
	return errors.New(C.GoString(C.cudrv_reason()))
}

// Has tells whether the driver that was loaded has the named entry point. Calling one that it lacks returns
// CUDA_ERROR_NOT_FOUND.
func Has(name string) bool {
	s := C.CString(name)
	defer C.free(unsafe.Pointer(s))
	return C.cudrv_has(s) != 0
}
