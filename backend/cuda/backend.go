package cuda

import (
	"errors"
	"fmt"

	"gorgonia.org/tensor"

	"mito/backend"
	"mito/backend/cuda/cudax"
	kernels "mito/kernels/cuda"
)

// Backend is the CUDA backend.
type Backend struct {
	queue     *queue
	machine   machine
	card      card
	info      backend.Info
	bf16      bool
	capturing bool
	closed    bool
	work      workspace
	earlier   pending // a product that was held back before pending, or none
	pending   pending // the last product
	held      error   // of what begin sent
	task      task    // the launch being put together; a Backend is used by one goroutine at a time
	lt        ltChooser
}

var (
	_ backend.Backend       = (*Backend)(nil)
	_ backend.GraphCapturer = (*Backend)(nil)
	_ backend.Gatherer      = (*Backend)(nil)
	_ backend.Narrower      = (*Backend)(nil)
)

// machine carries out what the backend asks for: a GPU by its driver, or a record of it. Only the owner goroutine of the
// queue calls it.
type machine interface {
	// open finds the device and reserves a workspace of zeros.
	open(ordinal int) (card, error)
	close() error
	room() (free, total int64, err error)
	allocate(bytes int64) (cudax.Address, error) // zeroed; errOutOfMemory where there is no room
	release(cudax.Address) error
	upload(dst cudax.Address, src []byte) error
	download(dst []byte, src cudax.Address) error
	copy(dst, src cudax.Address, bytes int64) error
	zero(dst cudax.Address, bytes int64) error
	synchronize() error
	launch(*task) error
	// begin starts a recording of what follows, end ends it; loadAll prepares every kernel, so that nothing waits while one
	// is made.
	loadAll() error
	begin() error
	end() (recording, error)
	replay(recording) error
}

// recording is a sequence of operations that a machine holds.
type recording interface {
	Nodes() int
	Destroy() error
}

// card describes a device.
type card struct {
	name         string
	major, minor int
	processors   int
	maxShared    int   // bytes of shared memory that a block may ask for
	memory       int64 // bytes
	workspace    cudax.Address
}

// errOutOfMemory says that a device has no room.
var errOutOfMemory = errors.New("out of memory")

// start opens a backend on a machine.
func start(m machine, o backend.Options) (*Backend, error) {
	b := &Backend{queue: newQueue(), machine: m, bf16: o.Precision != backend.Float32}
	b.queue.launch, b.queue.replay = m.launch, m.replay
	go b.queue.loop()
	err := b.queue.do("Open", func() (err error) {
		b.card, err = m.open(o.Device)
		return err
	})
	if err != nil {
		// What close finds after a failed open adds nothing to the reason.
		_ = b.queue.do("Open", m.close)
		b.queue.stop()
		return nil, err
	}
	c := &b.card
	b.work = workspace{base: c.workspace, size: workspaceBytes(c.memory)}
	b.info = backend.Info{
		Name: "cuda", Device: fmt.Sprintf("%s (compute capability %d.%d)", c.name, c.major, c.minor), Memory: c.memory,
		Kernels: map[string]string{"precision": o.Precision.String(), "ptx": "compute_80"},
	}
	if o.Precision == backend.CublasLt {
		b.info.Kernels["products"] = b.openLt()
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

// ActivationType implements backend.Narrower.
func (b *Backend) ActivationType() tensor.Dtype {
	if b.bf16 && b.lt.machine == nil { // the library takes factors of float32
		return backend.BF16
	}
	return backend.F32
}

// Info implements backend.Backend.
func (b *Backend) Info() backend.Info { return b.info }

// Close implements backend.Backend. Slabs and graphs that were not freed go with the context.
func (b *Backend) Close() error {
	if b.closed {
		return nil
	}
	b.earlier.set, b.pending.set = false, false
	b.closed = true
	err := b.queue.do("Close", b.machine.close)
	b.queue.stop()
	return err
}

// Synchronize implements backend.Memory.
func (b *Backend) Synchronize() error {
	if err := b.outsideCapture("Synchronize"); err != nil {
		return err
	}
	if err := b.queue.do("Synchronize", b.machine.synchronize); err != nil {
		return err
	}
	return b.queue.err()
}

// OnStream runs f on the thread that owns the device, in order with the backend's operations, for libraries that queue work on its
// stream themselves, such as NCCL. Errors: backend.ErrUnsupported where there is no stream, f's.
func (b *Backend) OnStream(op string, f func(stream uintptr) error) error {
	if err := b.outsideCapture(op); err != nil {
		return err
	}
	m, ok := b.machine.(interface{ streamHandle() uintptr })
	if !ok {
		return fmt.Errorf("%s: %w", op, backend.ErrUnsupported)
	}
	return b.queue.do(op, func() error { return f(m.streamHandle()) })
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
	b.task.op, b.task.kernel, b.task.shared, b.task.plan, b.task.lt = op, k, 0, nil, ltCall{}
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
	if b.task.shared > b.card.maxShared {
		return fmt.Errorf("cuda: %s: %d bytes of shared memory needed, a block has %d: %w",
			b.task.op, b.task.shared, b.card.maxShared, backend.ErrUnsupported)
	}
	b.task.grid, b.task.block = grid, block
	return b.queue.send(&b.task)
}

// elements runs a kernel whose threads stride over n elements, in one wave of blocks.
func (b *Backend) elements(n int) error {
	const threads, each = 256, 4
	blocks := min(ceil(n, threads*each), b.task.kernel.Striding()*b.card.processors)
	return b.run(line(max(blocks, 1)), line(threads))
}

func line(x int) cudax.Dim { return cudax.Dim{X: x, Y: 1, Z: 1} }

func ceil(a, b int) int { return (a + b - 1) / b }

// at is the device address of a tensor, 0 for one that is absent.
func at(t *tensor.Dense) cudax.Address {
	if t == nil {
		return 0
	}
	return cudax.Address(t.Uintptr())
}

// half says that a tensor is of bfloat16.
func half(t *tensor.Dense) bool { return t != nil && t.Dtype() == backend.BF16 }

// flags packs booleans, the first in the lowest bit.
func flags(set ...bool) (v int) {
	for i, f := range set {
		v |= flag(f) << i
	}
	return v
}

func flag(v bool) int {
	if v {
		return 1
	}
	return 0
}
