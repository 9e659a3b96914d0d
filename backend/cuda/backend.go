//go:build cuda && linux && (amd64 || arm64)

package cuda

import (
	"fmt"

	"gorgonia.org/cu"
	"gorgonia.org/tensor"

	"mito/backend"
	"mito/backend/cuda/cudax"
	"mito/backend/cuda/cudrv"
	kernels "mito/kernels/cuda"
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

// Backend is the CUDA backend.
type Backend struct {
	queue     *queue
	device    *device
	info      backend.Info
	bf16      bool
	capturing bool
	closed    bool
	work      workspace
	pending   pending
	held      error // of a product that begin sent
	task      task  // the launch being put together; a Backend is used by one goroutine at a time
}

var (
	_ backend.Backend       = (*Backend)(nil)
	_ backend.GraphCapturer = (*Backend)(nil)
	_ backend.Gatherer      = (*Backend)(nil)
)

// Open opens the GPU that o names. The error wraps backend.ErrUnavailable where the machine has no driver, no GPU or
// one that is too old.
func Open(o backend.Options) (*Backend, error) {
	if err := cudrv.Available(); err != nil {
		return nil, fmt.Errorf("%w: %w", backend.ErrUnavailable, err)
	}
	bf16 := o.Precision == backend.BFloat16
	b := &Backend{queue: newQueue(), device: &device{bf16: bf16}, bf16: bf16}
	d := b.device
	b.queue.launch = d.launch
	b.queue.replay = func(g *cudax.Graph) error { return g.Launch(d.stream) }
	go b.queue.loop()
	err := b.queue.do("Open", func() error { return d.open(o.Device, workspaceBytes) })
	if err != nil {
		// What close finds after a failed open adds nothing to the reason.
		_ = b.queue.do("Open", d.close)
		b.queue.stop()
		return nil, err
	}
	b.work = workspace{base: d.workspace, size: workspaceBytes(d.memory)}
	b.info = backend.Info{
		Name: "cuda", Device: fmt.Sprintf("%s (compute capability %d.%d)", d.name, d.major, d.minor), Memory: d.memory,
		Kernels: map[string]string{"precision": o.Precision.String(), "ptx": "compute_80"},
	}
	return b, nil
}

// Stats counts what the host sent to the device.
type Stats struct {
	Launches int64 // kernels, those recorded in graphs counted once
	Replays  int64 // of graphs
}

// Stats returns the counts since the backend was opened.
func (b *Backend) Stats() Stats {
	return Stats{Launches: b.queue.stats.launches.Load(), Replays: b.queue.stats.replays.Load()}
}

// Info implements backend.Backend.
func (b *Backend) Info() backend.Info { return b.info }

// Close implements backend.Backend. Slabs and graphs that were not freed go with the context.
func (b *Backend) Close() error {
	if b.closed {
		return nil
	}
	b.pending.set = false
	b.closed = true
	err := b.queue.do("Close", b.device.close)
	b.queue.stop()
	return err
}

// Synchronize implements backend.Memory.
func (b *Backend) Synchronize() error {
	if err := b.outsideCapture("Synchronize"); err != nil {
		return err
	}
	if err := b.queue.do("Synchronize", func() error { return b.device.stream.Synchronize() }); err != nil {
		return err
	}
	return b.queue.err()
}

// outsideCapture keeps calls that wait for the device out of a recording, which they would spoil, and sends what was
// held back before them.
func (b *Backend) outsideCapture(op string) error {
	if b.closed {
		return fmt.Errorf("cuda: %s: the backend is closed: %w", op, backend.ErrUnavailable)
	}
	if b.capturing {
		return fmt.Errorf("cuda: %s inside Capture: %w", op, backend.ErrUnsupported)
	}
	return b.flush()
}

// begin starts a launch and returns its empty argument list.
func (b *Backend) begin(op string, k kernels.Kernel) *cudax.Args {
	if err := b.flush(); err != nil {
		b.held = err
	}
	b.task.op, b.task.kernel, b.task.shared = op, k, 0
	b.task.args.Reset()
	return &b.task.args
}

// run sends the launch that begin started.
func (b *Backend) run(grid, block cudax.Dim) error {
	if b.closed {
		return fmt.Errorf("cuda: %s: the backend is closed: %w", b.task.op, backend.ErrUnavailable)
	}
	if err := b.held; err != nil {
		b.held = nil
		return err
	}
	const maxYZ = 65535
	if grid.X <= 0 || grid.Y <= 0 || grid.Z <= 0 || grid.Y > maxYZ || grid.Z > maxYZ {
		return fmt.Errorf("cuda: %s: a grid of %d×%d×%d blocks: %w", b.task.op, grid.X, grid.Y, grid.Z, backend.ErrUnsupported)
	}
	if b.task.shared > b.device.maxShared {
		return fmt.Errorf("cuda: %s: %d bytes of shared memory needed, a block has %d: %w",
			b.task.op, b.task.shared, b.device.maxShared, backend.ErrUnsupported)
	}
	b.task.grid, b.task.block = grid, block
	return b.queue.send(&b.task)
}

// elements runs a kernel whose threads stride over n elements, in one wave of blocks.
func (b *Backend) elements(n int) error {
	const threads, each = 256, 4
	blocks := min(ceil(n, threads*each), b.task.kernel.Striding()*b.device.processors)
	return b.run(line(max(blocks, 1)), line(threads))
}

func line(x int) cudax.Dim { return cudax.Dim{X: x, Y: 1, Z: 1} }

func ceil(a, b int) int { return (a + b - 1) / b }

// at is the device address of a tensor, 0 for one that is absent.
func at(t *tensor.Dense) cu.DevicePtr {
	if t == nil {
		return 0
	}
	return cu.DevicePtr(t.Uintptr())
}

func flag(v bool) int {
	if v {
		return 1
	}
	return 0
}
