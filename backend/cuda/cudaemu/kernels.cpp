//go:build cuda && cudaemu

#include "all.cu"
