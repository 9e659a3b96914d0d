// Package gemm multiplies float32 matrices: C [M,N] = A [M,K] · B [K,N], with either operand stored transposed, a
// bias, or added to what C holds.
//
// # Arithmetic
//
// Each element of C is one chain with k ascending,
//
//	c = start; for k = 0..K-1 { c = fma(A[i,k], B[k,j], c) }
//
// where start is C[i,j] (Accumulate), Bias[j] or 0. So no result depends on the number of threads, on how M or N is
// split over calls, or on how K is split over several accumulating calls: all of them give the same bits, which is what
// makes gradient accumulation exact. The assembly variants keep the chain of each element in one vector lane, vectorise
// over N, and carry it through memory from one block of K to the next; they give the same bits as each other. The generic
// variant rounds the product before the sum (a fused one is not cheap everywhere), so its bits differ from theirs.
//
// # Zero blocks
//
// A weight of which whole 4×8 blocks are zero (package blocks) multiplies without them: the forward product with the rows of A in
// the lanes, the gradient of A with the columns of a block in them, and the gradient of the weight only where blocks live. The bits
// are those of the dense product. Where the variant has no such kernels (NEON), where few blocks are zero and where A has few
// rows, the dense kernels run.
//
// # Letters
//
// M N K sizes; MR NR rows and columns of the register tile; KC NC the blocks of K and N that are packed at a time.
//
// Sizes and lengths are the caller's responsibility: a slice too short for its matrix panics, as an index out of range
// does.
package gemm
