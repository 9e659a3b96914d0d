package backend

import (
	"gorgonia.org/tensor"

	"mito/kernels/blocks"
)

// MatMulArgs selects the form of MatMul.
type MatMulArgs struct {
	TransA     bool          // a is stored [K,M]
	TransB     bool          // b is stored [N,K], as the weight of a linear layer
	Accumulate bool          // add to c instead of overwriting it; not together with Bias
	Bias       *tensor.Dense // [N] added to every row, or nil
	Add        *tensor.Dense // [M,N] f32 added to the finished result, or nil; not together with Accumulate
	Alpha      float32       // factor α of the product, not of c or bias; 0 means 1, which changes no bit

	// Live lists the 4×8 blocks of b, as it is stored, that hold something; nil for all. The others are zero, and a backend may
	// leave them out: that changes no bit of a product whose factors are finite.
	Live *blocks.Index
	// Wanted lists the 4×8 blocks of c that are asked for; nil for all. A backend computes the others or leaves them as they are.
	Wanted *blocks.Index
}

// Linear groups the matrix products.
type Linear interface {
	// MatMul computes c = Add + (α·op(a)·op(b) + bias), or c += α·op(a)·op(b). α is finite.
	//
	//	c [M,N] act   a [M,K] act ([K,M] with TransA)   b [K,N] act ([N,K] with TransB)
	//
	// Each element is one chain over k, ascending, that starts from c, from the bias or from zero; α·op(b) is rounded
	// before the chain begins. c must not alias a, b or Add.
	MatMul(c, a, b *tensor.Dense, args MatMulArgs) error

	// SumRows adds the rows of x to dst, in row order: the gradient of a bias.
	//
	//	dst [C] f32   x [N,C] act
	SumRows(dst, x *tensor.Dense) error
}
