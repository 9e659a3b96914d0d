//go:build cuda && cudaemu

// Every kernel, in a namespace of its own: a variable in shared memory of a function that other files could share would be kept out
// of the section where all of them lie.
#include "cuda_emu.h"

namespace {
#include "all.cu"
#include "faults.cu"
}  // namespace
