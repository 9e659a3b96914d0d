package backend

import (
	"fmt"

	"gorgonia.org/tensor"
)

// Activation names the non-linearity of an MLP.
type Activation int

const (
	ReLU  Activation = iota // max(x,0)
	ReLU2                   // max(x,0)², Primer, arXiv:2109.08668
	GELU                    // ½x(1+tanh(√(2/π)(x+0.044715x³))), arXiv:1606.08415
	SiLU                    // x·σ(x), arXiv:1702.03118

	// ReLU2Output is ReLU2 whose backward pass is given y = max(x,0)² in the place of x: the slope is 2√y. So the result may take
	// the place of the argument.
	ReLU2Output
)

func (a Activation) String() string {
	switch a {
	case ReLU:
		return "relu"
	case ReLU2:
		return "relu2"
	case GELU:
		return "gelu"
	case SiLU:
		return "silu"
	case ReLU2Output:
		return "relu2-output"
	}
	return fmt.Sprintf("Activation(%d)", int(a))
}

// DropoutArgs makes a dropout mask a pure function of its fields, so that forward and backward agree, a resumed
// run draws the same mask, and a batch cut into micro-batches draws the mask of the whole batch.
type DropoutArgs struct {
	Rate float32       // probability of dropping an element, in [0,1)
	Seed uint64        // of the run, the step and the layer, mixed by the caller; of the layer alone with Step
	Row  int64         // index of the first row of x in the whole batch
	Step *tensor.Dense // [StepLen], whose seed is added to Seed (mod 2⁶⁴), or nil
}

// Elementwise groups operations without interaction between rows.
type Elementwise interface {
	// Add computes dst = a + b. All have the same number of elements; dst may alias a or b.
	Add(dst, a, b *tensor.Dense) error
	// Mul computes dst = a·b by element: a weight or a gradient times its mask. All have the same number of elements;
	// dst may alias a or b.
	Mul(dst, a, b *tensor.Dense) error

	// Cast computes dst = x in the dtype of dst, rounded to nearest even where that is the narrower. dst must not alias x.
	//
	//	dst, x act of one size
	Cast(dst, x *tensor.Dense) error

	// Activate computes dst = act(x). dst may alias x. The tensors of this and the next three are all act of one dtype.
	Activate(dst, x *tensor.Dense, act Activation) error
	// ActivateBackward computes dx = dy·act'(x), of ReLU2Output from its result x. dx may alias dy.
	ActivateBackward(dx, dy, x *tensor.Dense, act Activation) error

	// SwiGLU computes dst = silu(gate)·up, arXiv:2002.05202. dst may alias gate or up.
	SwiGLU(dst, gate, up *tensor.Dense) error
	// SwiGLUBackward sets dgate and dup. dgate may alias dy.
	SwiGLUBackward(dgate, dup, dy, gate, up *tensor.Dense) error

	// Dropout computes dst = x·mask/(1-rate), arXiv:1207.0580; applied to dy it is its own backward. Element
	// (row, c) is dropped when [DropoutHash] of (seed, row, c) falls below rate. dst may alias x.
	//
	//	dst, x [N,C] f32
	Dropout(dst, x *tensor.Dense, args DropoutArgs) error

	// Softmax computes dst = weight·softmax(x/temperature) by row, or adds that to dst: the mean of several
	// teachers is a sum of weights that add to one.
	//
	//	dst, x [N,V] f32, not aliased
	Softmax(dst, x *tensor.Dense, temperature, weight float32, accumulate bool) error
}

// DropoutHash maps an element to a uniform 32-bit number: the finaliser of MurmurHash3 over seed, row and column.
// Element is dropped when the hash is below rate·2³².
func DropoutHash(seed uint64, row int64, col int) uint32 {
	h := seed ^ uint64(row)*0x9e3779b97f4a7c15 ^ uint64(col)*0xc2b2ae3d27d4eb4f
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	h ^= h >> 33
	return uint32(h >> 32)
}
