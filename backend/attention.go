package backend

import "gorgonia.org/tensor"

// AttentionArgs gives the shape of an attention call.
type AttentionArgs struct {
	Batch, Time, Heads, KVHeads, HeadDim int
	Window                               int     // a query sees itself and Window-1 positions before it; 0 means all
	Scale                                float32 // of the scores, usually 1/√D

	// Starts, where it is not nil, takes Window's place where rows are not consecutive positions, as behind dropped tokens:
	// [B,T] i32, the first row of its sequence that each row sees. It never falls within a sequence.
	Starts *tensor.Dense
}

// Attention groups causal attention for training.
type Attention interface {
	// Attention computes softmax(scale·q·kᵀ + causal window mask)·v without storing the T×T scores,
	// arXiv:2205.14135, with H/G query heads to a key/value head, arXiv:2305.13245.
	//
	//	out, q [B,T,H·D] act   k, v [B,T,G·D] act, all of one dtype   lse [B,T,H] f32 (log-sum-exp of the scaled scores)
	Attention(out, lse, q, k, v *tensor.Dense, args AttentionArgs) error
	// AttentionBackward sets dq, dk and dv, of the dtype of the inputs. None may alias an input.
	AttentionBackward(dq, dk, dv, dout, out, lse, q, k, v *tensor.Dense, args AttentionArgs) error
}
