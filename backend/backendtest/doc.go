// Package backendtest is the conformance suite of package backend: every backend passes the same cases.
//
// A case is one call of one operation on random inputs, with the results that kernels/ref expects. The same cases
// serve four uses: [Run] compares values and gradients and checks what else the seam promises (poisoned outputs,
// aliasing, accumulation, typed errors, rows in pieces); [Outputs] collects the bits of every result, to compare two
// backends or two numbers of threads; [Allocations] checks that a warm backend allocates nothing; [Benchmark] times.
//
// A case says everything about its operation: the tensor arguments, which are spoilt one by one, the calls that must be
// refused, and for each result the tolerance with its derivation in the terms of tolerance.go. Run prints the largest error
// of every result in parts of its tolerance and fails where that is below a tenth. INT8 operations and the others that
// follow engine/student/SPEC.md are compared to the bit.
package backendtest
