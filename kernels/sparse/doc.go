// Package sparse multiplies INT8 activations by INT8 weights of which whole 4×8 blocks (4 rows, 8 columns) are zero. Sums
// are exact, so the results have the bits of kernels/qgemm on the same weights with their zeros stored.
//
// Letters: N weight rows (outputs), K weight columns (inputs), M activation rows.
//
// # Layout
//
// Only blocks that hold something are stored: 32 weights, row by row, one 32-byte load, and a 16-bit column index. Eight
// block rows (32 rows) form a slice and are worked on together, their blocks stored in turn: step j of a slice holds the
// j-th block of each of its eight block rows. Block rows are sorted by their number of blocks first, so that those of a slice
// have nearly the same and few blocks of zeros fill it up (SELL-C-σ, Kreutzer et al., arXiv:1307.6209). One loop count
// a slice is also one branch to predict instead of eight.
package sparse
