package cuda

import (
	"mito/backend"
	"mito/backend/cuda/cudax"
)

// A product is held back until the next call. Where that is the activation of its result, the backward pass of one, or
// an addition to it, the product does both while its result is still in registers, which saves a pass over memory.
// Products of one shape that follow each other share a launch. Every other call sends the product first. So fused or not, every
// tensor holds the same bits after every call that looks, but for products on tensor cores that share a launch: a sum of several is
// rounded once, and a long sum may be cut into fewer parts.

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
	epilogueReLU2OutputBackward
	epilogueSum
	epilogueReLUHere
	epilogueReLU2Here
)

// pending is the product that is held back.
type pending struct {
	set bool
	op  string
	x   matrix
}

// maxMembers is how many products one launch takes.
const maxMembers = 3

// hold keeps a product for the next call, beside what is held back already where they go together. Two launches are held back
// at most: a layer's backward pass alternates between the gradient of a weight and that of its input.
func (b *Backend) hold(op string, x matrix) error {
	if b.queue.err() == nil && b.bf16 && b.pending.set {
		if b.earlier.set && b.pending.x.independent(&x) && b.earlier.x.join(&x) || b.pending.x.join(&x) {
			return nil
		}
		if !b.earlier.set {
			b.earlier, b.pending = b.pending, pending{true, op, x}
			return nil
		}
	}
	if err := b.flush(); err != nil {
		return err
	}
	if err := b.queue.err(); err != nil {
		return err
	}
	b.pending = pending{true, op, x}
	return nil
}

// member is the operands of product i of a launch.
func (x *matrix) member(i int) operands {
	if i == 0 {
		return operands{x.c, x.a, x.b}
	}
	return x.also[i-1]
}

// independent says that it makes no difference whether y runs before or after x: neither writes what the other touches.
func (x *matrix) independent(y *matrix) bool {
	for i := range max(1, x.members) {
		if o := x.member(i); x.touches(o, y) || x.result(o).meets(y.result(y.member(0))) {
			return false
		}
	}
	return true
}

// result is where member o of a launch writes.
func (x *matrix) result(o operands) span { return tensorSpan(o.c, x.m*x.n, x.types&typeC != 0) }

// reads lists what member o of a launch reads.
func (x *matrix) reads(o operands) [4]span {
	return [...]span{
		tensorSpan(o.a, x.m*x.k, x.types&typeA != 0), tensorSpan(o.b, x.k*x.n, x.types&typeB != 0), tensorSpan(x.bias, x.n, false),
		tensorSpan(x.epilogue.other, x.m*x.n, x.types&typeOther != 0),
	}
}

// touches says that y writes what member o of x reads, or reads what it writes.
func (x *matrix) touches(o operands, y *matrix) bool {
	c, wrote := x.result(o), y.result(y.member(0))
	for _, s := range x.reads(o) {
		if wrote.meets(s) {
			return true
		}
	}
	for _, s := range y.reads(y.member(0)) {
		if c.meets(s) {
			return true
		}
	}
	return false
}

// join adds y to the launch of x: queries, keys and values of one input are three products of one shape, as are the gradients of
// their weights; that of their input is a sum of three, which is rounded once, at its end. It tells whether it did.
func (x *matrix) join(y *matrix) bool {
	members := max(1, x.members)
	if x.m != y.m || x.n != y.n || x.k != y.k || x.form() != y.form() || x.alpha != y.alpha || x.types != y.types || x.bias != 0 || y.bias != 0 ||
		x.epilogue.kind != epiloguePlain || y.epilogue.kind != epiloguePlain || members == maxMembers {
		return false
	}
	chain := y.accumulate && y.c == x.c && (members == 1 || x.chain)
	if !chain && (x.chain || x.accumulate != y.accumulate) {
		return false
	}
	for i := range members {
		o := x.member(i)
		if x.touches(o, y) || !chain && x.result(o).meets(y.result(y.member(0))) {
			return false
		}
	}
	x.also[members-1] = operands{y.c, y.a, y.b}
	x.members, x.chain = members+1, chain
	return true
}

// span is a number of bytes from an address on.
type span struct {
	at    cudax.Address
	bytes int
}

// tensorSpan is where n elements lie.
func tensorSpan(at cudax.Address, n int, half bool) span {
	if half {
		return span{at, 2 * n}
	}
	return span{at, f32 * n}
}

// meets says that two spans share a byte; one at address 0 is none.
func (s span) meets(o span) bool {
	return s.at != 0 && o.at != 0 && s.at < o.at+cudax.Address(o.bytes) && o.at < s.at+cudax.Address(s.bytes)
}

// flush sends what is held back.
func (b *Backend) flush() error {
	if !b.pending.set {
		return nil
	}
	earlier, last := b.earlier, b.pending
	b.earlier.set, b.pending.set = false, false
	if earlier.set {
		if err := b.product(earlier.op, &earlier.x); err != nil {
			return err
		}
	}
	return b.product(last.op, &last.x)
}

// fuse gives the product that is held back an epilogue and sends it, where its result is c with n elements, of bfloat16 or not, and
// the epilogue's tensors do not touch what the product still reads or writes. types has typeSecond and typeOther. It tells whether
// it did.
func (b *Backend) fuse(c cudax.Address, n int, half bool, e epilogue, types int) (bool, error) {
	x := &b.pending.x
	if !b.pending.set || x.members > 1 || x.c != c || x.m*x.n != n || half != (x.types&typeC != 0) || x.epilogue.kind != epiloguePlain {
		return false, nil
	}
	result := x.result(x.member(0))
	second, other := tensorSpan(e.second, n, types&typeSecond != 0), tensorSpan(e.other, n, types&typeOther != 0)
	if second.meets(result) || other.meets(result) || e.other != e.second && second.meets(other) {
		return false, nil
	}
	for _, s := range x.reads(x.member(0)) {
		if second.meets(s) {
			return false, nil
		}
	}
	x.epilogue = e
	x.types |= types
	return true, b.flush()
}

// fuseActivation is fuse for dst = act(x), which may be in place.
func (b *Backend) fuseActivation(dst, x cudax.Address, n int, half bool, act backend.Activation) (bool, error) {
	types := flag(half) * typeSecond
	switch {
	case dst == x && act == backend.ReLU:
		return b.fuse(x, n, half, epilogue{kind: epilogueReLUHere}, 0)
	case dst == x && (act == backend.ReLU2 || act == backend.ReLU2Output):
		return b.fuse(x, n, half, epilogue{kind: epilogueReLU2Here}, 0)
	case act == backend.ReLU:
		return b.fuse(x, n, half, epilogue{kind: epilogueReLU, second: dst}, types)
	case act == backend.ReLU2 || act == backend.ReLU2Output:
		return b.fuse(x, n, half, epilogue{kind: epilogueReLU2, second: dst}, types)
	}
	return false, nil
}

// fuseActivationBackward is fuse for dx = dy·act'(x) in place.
func (b *Backend) fuseActivationBackward(dx, dy, x cudax.Address, n int, half bool, act backend.Activation) (bool, error) {
	if dx != dy {
		return false, nil
	}
	types := flag(half) * typeOther
	switch act {
	case backend.ReLU:
		return b.fuse(dy, n, half, epilogue{kind: epilogueReLUBackward, other: x}, types)
	case backend.ReLU2:
		return b.fuse(dy, n, half, epilogue{kind: epilogueReLU2Backward, other: x}, types)
	case backend.ReLU2Output:
		return b.fuse(dy, n, half, epilogue{kind: epilogueReLU2OutputBackward, other: x}, types)
	}
	return false, nil
}

// fuseAdd is fuse for dst = x + y, where one of them is the product.
func (b *Backend) fuseAdd(dst, x, y cudax.Address, n int) (bool, error) {
	if b.pending.set && b.pending.x.c == x {
		x, y = y, x
	}
	return b.fuse(y, n, false, epilogue{kind: epilogueAdd, second: dst, other: x}, 0)
}
