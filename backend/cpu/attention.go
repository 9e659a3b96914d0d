package cpu

import (
	"gorgonia.org/tensor"

	"mito/backend"
	"mito/backend/internal/check"
	"mito/kernels/attn"
)

func shapeOf(a backend.AttentionArgs) attn.Shape {
	return attn.Shape{
		Batch: a.Batch, Time: a.Time, Heads: a.Heads, KVHeads: a.KVHeads, HeadDim: a.HeadDim,
		Window: a.Window, Scale: a.Scale,
	}
}

// Attention implements backend.Attention.
func (b *Backend) Attention(out, lse, q, k, v *tensor.Dense, args backend.AttentionArgs) error {
	if err := check.Attention(b, "Attention", out, lse, q, k, v, args); err != nil {
		return err
	}
	attn.Forward(f32(out), f32(lse), f32(q), f32(k), f32(v), shapeOf(args), b.pool)
	return nil
}

// AttentionBackward implements backend.Attention.
func (b *Backend) AttentionBackward(dq, dk, dv, dout, out, lse, q, k, v *tensor.Dense, args backend.AttentionArgs) error {
	if err := check.AttentionBackward(b, dq, dk, dv, dout, out, lse, q, k, v, args); err != nil {
		return err
	}
	attn.Backward(f32(dq), f32(dk), f32(dv), f32(dout), f32(out), f32(lse), f32(q), f32(k), f32(v), shapeOf(args), b.pool)
	return nil
}
