package cpu

import (
	"gorgonia.org/tensor"

	"mito/backend"
	"mito/backend/internal/check"
	"mito/kernels/attn"
)

// shapeOf is what the kernels want to know. Starts that the kernels cannot use are an error.
func shapeOf(op string, a backend.AttentionArgs) (attn.Shape, error) {
	s := attn.Shape{
		Batch: a.Batch, Time: a.Time, Heads: a.Heads, KVHeads: a.KVHeads, HeadDim: a.HeadDim,
		Window: a.Window, Scale: a.Scale,
	}
	if a.Starts == nil {
		return s, nil
	}
	s.Starts = i32(a.Starts)
	if err := s.CheckStarts(); err != nil {
		return s, &backend.ArgError{Op: op, Arg: "starts", Got: err, Want: "rows that each row sees"}
	}
	return s, nil
}

// Attention implements backend.Attention.
func (b *Backend) Attention(out, lse, q, k, v *tensor.Dense, args backend.AttentionArgs) error {
	if err := check.Attention(b, "Attention", out, lse, q, k, v, args); err != nil {
		return err
	}
	s, err := shapeOf("Attention", args)
	if err != nil {
		return err
	}
	attn.Forward(f32(out), f32(lse), f32(q), f32(k), f32(v), s, b.pool)
	return nil
}

// AttentionBackward implements backend.Attention.
func (b *Backend) AttentionBackward(dq, dk, dv, dout, out, lse, q, k, v *tensor.Dense, args backend.AttentionArgs) error {
	if err := check.AttentionBackward(b, dq, dk, dv, dout, out, lse, q, k, v, args); err != nil {
		return err
	}
	s, err := shapeOf("AttentionBackward", args)
	if err != nil {
		return err
	}
	attn.Backward(f32(dq), f32(dk), f32(dv), f32(dout), f32(out), f32(lse), f32(q), f32(k), f32(v), s, b.pool)
	return nil
}
