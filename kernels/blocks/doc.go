// Package blocks says which 4×8 blocks (4 rows, 8 columns) of a matrix hold something, so that products can leave the others out.
//
// It imports the standard library only, and everything may import it.
//
// Letters: N rows and K columns of the matrix.
package blocks
