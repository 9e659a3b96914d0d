// Package cpu is the backend in pure Go over the kernels of mito/kernels. It is also the truth that other backends
// are validated against.
//
// Threads split rows or columns, never a sum, so results do not depend on their number. Steady state allocates
// nothing: every operation has one task struct that it reuses.
package cpu

import (
	"runtime"

	"golang.org/x/sys/cpu"
	"gorgonia.org/tensor"

	"mito/backend"
	"mito/backend/memlimit"
	"mito/kernels/attn"
	"mito/kernels/gemm"
	"mito/kernels/kv"
	"mito/kernels/parallel"
	"mito/kernels/qgemm"
	"mito/kernels/sparse"
	"mito/kernels/vec"
)

func init() {
	backend.Register("cpu", func(o backend.Options) (backend.Backend, error) { return New(o.Threads), nil })
}

// Backend is the CPU backend. Its tensors are ordinary Go memory, which the garbage collector keeps.
type Backend struct {
	reserved int64 // bytes of slabs that were not freed
	tensor.StdEng
	pool    *parallel.Pool
	tasks   tasks
	scratch scratch
	caches  caches  // of QAttention
	acc     []int32 // of QLinear
	dense   []int8  // of QSparseLinear
}

var _ backend.Backend = (*Backend)(nil)

// New opens the CPU backend with the given number of threads; fewer than one means all
// processors, more than parallel.MaxThreads means that.
func New(threads int) *Backend {
	if threads < 1 {
		threads = runtime.GOMAXPROCS(0)
	}
	return &Backend{pool: parallel.New(threads)}
}

// Info describes the processor, the threads and the kernel variants in use.
func (b *Backend) Info() backend.Info {
	memory, _ := memlimit.Process()
	return backend.Info{
		Name: "cpu", Device: processor(), Threads: b.pool.Threads(), Memory: memory.Total.Bytes,
		Kernels: map[string]string{
			"gemm": gemm.Variant(), "vec": vec.Variant(), "attn": attn.Variant(),
			"qgemm": qgemm.Variant(), "sparse": sparse.Variant(), "decode": kv.Variant(),
		},
	}
}

// Close ends the worker threads.
func (b *Backend) Close() error {
	b.pool.Close()
	return nil
}

// Synchronize has nothing to wait for.
func (b *Backend) Synchronize() error { return nil }

// processor describes the machine's architecture and the vector extensions that matter here.
func processor() string {
	name := runtime.GOARCH
	for _, f := range []struct {
		has  bool
		name string
	}{
		{cpu.X86.HasAVX2 && cpu.X86.HasFMA, "avx2+fma"},
		{cpu.X86.HasAVX512F, "avx512"},
		{cpu.X86.HasAVX512VNNI, "vnni"},
		{cpu.ARM64.HasASIMD, "neon"},
		{cpu.ARM64.HasASIMDDP, "dotprod"},
	} {
		if f.has {
			name += " " + f.name
		}
	}
	return name
}

// tasks holds one reusable task for each operation, by group.
type tasks struct {
	linearTasks
	elementwiseTasks
	normTasks
	embeddingTasks
	lossTasks
	optimTasks
	quantTasks
}

// Work below these sizes is not worth waking another thread for.
const (
	grainElems = 8192 // elements of cheap elementwise work
	lineCols   = 16   // columns of work that is split by column: a cache line of float32
)

// grainRows is the number of rows of c elements that make a piece of work.
func grainRows(c int) int { return max(1, grainElems/max(c, 1)) }

// grainCols gives every thread one range of c columns: a range is walked row by row, and the calls on narrow ones cost
// more than they compute.
func (b *Backend) grainCols(c int) int {
	lines := (c + lineCols - 1) / lineCols
	threads := b.pool.Threads()
	return (lines + threads - 1) / threads * lineCols
}
