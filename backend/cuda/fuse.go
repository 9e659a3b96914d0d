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
//
// A backward pass of RMSNorm is held back in the same way, for an addition to its result.

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
		if o := x.member(i); x.touches(o, y) || (span{o.c, x.m * x.n}).meets(span{y.c, y.m * y.n}) {
			return false
		}
	}
	return true
}

// touches says that y writes what member o of x reads, or reads what it writes.
func (x *matrix) touches(o operands, y *matrix) bool {
	c, wrote := span{o.c, x.m * x.n}, span{y.c, y.m * y.n}
	return wrote.meets(span{o.a, x.m * x.k}) || wrote.meets(span{o.b, x.k * x.n}) || wrote.meets(span{x.bias, x.n}) ||
		c.meets(span{y.a, y.m * y.k}) || c.meets(span{y.b, y.k * y.n}) || c.meets(span{y.bias, y.n})
}

// join adds y to the launch of x: queries, keys and values of one input are three products of one shape, as are the gradients of
// their weights; that of their input is a sum of three, which is rounded once, at its end. It tells whether it did.
func (x *matrix) join(y *matrix) bool {
	members := max(1, x.members)
	if x.m != y.m || x.n != y.n || x.k != y.k || x.form() != y.form() || x.alpha != y.alpha || x.bias != 0 || y.bias != 0 || members == maxMembers {
		return false
	}
	chain := y.accumulate && y.c == x.c && (members == 1 || x.chain)
	if !chain && (x.chain || x.accumulate != y.accumulate) {
		return false
	}
	for i := range members {
		o := x.member(i)
		if x.touches(o, y) || !chain && (span{o.c, x.m * x.n}).meets(span{y.c, y.m * y.n}) {
			return false
		}
	}
	x.also[members-1] = operands{y.c, y.a, y.b}
	x.members, x.chain = members+1, chain
	return true
}

// span is a number of float32 from an address on.
type span struct {
	at cudax.Address
	n  int
}

// meets says that two spans share an element.
func (s span) meets(o span) bool {
	return s.at != 0 && o.at != 0 && s.at < o.at+cudax.Address(f32*o.n) && o.at < s.at+cudax.Address(f32*s.n)
}

// flush sends what is held back.
func (b *Backend) flush() error {
	if b.norm.set {
		b.norm.set = false
		return b.sendNorm(&b.norm)
	}
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

// fuse gives the product that is held back an epilogue and sends it, where its result is c with n elements and the
// epilogue's tensors do not touch what the product still reads or writes. It tells whether it did.
func (b *Backend) fuse(c cudax.Address, n int, e epilogue) (bool, error) {
	x := &b.pending.x
	if !b.pending.set || x.members > 1 || x.c != c || x.m*x.n != n {
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

// fuseNormAdd gives the backward pass of a norm that is held back an addition dst = x + y, where one of them is its result and
// the others do not touch what it still reads or writes. It tells whether it did.
func (b *Backend) fuseNormAdd(dst, x, y cudax.Address, n int) (bool, error) {
	p := &b.norm
	if !p.set || p.n*p.c != n {
		return false, nil
	}
	if x == p.dx {
		x, y = y, x
	}
	if y != p.dx || x == p.dx {
		return false, nil
	}
	sum, other := span{dst, n}, span{x, n}
	for _, s := range [...]span{{p.dx, n}, {p.dy, n}, {p.x, n}, {p.gain, p.c}, {p.rstd, p.n}, {p.dgain, p.c}} {
		if sum.meets(s) {
			return false, nil
		}
	}
	if other.meets(span{p.dx, n}) || x != dst && other.meets(sum) {
		return false, nil
	}
	p.sum, p.other = dst, x
	return true, b.flush()
}
