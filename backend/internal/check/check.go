// Package check has the check of the arguments of every operation of the seam, which all backends call before they do
// anything: what does not fit is an error of package backend that wraps [backend.ErrArgument] and names operation and
// argument. Checks return the sizes that they found and allocate nothing for good arguments.
// Package check has the check of the arguments of every operation of the seam, which all backends call before they do
// anything: what does not fit is an error of package backend that wraps [backend.ErrArgument] and names operation and
// argument. Checks return the sizes that they found and allocate nothing for good arguments.
package check

import (
	"math"

	"gorgonia.org/tensor"

	"mito/backend"
)

// checker collects the first thing that is wrong with the arguments of an operation. Its methods do nothing once
// something was found, so a check reads as a list.
type checker struct {
	owner tensor.Engine
	op    string
	err   error
}

// is checks owner, dtype and layout.
func (c *checker) is(arg string, t *tensor.Dense, dt tensor.Dtype) bool {
	switch {
	case c.err != nil:
	case t == nil || t.Engine() != c.owner:
		c.err = &backend.OwnerError{Op: c.op, Arg: arg}
	case t.Dtype() != dt:
		c.err = &backend.DTypeError{Op: c.op, Arg: arg, Got: t.Dtype(), Want: dt}
	case t.RequiresIterator():
		c.err = &backend.ArgError{Op: c.op, Arg: arg, Got: "transposed or sliced", Want: "row-major and contiguous"}
	default:
		return true
	}
	return false
}

// act checks owner, dtype and layout of a tensor of F32 or BF16. Only backends that have it make one of BF16.
func (c *checker) act(arg string, t *tensor.Dense) bool {
	if t != nil && t.Dtype() == backend.BF16 {
		return c.is(arg, t, backend.BF16)
	}
	return c.is(arg, t, backend.F32)
}

// acts is matrix for a tensor of F32 or BF16.
func (c *checker) acts(arg string, t *tensor.Dense, n, cols int) {
	if c.act(arg, t) {
		c.matrix(arg, t, t.Dtype(), n, cols)
	}
}

// matrix checks a tensor of n rows of cols elements.
func (c *checker) matrix(arg string, t *tensor.Dense, dt tensor.Dtype, n, cols int) {
	if !c.is(arg, t, dt) {
		return
	}
	if gotN, gotC := backend.Rows(t); gotN != n || gotC != cols {
		c.err = &backend.ShapeError{Op: c.op, Arg: arg, Got: t.Shape().Clone(), Want: []int{n, cols}}
	}
}

// vector checks a tensor of n elements, whatever its shape.
func (c *checker) vector(arg string, t *tensor.Dense, dt tensor.Dtype, n int) {
	if !c.is(arg, t, dt) {
		return
	}
	if t.Shape().TotalSize() != n {
		c.err = &backend.ShapeError{Op: c.op, Arg: arg, Got: t.Shape().Clone(), Want: []int{n}}
	}
}

// optional is vector for an argument that may be nil.
func (c *checker) optional(arg string, t *tensor.Dense, dt tensor.Dtype, n int) {
	if t != nil {
		c.vector(arg, t, dt, n)
	}
}

// rows checks a f32 matrix of any size and returns it.
func (c *checker) rows(arg string, t *tensor.Dense) (n, cols int) {
	if !c.is(arg, t, backend.F32) {
		return 0, 0
	}
	return backend.Rows(t)
}

// actRows is rows for a matrix of F32 or BF16.
func (c *checker) actRows(arg string, t *tensor.Dense) (n, cols int) {
	if !c.act(arg, t) {
		return 0, 0
	}
	return backend.Rows(t)
}

// size checks a f32 tensor of any shape and returns its number of elements.
func (c *checker) size(arg string, t *tensor.Dense) int {
	if !c.is(arg, t, backend.F32) {
		return 0
	}
	return t.Shape().TotalSize()
}

func (c *checker) positive(arg string, v int) {
	if c.err == nil && v <= 0 {
		c.err = &backend.ArgError{Op: c.op, Arg: arg, Got: v, Want: "a positive number"}
	}
}

// that refuses an argument. It is generic so that a good one is not boxed: checks allocate nothing.
func that[T any](c *checker, ok bool, arg string, got T, want string) {
	if c.err == nil && !ok {
		c.err = &backend.ArgError{Op: c.op, Arg: arg, Got: got, Want: want}
	}
}

// finite checks a number that must be positive and finite.
func (c *checker) finite(arg string, v float32) {
	that(c, v > 0 && v <= math.MaxFloat32, arg, v, "positive and finite")
}

// number checks a number that must be finite.
func (c *checker) number(arg string, v float32) {
	that(c, math.Abs(float64(v)) <= math.MaxFloat32, arg, v, "finite")
}

// separate refuses a destination that shares memory with one of the sources.
func (c *checker) separate(arg string, dst *tensor.Dense, sources ...*tensor.Dense) {
	if c.err != nil || dst == nil {
		return
	}
	lo, hi := extent(dst)
	for _, s := range sources {
		if s == nil {
			continue
		}
		if slo, shi := extent(s); slo < hi && lo < shi {
			c.err = &backend.ArgError{Op: c.op, Arg: arg, Got: "aliased", Want: "memory of its own"}
			return
		}
	}
}

// extent is the range of addresses of a contiguous tensor.
func extent(t *tensor.Dense) (lo, hi uintptr) {
	lo = t.Uintptr()
	return lo, lo + uintptr(t.Shape().TotalSize())*t.Dtype().Size()
}

// IDs refuses ids outside [0,vocab): the error names the first one and where it stands.
func IDs(op string, ids []int32, vocab int) error {
	for i, id := range ids {
		if id < 0 || int(id) >= vocab {
			return &backend.ArgError{Op: op, Arg: "ids", Got: [2]int{i, int(id)}, Want: "ids inside the vocabulary (index, id)"}
		}
	}
	return nil
}
