package backend

import (
	"errors"
	"math"

	"gorgonia.org/tensor"
)

// Dtypes that cross the seam.
var (
	F32  = tensor.Float32 // weights, activations, gradients, scales
	BF16 = tensor.Uint16  // bfloat16 by its bits: activations and their gradients where [ActivationType] says so
	I32  = tensor.Int32   // token ids, positions, block indices
	I8   = tensor.Int8    // quantised weights and activations
)

// Alignment in bytes of every tensor that a Slab cuts.
const Alignment = 256

// Memory makes tensors and moves data in and out of them.
type Memory interface {
	// NewSlab reserves bytes of memory in one piece, zeroed. The error is ErrOutOfMemory with sizes where the
	// machine cannot give that much.
	NewSlab(bytes int64) (Slab, error)
	// Upload copies a host slice ([]float32, []uint16, []int32 or []int8) into dst. The slice is free when Upload returns.
	Upload(dst *tensor.Dense, src any) error
	// Download copies src into a host slice of its type and size, after everything queued before it is done.
	Download(dst any, src *tensor.Dense) error
	// View returns a tensor of the given shape over the elements of t from offset on. It shares t's memory.
	View(t *tensor.Dense, offset int, shape ...int) (*tensor.Dense, error)
	// Copy copies src to dst; dtype and number of elements must agree.
	Copy(dst, src *tensor.Dense) error
	// Zero clears t.
	Zero(t *tensor.Dense) error
	// Synchronize waits until everything queued is done and reports what went wrong in it.
	Synchronize() error
}

// Allocator makes tensors. A Slab is one; so is a Sizer, which only counts.
type Allocator interface {
	// New cuts a tensor of the given dtype and shape, zeroed.
	New(dt tensor.Dtype, shape ...int) (*tensor.Dense, error)
}

// Slab is one piece of memory from which tensors are cut.
type Slab interface {
	Allocator
	Bytes() int64 // size of the slab
	Used() int64  // bytes cut so far, alignment included
	Free() error  // releases the slab and with it every tensor cut from it
}

// Sizer is an Allocator that cuts nothing and adds up what would be needed: build with a Sizer first, reserve one
// Slab of Bytes, then build again from the Slab.
type Sizer struct{ bytes int64 }

// New counts a tensor and returns nil in its place.
func (s *Sizer) New(dt tensor.Dtype, shape ...int) (*tensor.Dense, error) {
	n, err := TensorBytes(dt, shape...)
	if err != nil {
		return nil, err
	}
	s.bytes += Align(n)
	return nil, nil
}

// Bytes is the size of the slab that would hold everything counted.
func (s *Sizer) Bytes() int64 { return s.bytes }

// Align rounds a size up to Alignment.
func Align(n int64) int64 { return (n + Alignment - 1) &^ (Alignment - 1) }

// maxBytes bounds a tensor: its elements can be counted in an int, and sums of a few sizes do not overflow an int64.
const maxBytes = min(1<<62, math.MaxInt)

// TensorBytes is the size in bytes of a tensor. It refuses dtypes that do not cross the seam, and sizes that are not
// positive or overflow.
func TensorBytes(dt tensor.Dtype, shape ...int) (int64, error) {
	if dt != F32 && dt != BF16 && dt != I32 && dt != I8 {
		return 0, &DTypeError{Op: "New", Arg: "dtype", Got: dt, Want: F32}
	}
	n := int64(dt.Size())
	for _, d := range shape {
		if d <= 0 || n > maxBytes/int64(d) {
			return 0, &ShapeError{Op: "New", Arg: "shape", Got: append([]int(nil), shape...)}
		}
		n *= int64(d)
	}
	return n, nil
}

// Want is a tensor for Reserve to make, and where to put it.
type Want struct {
	To    **tensor.Dense
	DType tensor.Dtype
	Shape []int
}

// Reserve makes tensors in one slab of the size that they need, and returns the slab.
func Reserve(m Memory, wants ...Want) (Slab, error) {
	var size Sizer
	for _, w := range wants {
		if _, err := size.New(w.DType, w.Shape...); err != nil {
			return nil, err
		}
	}
	slab, err := m.NewSlab(size.Bytes())
	if err != nil {
		return nil, err
	}
	for _, w := range wants {
		if *w.To, err = slab.New(w.DType, w.Shape...); err != nil {
			return nil, errors.Join(err, slab.Free())
		}
	}
	return slab, nil
}

// Rows splits a shape into its last dimension and the product of those before it: [B,T,C] is B·T rows of C.
func Rows(t *tensor.Dense) (n, c int) {
	shape := t.Shape()
	if len(shape) == 0 {
		return 1, 1
	}
	c = shape[len(shape)-1]
	n = 1
	for _, d := range shape[:len(shape)-1] {
		n *= d
	}
	return n, c
}
