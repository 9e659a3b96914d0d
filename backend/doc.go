// Package backend is the seam between the engine and the machine it runs on.
//
// A [Backend] owns memory and a fixed set of transformer-grained operations. Every tensor at the seam is a
// row-major, contiguous *tensor.Dense whose Engine is the backend that owns its memory, so a tensor says where it
// lives and host arithmetic on device memory refuses instead of crashing. Operations write into tensors that the
// caller made (destination passing): steady-state training allocates nothing.
//
// # Letters
//
// Shapes are written with the same letters everywhere:
//
//	B batch   T time   C channels (model width)   H query heads   G key/value heads   D head width
//	F width of the MLP   V vocabulary   N rows, usually B·T   M N K the three sizes of a matrix product
//
// The dtype act is F32 or, on backends whose [ActivationType] is BF16, that: an operation computes in float32 and rounds what it
// stores to the nearest bfloat16.
//
// An operation that takes [N,C] accepts any tensor whose last dimension is C and whose leading dimensions
// multiply to N, so [B,T,C] needs no reshaping.
//
// # Rules that hold for every operation
//
//   - Shapes, dtypes and owners are checked before anything is launched; what does not fit is a [*ShapeError],
//     [*DTypeError], [*OwnerError] or [*ArgError], all of them [ErrArgument], never a panic. The checks live in
//     internal/check, one per operation, and every backend calls the same one.
//   - Work is ordered: operations take effect in the order of the calls. A backend may run behind the caller;
//     then an error of the device surfaces at a later call or at Synchronize as a [*DeviceError].
//   - Destinations may alias a source only where the operation says so.
//   - Arguments named d<x> are gradients with respect to <x>. Gradients of parameters are added to
//     (accumulated); gradients of activations are set.
//   - Sums over rows run in row order, as one chain per element that starts from the destination. So gradients
//     accumulated over micro-batches have the bits of one large batch on the CPU backend.
//   - On the CPU backend no result depends on the number of threads.
//
// # Adding an operation
//
// These files change, and no others; X is the group of the operation (linear, elementwise, norm, …):
//
//	backend/X.go                     the method of the interface: equation, shapes, aliasing
//	backend/internal/check/ops.go    the check of its arguments (quant.go for the student's operations)
//	backend/cpu/X.go                 the CPU's method and its task
//	backend/cuda/X.go                the launch
//	backend/cuda/cost_table.go       what a launch moves and computes
//	kernels/cuda/X.cu                the kernel
//	kernels/cuda/ptx/X.ptx           } written by go generate ./kernels/cuda
//	kernels/cuda/ptx/MANIFEST        }
//	kernels/cuda/table.go            }
//	kernels/ref/X.go                 the float64 oracle, where the case does not say it in a line
//	backend/backendtest/X.go         the case: arguments, refusals, tolerance
//
// The suite reads the list of operations off the interface and fails without a case. A vector kernel of its own for the CPU
// belongs to kernels/vec and is optional.
package backend
