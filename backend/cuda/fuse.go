package cuda

import (
	"mito/backend"
	"mito/backend/cuda/cudax"
)

// A product is held back until the next call. Where that is the activation of its result, the backward pass of one, or
// an addition to it, the product does both while its result is still in registers, which saves a pass over memory.
// Every other call sends the product first. So fused or not, every tensor holds the same bits after every call that
// looks.

// epilogue is what a product does with its result; the values are those of struct Epilogue in epilogue.cuh.
type epilogue struct {
	kind          int
	second, other cudax.Address
}

const (
	epiloguePlain = iota
	epilogueAdd
	epilogueReLU
	epilogueReLU2
	epilogueReLUBackward
	epilogueReLU2Backward
)

// pending is the product that is held back.
type pending struct {
	set bool
	op  string
	x   matrix
}

// hold keeps a product for the next call.
func (b *Backend) hold(op string, x matrix) error {
	if err := b.flush(); err != nil {
		return err
	}
	if err := b.queue.err(); err != nil {
		return err
	}
	b.pending = pending{true, op, x}
	return nil
}

// flush sends the product that is held back.
func (b *Backend) flush() error {
	if !b.pending.set {
		return nil
	}
	b.pending.set = false
	return b.product(b.pending.op, &b.pending.x)
}

// fuse gives the product that is held back an epilogue and sends it, where its result is c with n elements and the
// epilogue's tensors do not touch what the product still reads or writes. It tells whether it did.
func (b *Backend) fuse(c cudax.Address, n int, e epilogue) (bool, error) {
	x := &b.pending.x
	if !b.pending.set || x.c != c || x.m*x.n != n {
		return false, nil
	}
	bytes := cudax.Address(4 * n)
	apart := func(p, q cudax.Address, size cudax.Address) bool { return p+bytes <= q || q+size <= p }
	for _, p := range []cudax.Address{e.second, e.other} {
		if p != 0 && !apart(p, c, bytes) {
			return false, nil
		}
	}
	if s := e.second; s != 0 {
		clear := apart(s, x.a, cudax.Address(4*x.m*x.k)) && apart(s, x.b, cudax.Address(4*x.k*x.n)) &&
			(x.bias == 0 || apart(s, x.bias, cudax.Address(4*x.n))) &&
			(e.other == 0 || e.other == s || apart(s, e.other, bytes))
		if !clear {
			return false, nil
		}
	}
	x.epilogue = e
	return true, b.flush()
}

// fuseActivation is fuse for dst = act(x).
func (b *Backend) fuseActivation(dst, x cudax.Address, n int, act backend.Activation) (bool, error) {
	switch act {
	case backend.ReLU:
		return b.fuse(x, n, epilogue{kind: epilogueReLU, second: dst})
	case backend.ReLU2:
		return b.fuse(x, n, epilogue{kind: epilogueReLU2, second: dst})
	}
	return false, nil
}

// fuseActivationBackward is fuse for dx = dy·act'(x) in place.
func (b *Backend) fuseActivationBackward(dx, dy, x cudax.Address, n int, act backend.Activation) (bool, error) {
	if dx != dy {
		return false, nil
	}
	switch act {
	case backend.ReLU:
		return b.fuse(dy, n, epilogue{kind: epilogueReLUBackward, other: x})
	case backend.ReLU2:
		return b.fuse(dy, n, epilogue{kind: epilogueReLU2Backward, other: x})
	}
	return false, nil
}

// fuseAdd is fuse for dst = x + y, where one of them is the product.
func (b *Backend) fuseAdd(dst, x, y cudax.Address, n int) (bool, error) {
	if b.pending.set && b.pending.x.c == x {
		x, y = y, x
	}
	return b.fuse(y, n, epilogue{kind: epilogueAdd, second: dst, other: x})
}
