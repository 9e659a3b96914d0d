// Package vec holds the float32 vector kernels of mito: exponentials, sums, norms, activations, rotary positions,
// INT8 quantisation of activations, losses and the AdamW update.
//
// # Stated arithmetic
//
// Every function here computes the same bits in every variant (generic Go, AVX2, AVX-512, NEON), on every processor that
// has IEEE 754 binary32 arithmetic, and can be restated in C99 compiled with -ffp-contract=off. For that:
//
//   - Every product, sum, difference, quotient and square root is rounded once, to nearest even, to binary32; products are
//     never fused into sums. In this text float32(a*b)+c is such a pair of roundings. Denormals are kept.
//   - No mathematical library is used: Exp1, Log1 and RSqrt1 are stated polynomials.
//   - A sum over i = 0..n-1 runs in eight lanes that start at +0: element i is added to lane i%8, i ascending. Then the lanes
//     are added as ((l0+l4)+(l2+l6)) + ((l1+l5)+(l3+l7)). An empty sum is +0.
//   - Conversions from int32 round to nearest even; conversions to integers truncate values that are known to fit.
//
// NaN is kept as NaN, but its payload and sign are not specified: never hash one.
//
// # Calling conventions
//
// The length of an operation is that of its first slice argument; the others must be at least as long (or nil where the
// function says so), otherwise the call panics as an index out of range does. Elementwise functions may run in place: dst may be
// exactly one of the inputs, but must not overlap one in any other way. Nothing here allocates, and nothing starts
// goroutines: callers split rows.
//
// Backward functions set dx and add to gradients of parameters (dgain, dbias). Letters: n row length, V vocabulary,
// D head dimension, T temperature.
package vec

// head returns x[:n] and panics when x is shorter, however large its capacity is.
func head[E any](x []E, n int) []E { return x[:n:len(x)] }
