// Package cuda is the backend on an NVIDIA GPU of compute capability 8.0 or later, with a driver of CUDA 11.8
// or later, through gorgonia.org/cu.
//
// Building with -tags cuda needs cgo and one environment line, and no CUDA toolkit:
//
//	CGO_CFLAGS="-O2 -I$PWD/backend/cuda/include" go build -tags cuda ./...
//
// gorgonia.org/cu includes <cuda.h>; the line lets it find mito's own declarations of the driver. Without the line it
// builds where the headers of CUDA 11 or 12 are installed. Without -tags cuda opening the backend says that it is not
// built in.
//
// The program starts on a machine without driver or GPU: package cudrv finds the driver when the program runs, and
// opening the backend says what is missing. With the tags cuda and cudaemu, package cudaemu takes the driver's place
// and runs the kernels on the host.
//
// Also without -tags cuda, [OpenPaper] opens the backend on a card that is not there: what would be sent to it is noted, and
// [Note.Cost] says what each launch needs at least.
//
// # How it works
//
// One goroutine, locked to its thread, owns the device's primary context, one stream and the launch table; operations
// send it launches through a queue and return at once. An error that comes to light there is kept and returned, as a
// *backend.DeviceError, by every later call: results after it mean nothing. Memory is a few slabs, reserved before the
// first step, and a workspace of fixed size for partial sums; nothing is allocated while training. [Backend.Capture]
// records a sequence of operations as a CUDA graph that one call replays. A product is held back until the next call, so
// that an addition or a ReLU of its result becomes its epilogue; products of one shape, such as those of queries, keys and values,
// share a launch, also where the gradients of weights alternate with those of inputs. Parts of a long sum are added up, in
// order, by the block that comes last. Muon updates all matrices at once.
//
// With [backend.BFloat16] matrix products and attention run on tensor cores with factors rounded to bfloat16 and
// float32 sums, and a model's activations and their gradients are stored in bfloat16, but for the residual stream. They stay
// float32 in models with adapters or other products than those of plain weights, with rounding in training for INT8, or with
// per-layer embeddings; where several ranks train one model; and with [backend.CublasLt] where the library is installed, which
// takes factors of float32. One kernel takes both dtypes: it is told which of its tensors are of which. With [backend.Float32] a
// matrix product is one chain of fused multiply-adds over k for each element, as on the CPU. Norms' forward passes,
// activations, RoPE, AdamW and the INT8 operations have the CPU's bits in both.
// Nothing depends on the order in which the device runs blocks: no float is added atomically. [backend.CublasLt] is the
// exception: which of two kernels is faster is measured, so bits may differ from run to run.
//
// # Tests
//
// With the emulator (conformance, thread orders, training against the CPU, AddressSanitizer):
//
//	export CGO_CFLAGS="-O2 -I$PWD/backend/cuda/include"
//	go test -tags cuda,cudaemu ./backend/cuda/... ./kernels/cuda ./engine/student/seam
//	go test -asan -tags cuda,cudaemu -run 'Conformance|ManyRows|OutOfBounds' ./backend/cuda/...
//
// On a GPU the same tests run with -tags cuda alone, and bench/gpu.sh runs them, compute-sanitizer and the benchmarks on
// a machine without Go.
package cuda
