package cuda

import (
	"fmt"

	"mito/backend"
	"mito/backend/cuda/cudax"
)

// workspace is scratch memory for partial results within one operation. Its size is fixed when the backend opens, so
// that its address can be recorded in graphs.
type workspace struct {
	base cudax.Address
	size int64
}

// The head of the workspace belongs to the reductions; what follows, to one operation at a time.
const (
	reducePartials = 0           // 1024 float64
	reduceCounter  = 8 << 10     // uint32, zero between reductions
	gemmCounters   = 8<<10 + 256 // uint32 of the tiles of a product in parts, zero between products
	workspaceHead  = 16 << 10
	reduceBlocks   = 1024

	gemmCounterCount = (workspaceHead - gemmCounters) / 4
)

// workspaceBytes is the size of the workspace on a device with so much memory.
func workspaceBytes(total int64) int64 { return backend.Align(min(64<<20, max(1<<20, total/64))) }

func (w *workspace) head(offset int64) cudax.Address { return w.base + cudax.Address(offset) }

// room is the number of bytes that an operation may take.
func (w *workspace) room() int64 { return w.size - workspaceHead }

// take returns n bytes.
func (w *workspace) take(op string, n int64) (cudax.Address, error) {
	if n > w.room() {
		return 0, fmt.Errorf("cuda: %s: %d bytes of workspace needed, there are %d: %w", op, n, w.room(), backend.ErrUnsupported)
	}
	return w.base + workspaceHead, nil
}
