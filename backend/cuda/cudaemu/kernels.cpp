//go:build cuda && cudaemu

#include "all.cu"
#include "faults.cu"
