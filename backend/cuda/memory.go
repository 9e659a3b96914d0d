package cuda

import (
	"errors"
	"fmt"
	"unsafe"

	"gorgonia.org/tensor"

	"mito/backend"
	"mito/backend/cuda/cudax"
	"mito/backend/internal/check"
)

// slab is one allocation of device memory.
type slab struct {
	b          *Backend
	base       cudax.Address
	size, used int64
}

// NewSlab implements backend.Memory.
func (b *Backend) NewSlab(bytes int64) (backend.Slab, error) {
	if err := b.outsideCapture("NewSlab"); err != nil {
		return nil, err
	}
	if bytes < 0 {
		return nil, fmt.Errorf("cuda: NewSlab: %d bytes: %w", bytes, backend.ErrOutOfMemory)
	}
	s := &slab{b: b, size: bytes}
	if bytes == 0 {
		return s, nil
	}
	var free, total int64
	err := b.queue.do("NewSlab", func() (err error) {
		if free, total, err = b.machine.room(); err != nil {
			return err
		}
		s.base, err = b.machine.allocate(bytes)
		return err
	})
	if errors.Is(err, errOutOfMemory) {
		return nil, &backend.MemoryError{Asked: bytes, Free: free, Of: "the GPU's " + mib(total)}
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

func mib(n int64) string { return fmt.Sprintf("%d MiB", (n+1<<20-1)>>20) }

// New implements backend.Slab.
func (s *slab) New(dt tensor.Dtype, shape ...int) (*tensor.Dense, error) {
	size, err := backend.TensorBytes(dt, shape...)
	if err == nil && dt == backend.BF16 && s.b.ActivationType() != backend.BF16 {
		err = &backend.DTypeError{Op: "New", Arg: "dtype", Got: dt, Want: backend.F32}
	}
	if err != nil {
		return nil, err
	}
	if size > s.size-s.used {
		return nil, fmt.Errorf("cuda: slab of %d bytes has %d left, %d asked for: %w", s.size, s.size-s.used, size, backend.ErrOutOfMemory)
	}
	t, err := s.b.wrap(dt, s.base+cudax.Address(s.used), size, shape)
	if err != nil {
		return nil, err
	}
	s.used = min(s.used+backend.Align(size), s.size)
	return t, nil
}

func (s *slab) Bytes() int64 { return s.size }
func (s *slab) Used() int64  { return s.used }

// Free implements backend.Slab.
func (s *slab) Free() error {
	base := s.base
	s.base, s.size, s.used = 0, 0, 0
	if base == 0 || s.b.closed {
		return nil
	}
	if err := s.b.outsideCapture("Free"); err != nil {
		return err
	}
	return s.b.queue.do("Free", func() error { return errors.Join(s.b.machine.synchronize(), s.b.machine.release(base)) })
}

// wrap makes a tensor over device memory.
func (b *Backend) wrap(dt tensor.Dtype, p cudax.Address, size int64, shape []int) (*tensor.Dense, error) {
	if dt != backend.F32 && dt != backend.BF16 && dt != backend.I32 && dt != backend.I8 {
		return nil, &backend.DTypeError{Op: "New", Arg: "dtype", Got: dt, Want: backend.F32}
	}
	return tensor.New(tensor.WithShape(shape...), tensor.Of(dt), tensor.WithEngine(b),
		tensor.FromMemory(uintptr(p), uintptr(size))), nil
}

// View implements backend.Memory.
func (b *Backend) View(t *tensor.Dense, offset int, shape ...int) (*tensor.Dense, error) {
	if err := check.View(b, t, offset, shape); err != nil {
		return nil, err
	}
	size := int64(t.Dtype().Size())
	n := int64(tensor.Shape(shape).TotalSize())
	return b.wrap(t.Dtype(), at(t)+cudax.Address(int64(offset)*size), n*size, shape)
}

// hostBytes is the memory of a host slice of a type that CheckTransfer accepts.
func hostBytes(host any) (p unsafe.Pointer) {
	switch h := host.(type) {
	case []float32:
		p = unsafe.Pointer(unsafe.SliceData(h))
	case []uint16:
		p = unsafe.Pointer(unsafe.SliceData(h))
	case []int32:
		p = unsafe.Pointer(unsafe.SliceData(h))
	case []int8:
		p = unsafe.Pointer(unsafe.SliceData(h))
	}
	return p
}

// Upload implements backend.Memory. It passes through page-locked memory, so that the copy itself runs beside the
// host.
func (b *Backend) Upload(dst *tensor.Dense, src any) error {
	n, err := check.Transfer(b, "Upload", dst, src)
	if err == nil {
		err = b.outsideCapture("Upload")
	}
	if err != nil || n == 0 {
		return err
	}
	if err := b.queue.err(); err != nil {
		return err
	}
	p := hostBytes(src)
	return b.queue.do("Upload", func() error { return b.machine.upload(at(dst), unsafe.Slice((*byte)(p), n)) })
}

// Download implements backend.Memory.
func (b *Backend) Download(dst any, src *tensor.Dense) error {
	n, err := check.Transfer(b, "Download", src, dst)
	if err == nil {
		err = b.outsideCapture("Download")
	}
	if err != nil || n == 0 {
		return err
	}
	p := hostBytes(dst)
	err = b.queue.do("Download", func() error { return b.machine.download(unsafe.Slice((*byte)(p), n), at(src)) })
	if err != nil {
		return err
	}
	return b.queue.err()
}

// Copy implements backend.Memory.
func (b *Backend) Copy(dst, src *tensor.Dense) error {
	if err := check.Copy(b, dst, src); err != nil {
		return err
	}
	n := int64(src.Shape().TotalSize()) * int64(src.Dtype().Size())
	return b.enqueue("Copy", func() error { return b.machine.copy(at(dst), at(src), n) })
}

// Zero implements backend.Memory.
func (b *Backend) Zero(t *tensor.Dense) error {
	if t == nil || t.Engine() != tensor.Engine(b) {
		return &backend.OwnerError{Op: "Zero", Arg: "t"}
	}
	n := int64(t.Shape().TotalSize()) * int64(t.Dtype().Size())
	return b.enqueue("Zero", func() error { return b.machine.zero(at(t), n) })
}

// enqueue runs f, which only enqueues, on the owner goroutine.
func (b *Backend) enqueue(op string, f func() error) error {
	if b.closed {
		return fmt.Errorf("cuda: %s: the backend is closed: %w", op, backend.ErrUnavailable)
	}
	if err := b.flush(); err != nil {
		return err
	}
	if err := b.queue.err(); err != nil {
		return err
	}
	return b.queue.do(op, f)
}
