// Package backendtest is the conformance suite of package backend: every backend passes the same cases.
//
// A case is one call of one operation on random inputs, with the results that kernels/ref expects. The same cases
// serve four uses: [Run] compares values and gradients and checks what else the seam promises (poisoned outputs,
// aliasing, accumulation, typed errors, rows in pieces); [Outputs] collects the bits of every result, to compare two
// backends or two numbers of threads; [Allocations] checks that a warm backend allocates nothing; [Benchmark] times.
//
// Tolerances are derived and stand in one table, tolerance.go. INT8 operations and the others that follow
// engine/student/SPEC.md are compared to the bit.
package backendtest
