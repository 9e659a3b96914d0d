package cpu

import (
	"fmt"
	"runtime/debug"
	"sync"
	"unsafe"

	"gorgonia.org/tensor"

	"mito/backend"
	"mito/backend/internal/check"
	"mito/backend/memlimit"
)

const align = backend.Alignment

// slab is a piece of Go memory. Tensors hold slices of it, so the garbage collector keeps it as long as they live.
type slab struct {
	b     *Backend
	mem   []byte
	used  int64
	bytes int64 // counted among what is reserved
}

// NewSlab implements backend.Memory.
func (b *Backend) NewSlab(bytes int64) (s backend.Slab, err error) {
	if bytes < 0 {
		return nil, fmt.Errorf("%d bytes asked for: %w", bytes, backend.ErrOutOfMemory)
	}
	if err := b.room(bytes); err != nil {
		return nil, err
	}
	defer func() {
		if r := recover(); r != nil {
			s, err = nil, fmt.Errorf("%d MiB asked for: %v: %w", bytes>>20, r, backend.ErrOutOfMemory)
		}
	}()
	mem := make([]byte, bytes+align)
	skip := -uintptr(unsafe.Pointer(unsafe.SliceData(mem))) & (align - 1)
	b.reserved += bytes
	return &slab{b: b, mem: mem[skip : skip+uintptr(bytes)], bytes: bytes}, nil
}

// smallSlab is a size that is not worth a look at the system's limits.
const smallSlab = 1 << 20

// room refuses what the process may not use: the system would end it when the memory is touched, not when it is asked for.
func (b *Backend) room(bytes int64) error {
	if bytes < smallSlab {
		return nil
	}
	m, known := memlimit.Process()
	if !known {
		return nil
	}
	// Slabs that were reserved and not touched yet are still among what is free.
	if left := m.Total.Bytes - b.reserved; bytes > left {
		return &backend.MemoryError{Asked: bytes, Free: max(0, left), Of: m.Total.Source}
	}
	if bytes > m.Free.Free {
		debug.FreeOSMemory() // slabs that were freed may still be with the runtime
		m, _ = memlimit.Process()
	}
	if bytes > m.Free.Free {
		return &backend.MemoryError{Asked: bytes, Free: m.Free.Free, Of: m.Free.Source}
	}
	return nil
}

func (s *slab) New(dt tensor.Dtype, shape ...int) (*tensor.Dense, error) {
	size, err := backend.TensorBytes(dt, shape...)
	if err == nil && dt == backend.BF16 {
		err = &backend.DTypeError{Op: "New", Arg: "dtype", Got: dt, Want: backend.F32}
	}
	if err != nil {
		return nil, err
	}
	if size > int64(len(s.mem))-s.used {
		return nil, fmt.Errorf("slab of %d bytes has %d left, %d asked for: %w",
			len(s.mem), int64(len(s.mem))-s.used, size, backend.ErrOutOfMemory)
	}
	mem := s.mem[s.used : s.used+size]
	s.used = min(s.used+backend.Align(size), int64(len(s.mem)))
	return s.b.wrap(dt, mem, shape)
}

func (s *slab) Bytes() int64 { return int64(len(s.mem)) }
func (s *slab) Used() int64  { return s.used }

// Free lets go of the memory. The tasks hold slices of the last operands, which would keep it.
func (s *slab) Free() error {
	s.b.reserved -= s.bytes
	s.mem, s.used, s.bytes = nil, 0, 0
	partial := s.b.tasks.reduce.partial
	s.b.tasks = tasks{}
	s.b.tasks.reduce.partial = partial
	return nil
}

// wrap makes a tensor over memory that is aligned for its dtype.
func (b *Backend) wrap(dt tensor.Dtype, mem []byte, shape []int) (*tensor.Dense, error) {
	var backing any
	p := unsafe.Pointer(unsafe.SliceData(mem))
	switch dt {
	case backend.F32:
		backing = unsafe.Slice((*float32)(p), len(mem)/4)
	case backend.I32:
		backing = unsafe.Slice((*int32)(p), len(mem)/4)
	case backend.I8:
		backing = unsafe.Slice((*int8)(p), len(mem))
	default:
		return nil, &backend.DTypeError{Op: "New", Arg: "dtype", Got: dt, Want: backend.F32}
	}
	return tensor.New(tensor.WithShape(shape...), tensor.WithBacking(backing), tensor.WithEngine(b)), nil
}

// View implements backend.Memory.
func (b *Backend) View(t *tensor.Dense, offset int, shape ...int) (*tensor.Dense, error) {
	if err := check.View(b, t, offset, shape); err != nil {
		return nil, err
	}
	size, n := int(t.Dtype().Size()), tensor.Shape(shape).TotalSize()
	return b.wrap(t.Dtype(), t.Raw[offset*size:][:n*size], shape)
}

// Upload implements backend.Memory.
func (b *Backend) Upload(dst *tensor.Dense, src any) error {
	if _, err := check.Transfer(b, "Upload", dst, src); err != nil {
		return err
	}
	switch src := src.(type) {
	case []float32:
		copy(f32(dst), src)
	case []int32:
		copy(i32(dst), src)
	case []int8:
		copy(i8(dst), src)
	}
	return nil
}

// Download implements backend.Memory.
func (b *Backend) Download(dst any, src *tensor.Dense) error {
	if _, err := check.Transfer(b, "Download", src, dst); err != nil {
		return err
	}
	switch dst := dst.(type) {
	case []float32:
		copy(dst, f32(src))
	case []int32:
		copy(dst, i32(src))
	case []int8:
		copy(dst, i8(src))
	}
	return nil
}

// Copy implements backend.Memory.
func (b *Backend) Copy(dst, src *tensor.Dense) error {
	if err := check.Copy(b, dst, src); err != nil {
		return err
	}
	copy(dst.Raw, src.Raw)
	return nil
}

// Zero implements backend.Memory.
func (b *Backend) Zero(t *tensor.Dense) error {
	if t == nil || t.Engine() != tensor.Engine(b) {
		return &backend.OwnerError{Op: "Zero", Arg: "t"}
	}
	clear(t.Raw)
	return nil
}

// f32, i32 and i8 give the elements of a tensor whose dtype was checked; nil for an optional tensor that is absent.
func f32(t *tensor.Dense) []float32 { return elements[float32](t) }
func i32(t *tensor.Dense) []int32   { return elements[int32](t) }
func i8(t *tensor.Dense) []int8     { return elements[int8](t) }

func elements[T any](t *tensor.Dense) []T {
	if t == nil {
		return nil
	}
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(t.Raw))), t.Shape().TotalSize())
}

// scratch lends rows to the threads of an operation; nil lends none.
type scratch struct {
	mu   sync.Mutex
	free [][]float32
}

func (s *scratch) get(n int) []float32 {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if last := len(s.free) - 1; last >= 0 {
		row := s.free[last]
		s.free = s.free[:last]
		if cap(row) >= n {
			return row[:n]
		}
	}
	return make([]float32, n)
}

func (s *scratch) put(row []float32) {
	if s == nil {
		return
	}
	s.mu.Lock()
	s.free = append(s.free, row)
	s.mu.Unlock()
}
