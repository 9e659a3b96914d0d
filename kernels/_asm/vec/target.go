package main

import (
	"fmt"
	"math"

	"github.com/mmcloughlin/avo/attr"
	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"mito/kernels/_asm/asm"
	"mito/kernels/_asm/vecops"
)

// V is a vector register.
type V = reg.VecVirtual

// target is an instruction set with its vector width in float32. As a vecops.Machine its vectors are registers, constants in
// memory (operand.Mem) or coefficients that are broadcast where they are used.
type target struct {
	suffix string
	width  int
	vec    func() V
}

type coefficient struct{ at Mem }

var (
	avx2   = &target{"AVX2", 8, YMM}
	avx512 = &target{"AVX512", 16, ZMM}

	_ vecops.Machine = avx2
)

func (t *target) wide() bool { return t.width == 16 }

var bits = asm.NewConstants("c").Bits

// tailMasks is eight words of ones followed by eight of zeros.
var tailMasks *Mem

func tailMaskTable() Mem {
	if tailMasks == nil {
		m := GLOBL("tailMasks", attr.RODATA|attr.NOPTR)
		for i := range 16 {
			w := uint32(0)
			if i < 8 {
				w = math.MaxUint32
			}
			DATA(4*i, U32(w))
		}
		tailMasks = &m
	}
	return *tailMasks
}

// zero returns a register of zeros; VXORPS on ZMM would need DQ.
func (t *target) zero() V {
	d := t.vec()
	if t.wide() {
		VPXORD(d, d, d)
	} else {
		VXORPS(d, d, d)
	}
	return d
}

// operand returns v as a register or memory operand.
func (t *target) operand(v vecops.V) operand.Op {
	switch v := v.(type) {
	case coefficient:
		d := t.vec()
		VBROADCASTSS(v.at, d)
		return d
	case operand.Op:
		return v
	}
	panic(fmt.Sprintf("vec: %T is no vector", v))
}

// reg returns v in a register.
func (t *target) reg(v vecops.V) V {
	switch o := t.operand(v).(type) {
	case V:
		return o
	case Mem:
		d := t.vec()
		VMOVUPS(o, d)
		return d
	}
	panic("vec: not a vector")
}

// commuting puts a constant, if there is one, second.
func commuting(a, b vecops.V) (first, second vecops.V) {
	if _, ok := a.(Mem); ok {
		return b, a
	}
	return a, b
}

func (t *target) Bits(b uint32) vecops.V { return bits(b) }

func (t *target) Add(a, b vecops.V) vecops.V {
	a, b = commuting(a, b)
	d, x, y := t.vec(), t.reg(a), t.operand(b)
	VADDPS(y, x, d)
	return d
}

func (t *target) Sub(a, b vecops.V) vecops.V {
	d, x, y := t.vec(), t.reg(a), t.operand(b)
	VSUBPS(y, x, d)
	return d
}

func (t *target) Mul(a, b vecops.V) vecops.V {
	a, b = commuting(a, b)
	d, x, y := t.vec(), t.reg(a), t.operand(b)
	VMULPS(y, x, d)
	return d
}

func (t *target) Div(a, b vecops.V) vecops.V {
	d, x, y := t.vec(), t.reg(a), t.operand(b)
	VDIVPS(y, x, d)
	return d
}

func (t *target) Sqrt(a vecops.V) vecops.V {
	d := t.vec()
	VSQRTPS(t.operand(a), d)
	return d
}

// ReLU is the maximum with zero: VMAXPS returns its second source for NaN and for two zeros.
func (t *target) ReLU(a vecops.V) vecops.V {
	d, z := t.vec(), t.zero()
	VMAXPS(t.operand(a), z, d)
	return d
}

func (t *target) And(a, b vecops.V) vecops.V {
	d, x, y := t.vec(), t.reg(a), t.operand(b)
	VANDPS(y, x, d)
	return d
}

func (t *target) Or(a, b vecops.V) vecops.V {
	d, x, y := t.vec(), t.reg(a), t.operand(b)
	VORPS(y, x, d)
	return d
}

func (t *target) Xor(a, b vecops.V) vecops.V {
	d, x, y := t.vec(), t.reg(a), t.operand(b)
	VXORPS(y, x, d)
	return d
}

// The quiet forms of the comparisons.
var predicates = map[vecops.Predicate]U8{vecops.Less: 0x11, vecops.NotLess: 0x15, vecops.Greater: 0x1e}

func (t *target) Keep(v, a vecops.V, p vecops.Predicate, b vecops.V) vecops.V {
	d, x, y := t.vec(), t.reg(a), t.operand(b)
	if t.wide() {
		k := K()
		VCMPPS(predicates[p], y, x, k)
		VMOVUPS_Z(t.operand(v), k, d)
		return d
	}
	m := t.vec()
	VCMPPS(predicates[p], y, x, m)
	VANDPS(t.operand(v), m, d)
	return d
}

func (t *target) Choose(a vecops.V, p vecops.Predicate, b, yes, no vecops.V) vecops.V {
	d, x, y := t.vec(), t.reg(a), t.operand(b)
	if t.wide() {
		k := K()
		VCMPPS(predicates[p], y, x, k)
		VMOVUPS(t.reg(no), d)
		VMOVUPS(t.operand(yes), k, d)
		return d
	}
	m := t.vec()
	VCMPPS(predicates[p], y, x, m)
	VBLENDVPS(m, t.operand(yes), t.reg(no), d)
	return d
}

func (t *target) Truncate(a vecops.V) vecops.V {
	d := t.vec()
	VCVTTPS2DQ(t.operand(a), d)
	return d
}

func (t *target) Float(a vecops.V) vecops.V {
	d := t.vec()
	VCVTDQ2PS(t.operand(a), d)
	return d
}

func (t *target) AddInt(a, b vecops.V) vecops.V {
	a, b = commuting(a, b)
	d, x, y := t.vec(), t.reg(a), t.operand(b)
	VPADDD(y, x, d)
	return d
}

func (t *target) ShiftLeft(a vecops.V, n int) vecops.V {
	d := t.vec()
	VPSLLD(U8(n), t.reg(a), d)
	return d
}

func (t *target) ShiftRight(a vecops.V, n int) vecops.V {
	d := t.vec()
	VPSRLD(U8(n), t.reg(a), d)
	return d
}
