package parallel

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
)

// Task computes the items lo <= i < hi. Do is called from several goroutines at once with ranges that do not overlap.
type Task interface{ Do(lo, hi int) }

const (
	// chunksPerThread trades balance (a thread may be slow to start or be preempted) against calls of Do.
	chunksPerThread = 4

	// A worker looks this often for new work before it parks. Training issues its ops a few microseconds apart and
	// waking a parked goroutine costs as much, so the spin is about that long.
	spinLoads  = 3000
	spinYields = 20

	// The state word: generation in the upper half, openBit while chunks are handed out, below it the number of
	// workers inside the run.
	openBit    = 1 << 31
	activeMask = openBit - 1
	genUnit    = 1 << 32
)

// Pool is a set of goroutines that stay alive between runs. A nil *Pool is valid and runs everything on the caller.
// Run may be called from several goroutines, and by a Task from inside a run: whoever finds the pool busy computes
// its whole range itself.
type Pool struct {
	threads int
	spin    bool
	workers []*worker

	mu     sync.Mutex // held by the run in progress
	closed atomic.Bool

	// The run in progress. Written only while no worker is inside (see state).
	task     Task
	n, chunk int
	next     atomic.Int64
	failure  atomic.Pointer[failure]

	state   atomic.Uint64
	waiting atomic.Bool
	done    chan struct{}
	exited  sync.WaitGroup
}

type worker struct {
	parked atomic.Bool
	wake   chan struct{}
}

type failure struct {
	value any
	stack []byte
}

// MaxThreads bounds a pool. No machine that mito knows of has as many processors, and every thread has a goroutine here and
// buffers in the packages that use the pool.
const MaxThreads = 1024

// New returns a pool that uses the given number of threads, the caller of Run among them. Fewer than one means
// GOMAXPROCS, more than MaxThreads means that.
func New(threads int) *Pool {
	if threads < 1 {
		threads = runtime.GOMAXPROCS(0)
	}
	threads = min(threads, MaxThreads)
	p := &Pool{
		threads: threads,
		// With fewer processors than threads a spinning goroutine only takes the processor from a working one.
		spin: runtime.GOMAXPROCS(0) >= threads && runtime.NumCPU() >= threads,
		done: make(chan struct{}, 1),
	}
	for range threads - 1 {
		w := &worker{wake: make(chan struct{}, 1)}
		p.workers = append(p.workers, w)
		p.exited.Add(1)
		go p.loop(w)
	}
	return p
}

// Threads returns the number of threads; a nil pool has one.
func (p *Pool) Threads() int {
	if p == nil {
		return 1
	}
	return p.threads
}

// Run calls t.Do on disjoint ranges that cover 0 <= i < n and returns when all are done. Every range begins at a
// multiple of grain and, but for the last, has a multiple of grain items (grain < 1 counts as 1). A panic of t.Do is
// raised again on the caller, after all threads have left the run.
func (p *Pool) Run(n, grain int, t Task) {
	if n <= 0 {
		return
	}
	grain = max(grain, 1)
	if p == nil || p.threads == 1 || n <= grain || p.closed.Load() || !p.mu.TryLock() {
		t.Do(0, n)
		return
	}
	defer p.mu.Unlock()

	units := (n + grain - 1) / grain
	per := p.threads * chunksPerThread
	p.chunk = (units + per - 1) / per * grain
	p.task, p.n = t, n
	p.next.Store(0)
	p.failure.Store(nil)

	chunks := (n + p.chunk - 1) / p.chunk
	p.state.Add(genUnit | openBit)
	for _, w := range p.workers[:min(len(p.workers), chunks-1)] {
		w.unpark()
	}
	p.work()
	p.state.And(^uint64(openBit))
	p.awaitWorkers()
	p.task = nil
	if f := p.failure.Load(); f != nil {
		panic(fmt.Sprintf("parallel: task panicked: %v\n%s", f.value, f.stack))
	}
}

// Close ends the goroutines and waits for them. Later runs are computed by their caller. Close may be called twice.
func (p *Pool) Close() {
	if p == nil || p.closed.Swap(true) {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, w := range p.workers {
		w.unpark()
	}
	p.exited.Wait()
}

// work takes chunks until none is left.
func (p *Pool) work() {
	defer func() {
		if v := recover(); v != nil {
			buf := make([]byte, 4096)
			p.failure.CompareAndSwap(nil, &failure{v, buf[:runtime.Stack(buf, false)]})
			p.next.Store(int64(p.n)) // the result is lost: let the others stop
		}
	}()
	for {
		hi := int(p.next.Add(int64(p.chunk)))
		lo := hi - p.chunk
		if lo >= p.n {
			return
		}
		p.task.Do(lo, min(hi, p.n))
	}
}

// awaitWorkers returns when no worker is inside the run. The run is closed, so none can enter.
func (p *Pool) awaitWorkers() {
	for i := 0; ; i++ {
		if p.state.Load()&activeMask == 0 {
			return
		}
		if p.spin && i < spinLoads {
			continue
		}
		// Swap, since QEMU 7.2 on amd64 lets an arm64 guest load the state before its store of the flag is seen, which no
		// arm64 processor does: the last worker then found no waiter, and the caller slept for ever.
		p.waiting.Swap(true)
		if p.state.Load()&activeMask != 0 {
			<-p.done
		}
		p.waiting.Store(false)
	}
}

func (p *Pool) loop(w *worker) {
	defer p.exited.Done()
	var seen uint64 // the generation that this worker has worked on
	for {
		s := p.await(w, seen)
		if p.closed.Load() && s&openBit == 0 {
			return
		}
		if s&openBit == 0 || s/genUnit == seen {
			continue
		}
		if !p.state.CompareAndSwap(s, s+1) {
			continue
		}
		seen = s / genUnit
		p.work()
		if s := p.state.Add(^uint64(0)); s&(openBit|activeMask) == 0 && p.waiting.Swap(false) {
			// A token may be left over from a wait that saw the end by itself. One is enough: the waiter looks again.
			select {
			case p.done <- struct{}{}:
			default:
			}
		}
	}
}

// await returns a state that is open and of another generation than seen, or whatever it is when the pool closes.
func (p *Pool) await(w *worker, seen uint64) uint64 {
	ready := func(s uint64) bool { return s&openBit != 0 && s/genUnit != seen || p.closed.Load() }
	for {
		if p.spin {
			for i := range spinLoads {
				if s := p.state.Load(); ready(s) {
					return s
				}
				if i%(spinLoads/spinYields) == 0 {
					runtime.Gosched()
				}
			}
		}
		w.parked.Swap(true) // not Store: see awaitWorkers
		if s := p.state.Load(); ready(s) {
			if !w.parked.Swap(false) {
				<-w.wake // the waker saw the flag: take its token, or it would wake a later sleep for nothing
			}
			return s
		}
		<-w.wake
	}
}

func (w *worker) unpark() {
	if w.parked.Load() && w.parked.Swap(false) {
		w.wake <- struct{}{}
	}
}
