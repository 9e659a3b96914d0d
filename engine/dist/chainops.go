package dist

import (
	"gorgonia.org/tensor"

	"mito/backend"
)

// The operations of a backward pass that write to tensors which a product that waits may still have to read.

// Add implements backend.Elementwise.
func (c *Chain) Add(dst, a, b *tensor.Dense) error {
	if err := c.free(dst); err != nil {
		return err
	}
	return c.Backend.Add(dst, a, b)
}

// Mul implements backend.Elementwise.
func (c *Chain) Mul(dst, a, b *tensor.Dense) error {
	if err := c.free(dst); err != nil {
		return err
	}
	return c.Backend.Mul(dst, a, b)
}

// ActivateBackward implements backend.Elementwise.
func (c *Chain) ActivateBackward(dx, dy, x *tensor.Dense, act backend.Activation) error {
	if err := c.free(dx); err != nil {
		return err
	}
	return c.Backend.ActivateBackward(dx, dy, x, act)
}

// SwiGLUBackward implements backend.Elementwise.
func (c *Chain) SwiGLUBackward(dgate, dup, dy, gate, up *tensor.Dense) error {
	if err := c.free(dgate, dup); err != nil {
		return err
	}
	return c.Backend.SwiGLUBackward(dgate, dup, dy, gate, up)
}

// Dropout implements backend.Elementwise.
func (c *Chain) Dropout(dst, x *tensor.Dense, args backend.DropoutArgs) error {
	if err := c.free(dst); err != nil {
		return err
	}
	return c.Backend.Dropout(dst, x, args)
}

// AttentionBackward implements backend.Attention.
func (c *Chain) AttentionBackward(dq, dk, dv, dout, out, lse, q, k, v *tensor.Dense, args backend.AttentionArgs) error {
	if err := c.free(dq, dk, dv); err != nil {
		return err
	}
	return c.Backend.AttentionBackward(dq, dk, dv, dout, out, lse, q, k, v, args)
}

// Embed implements backend.Embedding.
func (c *Chain) Embed(dst, table, ids *tensor.Dense, accumulate bool) error {
	if err := c.free(dst); err != nil {
		return err
	}
	return c.Backend.Embed(dst, table, ids, accumulate)
}

// RoPE implements backend.Embedding.
func (c *Chain) RoPE(x, positions, cos, sin *tensor.Dense, inverse bool) error {
	if err := c.free(x); err != nil {
		return err
	}
	return c.Backend.RoPE(x, positions, cos, sin, inverse)
}

// Upload implements backend.Memory.
func (c *Chain) Upload(dst *tensor.Dense, src any) error {
	if err := c.free(dst); err != nil {
		return err
	}
	return c.Backend.Upload(dst, src)
}

// Copy implements backend.Memory.
func (c *Chain) Copy(dst, src *tensor.Dense) error {
	if err := c.free(dst); err != nil {
		return err
	}
	return c.Backend.Copy(dst, src)
}

// Zero implements backend.Memory.
func (c *Chain) Zero(t *tensor.Dense) error {
	if err := c.free(t); err != nil {
		return err
	}
	return c.Backend.Zero(t)
}
