// Package vecops describes the float32 vector kernels once, in terms of a machine that adds and multiplies whole vectors; the
// generators for each instruction set implement the machine. No operation fuses a product into a sum, so that all sets
// give the bits of the Go loops.
package vecops

import "math"

// V is a vector of float32 or int32 lanes, known to the machine only.
type V any

// Predicate compares lanes.
type Predicate int

// NotLess is true where an operand is NaN; the others are false there.
const (
	Less Predicate = iota
	NotLess
	Greater
)

// Machine emits instructions. Every method returns a new vector and leaves its operands.
type Machine interface {
	Bits(b uint32) V // the constant with these bits in every lane

	Add(a, b V) V
	Sub(a, b V) V
	Mul(a, b V) V
	Div(a, b V) V
	Sqrt(a V) V
	ReLU(a V) V // a < 0 ? +0 : a

	And(a, b V) V
	Or(a, b V) V
	Xor(a, b V) V
	Keep(v, a V, p Predicate, b V) V         // v where a compares with b, +0 elsewhere
	Choose(a V, p Predicate, b, yes, no V) V // yes where a compares with b, no elsewhere

	Truncate(a V) V // to int32; any value where it does not fit
	Float(a V) V    // int32 to float32, to nearest even
	AddInt(a, b V) V
	ShiftLeft(a V, n int) V
	ShiftRight(a V, n int) V // logical
}

func f32(m Machine, x float32) V { return m.Bits(math.Float32bits(x)) }

func neg(m Machine, a V) V { return m.Xor(a, m.Bits(1<<31)) }

// horner evaluates the polynomial with the given coefficients, highest first.
func horner(m Machine, r V, coefs ...float32) V {
	p := f32(m, coefs[0])
	for _, c := range coefs[1:] {
		p = m.Add(m.Mul(r, p), f32(m, c))
	}
	return p
}

// Round returns a with a half added away from zero and truncated, as int32.
func Round(m Machine, a V) V {
	half := m.Or(m.And(a, m.Bits(1<<31)), f32(m, 0.5))
	return m.Truncate(m.Add(a, half))
}

// exp is Exp1. Arguments outside its range run through the arithmetic too and are replaced at the end.
func exp(m Machine, x V) V {
	n := Round(m, m.Mul(x, f32(m, 1.44269504088896341)))
	fn := m.Float(n)
	r := m.Sub(x, m.Mul(fn, f32(m, 0.693359375)))
	r = m.Sub(r, m.Mul(fn, f32(m, -2.12194440e-4)))
	p := horner(m, r, 1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1)
	p = m.Add(m.Mul(m.Mul(p, r), r), r)
	p = m.Add(p, f32(m, 1))
	p = m.Mul(p, m.ShiftLeft(m.AddInt(n, m.Bits(127)), 23))
	p = m.Keep(p, x, NotLess, f32(m, -87))
	return m.Choose(x, Greater, f32(m, 88), f32(m, float32(math.Inf(1))), p)
}

// log is Log1 for normal positive numbers; what others give is replaced by the caller.
func log(m Machine, x V) V {
	k := m.AddInt(m.ShiftRight(x, 23), m.Bits(1<<32-126))
	f := m.Or(m.And(x, m.Bits(0x007fffff)), m.Bits(0x3f000000))
	root := f32(m, 0.707106781186547524)
	k = m.AddInt(k, m.Keep(m.Bits(math.MaxUint32), f, Less, root))
	fk := m.Float(k)
	r := m.Sub(m.Add(f, m.Keep(f, f, Less, root)), f32(m, 1))
	z := m.Mul(r, r)
	p := horner(m, r, 7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1,
		-1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1)
	y := m.Mul(m.Mul(p, r), z)
	y = m.Add(y, m.Mul(fk, f32(m, -2.12194440e-4)))
	y = m.Sub(y, m.Mul(z, f32(m, 0.5)))
	return m.Add(m.Add(r, y), m.Mul(fk, f32(m, 0.693359375)))
}
