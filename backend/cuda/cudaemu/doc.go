// Package cudaemu runs mito's CUDA kernels on the host, from the same sources, behind the functions of the CUDA
// driver. Where it is linked in (build tags cuda and cudaemu), package cudrv finds this driver instead of NVIDIA's,
// so that everything but the silicon is tested on a machine without a GPU.
//
// Work that a stream was given waits there until the host waits for it, and copies that a kernel starts land when it waits for them:
// what relies on either coming sooner finds what was there before. [SetLanding] lets both come at once or at random moments too.
// After a kernel failed, every call fails until the context ends, as on a GPU.
//
// Kernels that misuse barriers, warp collectives or asynchronous copies fail with CUDA_ERROR_LAUNCH_FAILED, and
// [LastFault] says what they did. Built with -asan, reads and writes outside allocations and shared arrays are found
// as well.
package cudaemu
