package model

import (
	"gorgonia.org/tensor"

	"mito/backend"
	"mito/engine/arch"
)

// maker makes tensors until something fails. A counting allocator returns no tensors, and there are no views of
// them.
type maker struct {
	b     backend.Backend
	alloc backend.Allocator
	err   error
}

func (mk *maker) make(dt tensor.Dtype, shape ...int) *tensor.Dense {
	if mk.err != nil {
		return nil
	}
	var t *tensor.Dense
	t, mk.err = mk.alloc.New(dt, shape...)
	return t
}

func (mk *maker) f32(shape ...int) *tensor.Dense { return mk.make(backend.F32, shape...) }

func (mk *maker) view(t *tensor.Dense, shape ...int) *tensor.Dense {
	if mk.err != nil || t == nil {
		return nil
	}
	t, mk.err = mk.b.View(t, 0, shape...)
	return t
}

func (mk *maker) stats(c *arch.Config, n int) normStats {
	s := normStats{rstd: mk.f32(n)}
	if c.Norm == arch.NormLayer {
		s.mean = mk.f32(n)
	}
	return s
}

// overlaid builds n sets of float32 tensors over the same memory, of which one is in use at a time.
func (mk *maker) overlaid(n int, build func(mk *maker, i int)) {
	most := 0
	for i := range n {
		var count overlay
		sub := &maker{b: mk.b, alloc: &count}
		build(sub, i)
		if mk.err == nil {
			mk.err = sub.err
		}
		most = max(most, count.used)
	}
	memory := mk.f32(max(1, most))
	for i := range n {
		sub := &maker{b: mk.b, alloc: &overlay{b: mk.b, memory: memory}, err: mk.err}
		build(sub, i)
		mk.err = sub.err
	}
}

// overlay is an allocator that cuts float32 tensors from the beginning of another. Without memory it only counts.
type overlay struct {
	b      backend.Backend
	memory *tensor.Dense
	used   int // elements
}

// New implements backend.Allocator.
func (o *overlay) New(dt tensor.Dtype, shape ...int) (t *tensor.Dense, err error) {
	bytes, err := backend.TensorBytes(dt, shape...)
	if err != nil {
		return nil, err
	}
	if dt != backend.F32 {
		return nil, &backend.DTypeError{Op: "New", Arg: "overlaid tensor", Got: dt, Want: backend.F32}
	}
	if o.memory != nil {
		t, err = o.b.View(o.memory, o.used, shape...)
	}
	o.used += int(backend.Align(bytes) / 4)
	return t, err
}
