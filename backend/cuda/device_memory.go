//go:build cuda && linux && (amd64 || arm64)

package cuda

import (
	"errors"
	"fmt"
	"unsafe"

	"gorgonia.org/cu"

	"mito/backend"
	"mito/backend/cuda/cudax"
	"mito/backend/cuda/cudrv"
)

func init() {
	backend.Register("cuda", func(o backend.Options) (backend.Backend, error) {
		b, err := Open(o)
		if err != nil {
			return nil, err
		}
		return b, nil
	})
}

// Open opens the GPU that o names. The error wraps backend.ErrUnavailable where the machine has no driver, no GPU or
// one that is too old.
func Open(o backend.Options) (*Backend, error) {
	if err := cudrv.Available(); err != nil {
		return nil, fmt.Errorf("%w: %w", backend.ErrUnavailable, err)
	}
	return start(&device{bf16: o.Precision != backend.Float32}, o)
}

func (d *device) room() (free, total int64, err error) { return cu.MemInfo() }

func (d *device) allocate(bytes int64) (cudax.Address, error) {
	p, err := cu.MemAlloc(bytes)
	if errors.Is(err, error(cu.OutOfMemory)) {
		err = fmt.Errorf("%w: %w", errOutOfMemory, err)
	}
	if err != nil {
		return 0, err
	}
	if err := cudax.Memset(p, 0, bytes, d.stream); err != nil {
		return 0, errors.Join(err, cu.MemFree(p))
	}
	return cudax.Address(p), nil
}

func (d *device) release(p cudax.Address) error { return cu.MemFree(cu.DevicePtr(p)) }

func (d *device) copy(dst, src cudax.Address, bytes int64) error {
	return cu.MemcpyDtoDAsync(cu.DevicePtr(dst), cu.DevicePtr(src), bytes, d.stream)
}

func (d *device) zero(dst cudax.Address, bytes int64) error {
	return cudax.Memset(cu.DevicePtr(dst), 0, bytes, d.stream)
}

func (d *device) synchronize() error { return cudax.Synchronize(d.stream) }

func (d *device) streamHandle() uintptr { return cudax.StreamHandle(d.stream) }

func (d *device) begin() error { return cudax.BeginCapture(d.stream) }

func (d *device) end() (recording, error) {
	g, err := cudax.EndCapture(d.stream)
	if err != nil {
		return nil, err
	}
	return g, nil
}

func (d *device) replay(r recording) error { return r.(*cudax.Graph).Launch(d.stream) }

// upload copies through the staging memory, waiting for earlier copies where it is full.
func (d *device) upload(dst cudax.Address, src []byte) error {
	for len(src) > 0 {
		if d.staged == len(d.pinned) {
			if err := cudax.Synchronize(d.stream); err != nil {
				return err
			}
			d.staged = 0
		}
		n := copy(d.pinned[d.staged:], src)
		if err := cu.MemcpyHtoDAsync(cu.DevicePtr(dst), unsafe.Pointer(&d.pinned[d.staged]), int64(n), d.stream); err != nil {
			return err
		}
		d.staged = int(min(backend.Align(int64(d.staged+n)), int64(len(d.pinned))))
		dst += cudax.Address(n)
		src = src[n:]
	}
	return nil
}

// download copies through the staging memory: what the driver writes to must not be a part of a Go object that holds
// pointers.
func (d *device) download(dst []byte, src cudax.Address) error {
	for len(dst) > 0 {
		n := min(len(dst), len(d.pinned))
		if err := cudax.Synchronize(d.stream); err != nil { // earlier uploads have left the staging memory
			return err
		}
		d.staged = 0
		if err := cu.MemcpyDtoHAsync(unsafe.Pointer(&d.pinned[0]), cu.DevicePtr(src), int64(n), d.stream); err != nil {
			return err
		}
		if err := cudax.Synchronize(d.stream); err != nil {
			return err
		}
		copy(dst, d.pinned[:n])
		dst, src = dst[n:], src+cudax.Address(n)
	}
	return nil
}
