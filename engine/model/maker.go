package model

import (
	"gorgonia.org/tensor"

	"mito/backend"
	"mito/engine/arch"
)

// Maker makes tensors until something fails. Building runs twice: first over an allocator that counts and returns no
// tensors, then over a slab of that size, so a tensor may be nil, and views of it are too.
type Maker struct {
	b     backend.Backend
	alloc backend.Allocator
	err   error
}

// Make cuts a zeroed tensor.
func (mk *Maker) Make(dt tensor.Dtype, shape ...int) *tensor.Dense {
	if mk.err != nil {
		return nil
	}
	var t *tensor.Dense
	t, mk.err = mk.alloc.New(dt, shape...)
	return t
}

// act cuts a zeroed tensor of activations of a model, or of their gradients.
func (mk *Maker) act(m *Model, shape ...int) *tensor.Dense { return mk.Make(m.act, shape...) }

// F32 cuts a zeroed tensor of float32.
func (mk *Maker) F32(shape ...int) *tensor.Dense { return mk.Make(backend.F32, shape...) }

// View is a tensor of another shape over the elements of t from offset on.
func (mk *Maker) View(t *tensor.Dense, offset int, shape ...int) *tensor.Dense {
	if mk.err != nil || t == nil {
		return nil
	}
	t, mk.err = mk.b.View(t, offset, shape...)
	return t
}

func (mk *Maker) stats(c *arch.Config, n int) normStats {
	s := normStats{rstd: mk.F32(n)}
	if c.Norm == arch.NormLayer {
		s.mean = mk.F32(n)
	}
	return s
}

// reserve runs build over a counting allocator, reserves what it asked for, and runs it again over that.
func reserve(b backend.Backend, build func(mk *Maker)) (slab backend.Slab, bytes int64, err error) {
	var size backend.Sizer
	count := &Maker{b: b, alloc: &size}
	if build(count); count.err != nil {
		return nil, 0, count.err
	}
	if slab, err = b.NewSlab(size.Bytes()); err != nil {
		return nil, size.Bytes(), err
	}
	mk := &Maker{b: b, alloc: slab}
	if build(mk); mk.err != nil {
		slab.Free()
		return nil, size.Bytes(), mk.err
	}
	return slab, size.Bytes(), nil
}

// overlaid builds n sets of tensors over the same memory, of which one is in use at a time.
func (mk *Maker) overlaid(n int, build func(mk *Maker, i int)) {
	most := map[tensor.Dtype]int{}
	for i := range n {
		count := overlay{used: map[tensor.Dtype]int{}}
		sub := &Maker{b: mk.b, alloc: &count, err: mk.err}
		build(sub, i)
		mk.err = sub.err
		for dt, used := range count.used {
			most[dt] = max(most[dt], used)
		}
	}
	memory := map[tensor.Dtype]*tensor.Dense{}
	for _, dt := range []tensor.Dtype{backend.F32, backend.BF16, backend.I32, backend.I8} {
		if most[dt] > 0 {
			memory[dt] = mk.Make(dt, most[dt])
		}
	}
	for i := range n {
		sub := &Maker{b: mk.b, alloc: &overlay{b: mk.b, memory: memory, used: map[tensor.Dtype]int{}}, err: mk.err}
		build(sub, i)
		mk.err = sub.err
	}
}

// overlay is an allocator that cuts tensors from the beginnings of others. Without memory it only counts.
type overlay struct {
	b      backend.Backend
	memory map[tensor.Dtype]*tensor.Dense
	used   map[tensor.Dtype]int // elements
}

// New implements backend.Allocator.
func (o *overlay) New(dt tensor.Dtype, shape ...int) (t *tensor.Dense, err error) {
	bytes, err := backend.TensorBytes(dt, shape...)
	if err != nil {
		return nil, err
	}
	if memory := o.memory[dt]; memory != nil {
		t, err = o.b.View(memory, o.used[dt], shape...)
	}
	o.used[dt] += int(backend.Align(bytes)) / int(dt.Size())
	return t, err
}
