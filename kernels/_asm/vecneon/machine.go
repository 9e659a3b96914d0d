package main

import (
	"fmt"
	"slices"
	"strings"

	"mito/kernels/_asm/vecops"
)

// value is eight lanes in two registers, or one register whose four lanes are all the same (a constant or scalar).
type value struct {
	uniform bool
	scalar  string // name of a parameter
	fixed   bool   // lives through the whole function

	lastUse int
	regs    [2]int
}

func (v *value) size() int {
	if v.uniform {
		return 1
	}
	return 2
}

func (v *value) half(i int) int {
	if v.uniform {
		return v.regs[0]
	}
	return v.regs[i]
}

// step is one operation of a loop body. emit gets the registers of one half.
type step struct {
	dst  *value
	srcs []*value
	emit func(f *function, half int)
}

// recorder is the vecops.Machine: it records a loop body, for which registers are found later.
type recorder struct {
	steps     []step
	constants map[uint32]*value // that are kept in registers
	order     []uint32          // they in the order of first use
	hoist     int               // how many to keep; others are loaded at each use
}

var _ vecops.Machine = (*recorder)(nil)

func (r *recorder) do(emit func(f *function, half int, d *value), srcs ...vecops.V) vecops.V {
	d := &value{}
	s := step{dst: d, emit: func(f *function, half int) { emit(f, half, d) }}
	for _, v := range srcs {
		s.srcs = append(s.srcs, v.(*value))
	}
	r.steps = append(r.steps, s)
	return d
}

// op records one three-register instruction.
func (r *recorder) op(code uint32, name string, a, b vecops.V) vecops.V {
	x, y := a.(*value), b.(*value)
	return r.do(func(f *function, h int, d *value) { f.rrr(code, name, d.half(h), x.half(h), y.half(h)) }, a, b)
}

// unary records one two-register instruction.
func (r *recorder) unary(code uint32, name string, a vecops.V) vecops.V {
	x := a.(*value)
	return r.do(func(f *function, h int, d *value) { f.rr(code, name, d.half(h), x.half(h)) }, a)
}

func (r *recorder) Bits(b uint32) vecops.V {
	if v := r.constants[b]; v != nil {
		return v
	}
	if len(r.order) == r.hoist {
		v := r.do(func(f *function, h int, d *value) {
			if h == 0 {
				f.line("FMOVQ %d(R11), F%d", tableOffset(b), d.regs[0])
			}
		}).(*value)
		v.uniform = true
		return v
	}
	r.constants[b] = &value{uniform: true, fixed: true}
	r.order = append(r.order, b)
	return r.constants[b]
}

func (r *recorder) Add(a, b vecops.V) vecops.V    { return r.op(fadd, "FADD", a, b) }
func (r *recorder) Sub(a, b vecops.V) vecops.V    { return r.op(fsub, "FSUB", a, b) }
func (r *recorder) Mul(a, b vecops.V) vecops.V    { return r.op(fmul, "FMUL", a, b) }
func (r *recorder) Div(a, b vecops.V) vecops.V    { return r.op(fdiv, "FDIV", a, b) }
func (r *recorder) Sqrt(a vecops.V) vecops.V      { return r.unary(fsqrt, "FSQRT", a) }
func (r *recorder) And(a, b vecops.V) vecops.V    { return r.op(and, "AND", a, b) }
func (r *recorder) Or(a, b vecops.V) vecops.V     { return r.op(orr, "ORR", a, b) }
func (r *recorder) Xor(a, b vecops.V) vecops.V    { return r.op(eor, "EOR", a, b) }
func (r *recorder) Truncate(a vecops.V) vecops.V  { return r.unary(fcvtzs, "FCVTZS", a) }
func (r *recorder) Float(a vecops.V) vecops.V     { return r.unary(scvtf, "SCVTF", a) }
func (r *recorder) AddInt(a, b vecops.V) vecops.V { return r.op(addInt, "ADD", a, b) }

func (r *recorder) ShiftLeft(a vecops.V, n int) vecops.V {
	return r.unary(shl|uint32(32+n)<<16, fmt.Sprintf("SHL #%d,", n), a)
}

func (r *recorder) ShiftRight(a vecops.V, n int) vecops.V {
	return r.unary(ushr|uint32(64-n)<<16, fmt.Sprintf("USHR #%d,", n), a)
}

// ReLU clears the lanes below zero; FMAX would make NaN of signalling NaN and +0 of -0.
func (r *recorder) ReLU(a vecops.V) vecops.V {
	x := a.(*value)
	return r.do(func(f *function, h int, d *value) {
		f.rr(fcmlt0, "FCMLT #0,", d.half(h), x.half(h))
		f.rrr(bic, "BIC", d.half(h), x.half(h), d.half(h))
	}, a)
}

// compare writes the mask of p, or of its opposite for NotLess.
func compare(f *function, d, a int, p vecops.Predicate, b int) {
	if p == vecops.Greater {
		f.rrr(fcmgt, "FCMGT", d, a, b)
		return
	}
	f.rrr(fcmgt, "FCMGT", d, b, a)
}

func (r *recorder) Keep(v, a vecops.V, p vecops.Predicate, b vecops.V) vecops.V {
	w, x, y := v.(*value), a.(*value), b.(*value)
	return r.do(func(f *function, h int, d *value) {
		compare(f, d.half(h), x.half(h), p, y.half(h))
		if p == vecops.NotLess {
			f.rrr(bic, "BIC", d.half(h), w.half(h), d.half(h))
		} else {
			f.rrr(and, "AND", d.half(h), w.half(h), d.half(h))
		}
	}, v, a, b)
}

func (r *recorder) Choose(a vecops.V, p vecops.Predicate, b, yes, no vecops.V) vecops.V {
	x, y, t, e := a.(*value), b.(*value), yes.(*value), no.(*value)
	if p == vecops.NotLess {
		t, e = e, t
	}
	return r.do(func(f *function, h int, d *value) {
		compare(f, d.half(h), x.half(h), p, y.half(h))
		f.rrr(bsl, "BSL", d.half(h), t.half(h), e.half(h))
	}, a, b, yes, no)
}

// allocate gives every value its registers: first those that live through the function, then those of the body, of which
// a register is free again after the last use. It reports whether the registers suffice.
func (r *recorder) allocate(fixed []*value) bool {
	var free []int
	for i := 31; i >= 0; i-- {
		free = append(free, i)
	}
	take := func(v *value) bool {
		n := v.size()
		if len(free) < n {
			return false
		}
		copy(v.regs[:n], free[len(free)-n:])
		free = free[:len(free)-n]
		return true
	}
	for _, v := range fixed {
		if !take(v) {
			return false
		}
	}
	for i, s := range r.steps {
		for _, v := range s.srcs {
			v.lastUse = i
		}
	}
	for i, s := range r.steps {
		// Before the sources are freed: the first half is written while the second is still to be read.
		if s.dst != nil && !take(s.dst) {
			return false
		}
		for j, v := range s.srcs {
			if !v.fixed && v.lastUse == i && !slices.Contains(s.srcs[:j], v) {
				free = append(free, v.regs[:v.size()]...)
			}
		}
	}
	return true
}

// function is the text of one function.
type function struct{ b strings.Builder }

func (f *function) line(format string, args ...any) { fmt.Fprintf(&f.b, "\t"+format+"\n", args...) }

func (f *function) rrr(code uint32, name string, d, n, m int) {
	f.line("WORD $0x%08x // %s V%d, V%d, V%d", code|uint32(m)<<16|uint32(n)<<5|uint32(d), name, d, n, m)
}

func (f *function) rr(code uint32, name string, d, n int) {
	f.line("WORD $0x%08x // %s V%d, V%d", code|uint32(n)<<5|uint32(d), name, d, n)
}

// Instructions on four 32-bit lanes that Go's assembler lacks, by their encoding without registers.
const (
	fadd   = 0x4e20d400
	fsub   = 0x4ea0d400
	fmul   = 0x6e20dc00
	fdiv   = 0x6e20fc00
	fsqrt  = 0x6ea1f800
	fcmgt  = 0x6ea0e400
	fcmlt0 = 0x4ea0e800
	fcvtzs = 0x4ea1b800
	scvtf  = 0x4e21d800
	and    = 0x4e201c00
	orr    = 0x4ea01c00
	eor    = 0x6e201c00
	bic    = 0x4e601c00
	bsl    = 0x6e601c00
	bit    = 0x6ea01c00
	addInt = 0x4ea08400
	umax   = 0x6ea06400
	shl    = 0x4f005400
	ushr   = 0x6f000400
	xtn    = 0x0e612800 // 4S to the lower 4H
	xtn2   = 0x4e612800 // 4S to the upper 4H
	xtnB   = 0x0e212800 // 8H to 8B
	sshllB = 0x0f08a400 // 8B to 8H
	sshll  = 0x0f10a400 // lower 4H to 4S
	sshll2 = 0x4f10a400 // upper 4H to 4S
)
