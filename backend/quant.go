package backend

import "gorgonia.org/tensor"

// NormKind selects the normalisation of StudentNorm.
type NormKind int

const (
	RMS   NormKind = iota // RMSNorm
	Layer                 // LayerNorm
)

// Quant groups the INT8 operations of the student. All follow engine/student/SPEC.md to the bit on every backend.
// Add, Activate and RoPE also have the student's bits and are used with these.
type Quant interface {
	// QuantizeRows quantises each row symmetrically to [-127,127] with its own scale.
	//
	//	q [N,K] i8   scale [N] f32   x [N,K] f32
	QuantizeRows(q, scale, x *tensor.Dense) error

	// QLinear computes y = (xq·wᵀ)·(xscale·wscale) + bias with exact int32 accumulation. xq and w hold no -128; the
	// CPU refuses such a w.
	//
	//	y [N,M] f32   xq [N,K] i8   xscale [N] f32   w [M,K] i8   wscale [M] f32   bias [M] f32 or nil
	QLinear(y, xq, xscale, w, wscale, bias *tensor.Dense) error

	// QEmbed computes y[n] = table[ids[n]]·scale[ids[n]].
	//
	//	y [N,C] f32   table [V,C] i8   scale [V] f32   ids [N] i32
	QEmbed(y, table, scale, ids *tensor.Dense) error

	// StudentNorm normalises rows in the student's summation order.
	//
	//	y, x [N,C] f32   gain, bias [C] f32, bias nil for none
	StudentNorm(y, x, gain, bias *tensor.Dense, kind NormKind, eps float32) error

	// QAttention is the student's causal attention over whole sequences: keys and values are quantised per head
	// and token as the INT8 cache holds them.
	//
	//	out, q [B,T,H·D] f32   k, v [B,T,G·D] f32
	QAttention(out, q, k, v *tensor.Dense, args AttentionArgs) error
}

// BlockSparse is an INT8 matrix [M,K] of 4×8 blocks (4 rows, 8 columns): the blocks of block row r are
// RowPtr[r] to RowPtr[r+1], each with its block column and its 32 weights, row by row. Tensors are not empty, so a
// matrix of zeros stores one block of them. Backends whose memory the host can read refuse indices that are not so.
type BlockSparse struct {
	M, K    int
	Values  *tensor.Dense // [blocks,32] i8
	Columns *tensor.Dense // [blocks] i32, ascending within a block row
	RowPtr  *tensor.Dense // [M/4+1] i32, from 0 to the number of blocks
}

// Sparse groups the operations on sparse weights.
type Sparse interface {
	// QSparseLinear is QLinear with a block-sparse weight; it has the bits of QLinear on the same matrix with its
	// zeros stored.
	//
	//	y [N,M] f32   xq [N,K] i8   xscale [N] f32   wscale [M] f32   bias [M] f32 or nil
	QSparseLinear(y, xq, xscale *tensor.Dense, w BlockSparse, wscale, bias *tensor.Dense) error
}
