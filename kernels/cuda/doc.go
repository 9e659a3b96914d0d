// Package cuda holds mito's CUDA kernels: their sources (*.cu), the PTX that they compile to (ptx), and the table by
// which package backend/cuda launches them.
//
// The sources compile with nvcc, with clang and with a C++ compiler against the emulator of backend/cuda/cudaemu.
// The PTX is committed, so that building mito needs no CUDA toolkit; ptx/MANIFEST names the compiler and the hashes of
// sources and results, and a test fails where they disagree. `go generate` makes PTX, MANIFEST and the launch table
// (table.go) anew where nvcc 11.8 is installed: package nvidia-cuda-toolkit of Debian 12, section non-free.
//
// # Files
//
//	device.cuh       one language for three compilers; block and warp sums
//	clang.cuh        what clang lacks without a CUDA toolkit
//	mma.cuh          tensor-core, ldmatrix and asynchronous-copy instructions
//	step.cuh         the scalars of a training step
//	attention.cuh    which queries see which keys
//	epilogue.cuh     what a product does with its result on the way to memory
//	stated.cuh       the stated arithmetic of kernels/vec, with explicit rounding
//	gemm_*.cuh       tiles of matrix products in float32 and bfloat16; gemm_pipe.cuh copies their operands several steps ahead
//	gemm_*.cu        the products: several of one shape in a launch, parts of a long sum added up at its end
//	muon.cuh         the matrices of one call of Muon
//	muon*.cu         Muon of all matrices at once
//	attention_*.cu   attention forward and backward in float32 and bfloat16
//	quant.cu         the student's INT8 operations
//	embed_sort.cu    rows of a batch sorted by their ids
//	elementwise, norm, reduce, embedding, loss, optim
//
// resources.txt says how many registers, how much shared memory and how many blocks a multiprocessor each kernel takes;
// bench/gpu_static.sh writes it and compares, without a GPU.
//
// Every kernel gives the same bits from run to run: sums have a fixed order and no float is added atomically.
package cuda

//go:generate ./generate.sh
//go:generate go test -run TestTable -update .
