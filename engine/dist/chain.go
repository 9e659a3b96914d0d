package dist

import (
	"errors"
	"fmt"
	"unsafe"

	"gorgonia.org/tensor"

	"mito/backend"
)

// Chain is a backend that adds to gradients in turn: before it adds to one it receives the sums over the pieces before, and then
// sends them to where the next piece is. Everything else is the backend's that it is made of.
type Chain struct {
	backend.Backend
	engine Engine

	grads  []*tensor.Dense // the flat tensors that gradients are views of
	active bool            // a pass is under way whose gradients are chained
	piece  int
	pieces int
	done   map[uintptr]bool // gradients of this pass that have had their turn
	late   []product        // products whose sums have not arrived yet
}

// product is a matrix product that adds to a gradient.
type product struct {
	c, a, b *tensor.Dense
	args    backend.MatMulArgs
}

// mostLate bounds the products that wait.
const mostLate = 4

// NewChain makes a chain of a backend.
func NewChain(b backend.Backend, e Engine) *Chain {
	return &Chain{Backend: b, engine: e, done: map[uintptr]bool{}}
}

// Base is the backend that the chain is made of.
func (c *Chain) Base() backend.Backend { return backend.Base(c.Backend) }

// Watch says which tensors gradients are parts of.
func (c *Chain) Watch(grads []*tensor.Dense) { c.grads = grads }

// begin begins the pass over a piece.
func (c *Chain) begin(piece, pieces int) {
	clear(c.done)
	c.active, c.piece, c.pieces = true, piece, pieces
}

// end ends a pass: what still waits is computed.
func (c *Chain) end() error {
	err := c.flush()
	c.active = false
	return err
}

// span is where a tensor lies in memory.
func span(t *tensor.Dense) (lo, hi uintptr) {
	lo = uintptr(unsafe.Pointer(unsafe.SliceData(t.Raw)))
	return lo, lo + uintptr(t.Shape().TotalSize())*t.Dtype().Size()
}

func overlap(a, b *tensor.Dense) bool {
	if a == nil || b == nil {
		return false
	}
	alo, ahi := span(a)
	blo, bhi := span(b)
	return alo < bhi && blo < ahi
}

// gradient says that a tensor is one that is chained now.
func (c *Chain) gradient(t *tensor.Dense) bool {
	if !c.active || t == nil {
		return false
	}
	for _, g := range c.grads {
		if overlap(g, t) {
			return true
		}
	}
	return false
}

func (c *Chain) before() int { return (c.piece + c.engine.Size() - 1) % c.engine.Size() }
func (c *Chain) after() int  { return (c.piece + 1) % c.engine.Size() }

// turn adds to gradients by f, when the sums over the pieces before are here.
func (c *Chain) turn(f func() error, grads ...*tensor.Dense) error {
	for _, g := range grads {
		at, _ := span(g)
		if c.done[at] {
			return errors.New("dist: a gradient is added to twice in one pass, which ranks cannot share; train this model in one process")
		}
		c.done[at] = true
		if c.piece > 0 {
			if err := c.engine.Receive(g, c.before()); err != nil {
				return fmt.Errorf("dist: sums from rank %d: %w", c.before(), err)
			}
		}
	}
	if err := f(); err != nil || c.piece == c.pieces-1 {
		return err
	}
	for _, g := range grads {
		if err := c.engine.Send(g, c.after()); err != nil {
			return fmt.Errorf("dist: sums to rank %d: %w", c.after(), err)
		}
	}
	return nil
}

// next computes the first of the products that wait.
func (c *Chain) next() error {
	p := c.late[0]
	c.late = append(c.late[:0], c.late[1:]...)
	return c.turn(func() error { return c.Backend.MatMul(p.c, p.a, p.b, p.args) }, p.c)
}

// flush computes the products that wait.
func (c *Chain) flush() error {
	for len(c.late) > 0 {
		if err := c.next(); err != nil {
			return err
		}
	}
	return nil
}

// advance computes those of them whose sums are here.
func (c *Chain) advance() error {
	for len(c.late) > 0 && (c.piece == 0 || c.engine.Ready(c.before())) {
		if err := c.next(); err != nil {
			return err
		}
	}
	return nil
}

// free computes what waits before one of the tensors that it reads is written to.
func (c *Chain) free(written ...*tensor.Dense) error {
	for _, p := range c.late {
		for _, t := range written {
			if overlap(t, p.a) || overlap(t, p.b) {
				return c.flush()
			}
		}
	}
	return nil
}

// MatMul implements backend.Linear. Products that add to gradients wait for their sums while others go on which do not write to
// what they read.
func (c *Chain) MatMul(dst, a, b *tensor.Dense, args backend.MatMulArgs) error {
	if c.gradient(dst) {
		c.late = append(c.late, product{dst, a, b, args})
		if len(c.late) > mostLate {
			return c.flush()
		}
		return c.advance()
	}
	if err := c.free(dst); err != nil {
		return err
	}
	if err := c.Backend.MatMul(dst, a, b, args); err != nil {
		return err
	}
	return c.advance()
}

// SumRows implements backend.Linear.
func (c *Chain) SumRows(dst, x *tensor.Dense) error {
	return c.add(func() error { return c.Backend.SumRows(dst, x) }, dst)
}

// RMSNormBackward implements backend.Norm.
func (c *Chain) RMSNormBackward(dx, dgain, dy, x, gain, rstd *tensor.Dense, accumulate bool) error {
	return c.add(func() error { return c.Backend.RMSNormBackward(dx, dgain, dy, x, gain, rstd, accumulate) }, dgain)
}

// LayerNormBackward implements backend.Norm.
func (c *Chain) LayerNormBackward(dx, dgain, dbias, dy, x, gain, mean, rstd *tensor.Dense, accumulate bool) error {
	return c.add(func() error {
		return c.Backend.LayerNormBackward(dx, dgain, dbias, dy, x, gain, mean, rstd, accumulate)
	}, dgain, dbias)
}

// EmbedBackward implements backend.Embedding.
func (c *Chain) EmbedBackward(dtable, dy, ids *tensor.Dense) error {
	return c.add(func() error { return c.Backend.EmbedBackward(dtable, dy, ids) }, dtable)
}

// add is an operation that adds to those of its tensors that are gradients.
func (c *Chain) add(f func() error, to ...*tensor.Dense) error {
	if err := c.flush(); err != nil {
		return err
	}
	var grads []*tensor.Dense
	for _, t := range to {
		if c.gradient(t) {
			grads = append(grads, t)
		}
	}
	return c.turn(f, grads...)
}
