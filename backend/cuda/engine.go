package cuda

import (
	"fmt"

	"gorgonia.org/tensor"

	"mito/backend"
)

// Backend is a tensor.Engine whose memory Go cannot reach, so that host arithmetic on its tensors is an error. Tensors
// are made by slabs only.

var errHost = fmt.Errorf("cuda: host access to device memory: %w", backend.ErrUnsupported)

// AllocAccessible implements tensor.Engine.
func (b *Backend) AllocAccessible() bool { return false }

// Alloc implements tensor.Engine.
func (b *Backend) Alloc(int64) (tensor.Memory, error) { return nil, errHost }

// Free implements tensor.Engine.
func (b *Backend) Free(tensor.Memory, int64) error { return nil }

// Memset implements tensor.Engine.
func (b *Backend) Memset(tensor.Memory, interface{}) error { return errHost }

// Memclr implements tensor.Engine, which gives it no way to refuse.
func (b *Backend) Memclr(tensor.Memory) {}

// Memcpy implements tensor.Engine.
func (b *Backend) Memcpy(dst, src tensor.Memory) error { return errHost }

// Accessible implements tensor.Engine.
func (b *Backend) Accessible(tensor.Memory) (tensor.Memory, error) { return nil, errHost }

// WorksWith implements tensor.Engine: tensors are row-major.
func (b *Backend) WorksWith(order tensor.DataOrder) bool { return order.IsRowMajor() }
