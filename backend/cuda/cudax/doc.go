//go:build cuda

// Package cudax adds to gorgonia.org/cu what that lacks, on cu's own handles: kernel launches in one cgo call and
// without allocation, stream capture with graph replay, page-locked host memory, stream-ordered allocation,
// function attributes, the compiler's log of a module that does not load, and cuBLAS of whichever version the
// machine has.
//
// As with cu, the calling goroutine must be locked to a thread in which a context is current.
package cudax

// #cgo CFLAGS: -I${SRCDIR}/../include
import "C"

import _ "mito/backend/cuda/cudrv" // takes the place of libcuda when linking
