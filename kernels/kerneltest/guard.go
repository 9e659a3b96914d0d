package kerneltest

import (
	"testing"
	"unsafe"
)

// Element is a type that kernels work on.
type Element interface {
	~int8 | ~uint8 | ~uint16 | ~int32 | ~float32 | ~float64
}

// Side says which end of an operand is guarded exactly. The other end is guarded too, at a distance below a page.
type Side int

const (
	End   Side = iota // the last element is followed by the guard
	Begin             // the first element is preceded by the guard
)

// Sides lists both, to range over.
var Sides = []Side{End, Begin}

func (s Side) String() string {
	if s == Begin {
		return "begin"
	}
	return "end"
}

// Guarded returns n zeroed elements that touch a guard at the given side. The memory is given back when the test ends.
func Guarded[T Element](t testing.TB, n int, side Side) []T {
	t.Helper()
	return GuardedAt[T](t, n, side, 0)
}

// GuardedAt is Guarded with the elements moved away from the guard by skip elements, to sweep alignments.
func GuardedAt[T Element](t testing.TB, n int, side Side, skip int) []T {
	t.Helper()
	if n == 0 {
		return nil
	}
	var z T
	size := int(unsafe.Sizeof(z))
	b := guardedBytes(t, n*size, side, skip*size)
	return unsafe.Slice((*T)(unsafe.Pointer(&b[0])), n)
}

// Copy returns a guarded copy of s.
func Copy[T Element](t testing.TB, s []T, side Side) []T {
	t.Helper()
	g := Guarded[T](t, len(s), side)
	copy(g, s)
	return g
}
