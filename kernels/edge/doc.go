// Package edge fuses what the student computes between two matrix products: chains of kernels/vec functions over one short
// row, where calls and passes over memory cost more than the arithmetic. Every function has the bits of the chain it
// names, in every variant.
package edge
