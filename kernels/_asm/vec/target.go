package main

import (
	"fmt"
	"math"

	"github.com/mmcloughlin/avo/attr"
	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// V is a vector register.
type V = reg.VecVirtual

// target is an instruction set with its vector width in float32.
type target struct {
	suffix string
	width  int
	vec    func() V
}

var (
	avx2   = &target{"AVX2", 8, YMM}
	avx512 = &target{"AVX512", 16, ZMM}
)

// Comparison predicates, quiet.
const (
	lessThan    = 0x11
	notLessThan = 0x15 // true for NaN
	greaterThan = 0x1e
)

func (t *target) wide() bool { return t.width == 16 }

// constants holds the read-only vectors by their bits, each repeated to the widest register.
var constants = map[uint32]Mem{}

func bits(b uint32) Mem {
	if m, ok := constants[b]; ok {
		return m
	}
	m := GLOBL(fmt.Sprintf("c%08x", b), attr.RODATA|attr.NOPTR)
	for i := range 16 {
		DATA(4*i, U32(b))
	}
	constants[b] = m
	return m
}

func f32(x float32) Mem { return bits(math.Float32bits(x)) }

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

// Arithmetic on whole vectors; b may be in memory.

func (t *target) add(a V, b operand.Op) V { d := t.vec(); VADDPS(b, a, d); return d }
func (t *target) sub(a V, b operand.Op) V { d := t.vec(); VSUBPS(b, a, d); return d }
func (t *target) mul(a V, b operand.Op) V { d := t.vec(); VMULPS(b, a, d); return d }
func (t *target) div(a V, b operand.Op) V { d := t.vec(); VDIVPS(b, a, d); return d }
func (t *target) and(a V, b operand.Op) V { d := t.vec(); VANDPS(b, a, d); return d }
func (t *target) or(a V, b operand.Op) V  { d := t.vec(); VORPS(b, a, d); return d }
func (t *target) xor(a V, b operand.Op) V { d := t.vec(); VXORPS(b, a, d); return d }
func (t *target) neg(a V) V               { return t.xor(a, bits(1<<31)) }

// constant loads a constant into a register.
func (t *target) constant(m Mem) V {
	d := t.vec()
	VMOVUPS(m, d)
	return d
}

// reluOf returns v < 0 ? +0 : v; VMAXPS returns its second source for NaN and for two zeros.
func (t *target) reluOf(v V) V {
	zero := t.vec()
	if t.wide() {
		VPXORD(zero, zero, zero)
	} else {
		VXORPS(zero, zero, zero)
	}
	d := t.vec()
	VMAXPS(v, zero, d)
	return d
}

// keep returns v where a compares with b, +0 elsewhere.
func (t *target) keep(v V, a V, predicate uint8, b operand.Op) V {
	d := t.vec()
	if t.wide() {
		k := K()
		VCMPPS(U8(predicate), b, a, k)
		VMOVAPS_Z(v, k, d)
		return d
	}
	m := t.vec()
	VCMPPS(U8(predicate), b, a, m)
	VANDPS(v, m, d)
	return d
}

// choose returns yes where a compares with b, no elsewhere.
func (t *target) choose(a V, predicate uint8, b operand.Op, yes Mem, no V) V {
	d := t.vec()
	if t.wide() {
		k := K()
		VCMPPS(U8(predicate), b, a, k)
		VMOVAPS(no, d)
		VMOVUPS(yes, k, d)
		return d
	}
	m := t.vec()
	VCMPPS(U8(predicate), b, a, m)
	VBLENDVPS(m, yes, no, d)
	return d
}

// horner evaluates the polynomial with the given coefficients, highest first.
func (t *target) horner(r V, coefs ...float32) V {
	p := t.mul(r, f32(coefs[0]))
	for i, c := range coefs[1:] {
		VADDPS(f32(c), p, p)
		if i < len(coefs)-2 {
			VMULPS(r, p, p)
		}
	}
	return p
}

// exp is Exp1. Arguments outside its range run through the arithmetic too and are replaced at the end.
func (t *target) exp(x V) V {
	tt := t.mul(x, f32(1.44269504088896341))
	half := t.or(t.and(tt, bits(1<<31)), f32(0.5))
	n := t.add(tt, half)
	VCVTTPS2DQ(n, n)
	fn := t.vec()
	VCVTDQ2PS(n, fn)
	r := t.sub(x, t.mul(fn, f32(0.693359375)))
	VMULPS(f32(-2.12194440e-4), fn, fn)
	VSUBPS(fn, r, r)
	p := t.horner(r, 1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1)
	VMULPS(r, p, p)
	VMULPS(r, p, p)
	VADDPS(r, p, p)
	VADDPS(f32(1), p, p)
	t.addInt(n, bits(127))
	VPSLLD(U8(23), n, n)
	VMULPS(n, p, p)
	p = t.keep(p, x, notLessThan, f32(-87))
	return t.choose(x, greaterThan, f32(88), f32(float32(math.Inf(1))), p)
}

func (t *target) addInt(v V, c Mem) { VPADDD(c, v, v) }

// log is Log1 for normal positive numbers; what others give is replaced by the caller.
func (t *target) log(x V) V {
	k := t.vec()
	VPSRLD(U8(23), x, k)
	t.addInt(k, bits(uint32(0x100000000-126)))
	f := t.or(t.and(x, bits(0x007fffff)), bits(0x3f000000))
	small := t.keep(f, f, lessThan, f32(0.707106781186547524))
	minus := t.keep(t.constant(bits(math.MaxUint32)), f, lessThan, f32(0.707106781186547524))
	VPADDD(minus, k, k)
	fk := t.vec()
	VCVTDQ2PS(k, fk)
	r := t.sub(t.add(f, small), f32(1))
	z := t.mul(r, r)
	p := t.horner(r, 7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1,
		-1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1)
	VMULPS(r, p, p)
	VMULPS(z, p, p)
	VADDPS(t.mul(fk, f32(-2.12194440e-4)), p, p)
	VMULPS(f32(0.5), z, z)
	VSUBPS(z, p, p)
	VADDPS(p, r, r)
	VMULPS(f32(0.693359375), fk, fk)
	VADDPS(fk, r, r)
	return r
}
