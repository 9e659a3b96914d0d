//go:build cuda && cudaemu

package cudaemu

// #cgo CXXFLAGS: -std=c++17 -O2 -Wall -Wno-unknown-pragmas -I${SRCDIR}/include -I${SRCDIR}/../../../kernels/cuda
// #cgo asan CXXFLAGS: -fsanitize=address
// #cgo CFLAGS: -O2
// #cgo LDFLAGS: -lpthread
// #include "cudaemu.h"
import "C"

// The kernels are compiled into this package from where they stand; importing what embeds their sources makes the
// build cache see a change of them.
import (
	_ "embed"
	"time"

	_ "mito/kernels/cuda"
)

// faultSource is compiled in as well.
//
//go:embed faults.cu
var _ string

// SetOrder sets the order in which the threads of a block run between barriers: 0 ascending, 1 descending, and any
// other number seeds a shuffle. A kernel without races gives the same result in each.
func SetOrder(order uint) { C.cudaemu_set_order(C.uint(order)) }

// The values of SetLanding that are not seeds.
const (
	LandLate = iota
	LandAtOnce
)

// SetLanding sets when work lands that nobody has waited for yet, in streams and in asynchronous copies of kernels: as late as
// possible (0, as at first), at once (1), or at random moments, copies out of order (any other number, a seed). What waits where
// it must gives the same result in each.
func SetLanding(how uint) { C.cudaemu_set_landing(C.uint(how)) }

// SetThreads sets how many OS threads run blocks; 1 at first.
func SetThreads(n int) { C.cudaemu_set_threads(C.int(n)) }

// SetMemory sets the size in bytes of the emulated device's memory; 4 GiB at first.
func SetMemory(bytes int64) { C.cudaemu_set_memory(C.ulonglong(bytes)) }

// SetMultiprocessors sets how many multiprocessors the device says that it has, to backends opened afterwards; 4 at first.
// Kernels are cut by that number: cards of 108 and 132 take other paths.
func SetMultiprocessors(n int) { C.cudaemu_set_multiprocessors(C.int(n)) }

// SetMaxShared sets how many bytes of shared memory a block may ask for, to backends opened afterwards: 163 KiB at first, 227 KiB
// at most.
func SetMaxShared(bytes int) { C.cudaemu_set_max_shared(C.int(bytes)) }

// SetCublasLt says whether there is a cuBLASLt, whether it starts, and how long it waits before a product; there is none at first.
func SetCublasLt(there, starts bool, delay time.Duration) {
	flag := func(v bool) C.int {
		if v {
			return 1
		}
		return 0
	}
	C.cudaemu_set_cublaslt(flag(there), flag(starts), C.int(delay.Milliseconds()))
}

// CublasLtProducts counts the products that cuBLASLt was asked for.
func CublasLtProducts() int { return int(C.cudaemu_cublaslt_products()) }

// LastFault says why a kernel last failed, or is empty.
func LastFault() string { return C.GoString(C.cudaemu_last_fault()) }
