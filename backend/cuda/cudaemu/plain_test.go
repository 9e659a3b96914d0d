//go:build cuda && cudaemu && !asan

package cudaemu_test

const sanitized = false
