// Package sparse multiplies INT8 activations by INT8 weights of which whole 4×8 blocks (4 rows, 8 columns) are zero. Sums
// are exact, so the results have the bits of kernels/qgemm on the same weights with their zeros stored.
//
// Letters: N weight rows (outputs), K weight columns (inputs), M activation rows.
//
// # Layout
//
// Only blocks that hold something are stored: 32 weights, and a 16-bit column index. Four blocks of neighbouring block rows,
// a quad, are together: first their rows 0 and 2, 16 bytes a block, then their rows 1 and 3. So one register of
// activations, of each block those that it needs, twice, serves two loads of weights, and a shift, a sum and a blend leave the
// sums of the four rows in their order, without a shuffle.
//
// Eight block rows (32 rows) form a slice and are worked on together, their blocks stored in turn: step j of a slice holds the
// j-th block of each of its eight block rows. Block rows are sorted by their number of blocks first, so that those of a slice
// have nearly the same (SELL-C-σ, Kreutzer et al., arXiv:1307.6209), and the first four of a slice may go on for some
// steps more than the others. At 50 to 75 % zero blocks, drawn at random, that leaves 4 to 6 % of filling in matrices of 96
// columns.
package sparse
