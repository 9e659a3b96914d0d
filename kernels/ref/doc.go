// Package ref is the slow float64 oracle of mito's kernels: each function is the textbook equation, written to be read, on
// plain row-major slices. It imports nothing of mito. Kernels are tested against it within derived tolerances.
package ref
