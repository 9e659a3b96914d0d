package main

import (
	"github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/operand"

	"mito/kernels/_asm/vecops"
)

// pair is a vecops.Machine whose vectors are two of a target's, worked on in turn: long chains of dependent operations leave
// the units idle, and two chains side by side share the loads of constants.
type pair struct{ t *target }

// both is a vector of a pair; scalars and constants are those of the target.
type both [2]vecops.V

var _ vecops.Machine = pair{}

func half(v vecops.V, i int) vecops.V {
	if b, ok := v.(both); ok {
		return b[i]
	}
	return v
}

// shared loads a constant once for both halves.
func (p pair) shared(v vecops.V) vecops.V {
	if m, ok := v.(Mem); ok {
		return operand.Op(p.t.reg(m))
	}
	return v
}

func (p pair) each(f func(i int) vecops.V) vecops.V { return both{f(0), f(1)} }

func (p pair) binary(f func(a, b vecops.V) vecops.V, a, b vecops.V) vecops.V {
	a, b = p.shared(a), p.shared(b)
	return p.each(func(i int) vecops.V { return f(half(a, i), half(b, i)) })
}

func (p pair) unary(f func(a vecops.V) vecops.V, a vecops.V) vecops.V {
	return p.each(func(i int) vecops.V { return f(half(a, i)) })
}

func (p pair) Bits(b uint32) vecops.V        { return p.t.Bits(b) }
func (p pair) Add(a, b vecops.V) vecops.V    { return p.binary(p.t.Add, a, b) }
func (p pair) Sub(a, b vecops.V) vecops.V    { return p.binary(p.t.Sub, a, b) }
func (p pair) Mul(a, b vecops.V) vecops.V    { return p.binary(p.t.Mul, a, b) }
func (p pair) Div(a, b vecops.V) vecops.V    { return p.binary(p.t.Div, a, b) }
func (p pair) And(a, b vecops.V) vecops.V    { return p.binary(p.t.And, a, b) }
func (p pair) Or(a, b vecops.V) vecops.V     { return p.binary(p.t.Or, a, b) }
func (p pair) Xor(a, b vecops.V) vecops.V    { return p.binary(p.t.Xor, a, b) }
func (p pair) AddInt(a, b vecops.V) vecops.V { return p.binary(p.t.AddInt, a, b) }
func (p pair) Sqrt(a vecops.V) vecops.V      { return p.unary(p.t.Sqrt, a) }
func (p pair) ReLU(a vecops.V) vecops.V      { return p.unary(p.t.ReLU, a) }
func (p pair) Truncate(a vecops.V) vecops.V  { return p.unary(p.t.Truncate, a) }
func (p pair) Float(a vecops.V) vecops.V     { return p.unary(p.t.Float, a) }

func (p pair) ShiftLeft(a vecops.V, n int) vecops.V {
	return p.each(func(i int) vecops.V { return p.t.ShiftLeft(half(a, i), n) })
}

func (p pair) ShiftRight(a vecops.V, n int) vecops.V {
	return p.each(func(i int) vecops.V { return p.t.ShiftRight(half(a, i), n) })
}

func (p pair) Keep(v, a vecops.V, q vecops.Predicate, b vecops.V) vecops.V {
	return p.each(func(i int) vecops.V { return p.t.Keep(half(v, i), half(a, i), q, half(b, i)) })
}

func (p pair) Choose(a vecops.V, q vecops.Predicate, b, yes, no vecops.V) vecops.V {
	return p.each(func(i int) vecops.V { return p.t.Choose(half(a, i), q, half(b, i), half(yes, i), half(no, i)) })
}
