package cuda

import (
	"runtime"
	"sync/atomic"

	"mito/backend"
	"mito/backend/cuda/cudax"
	kernels "mito/kernels/cuda"
)

// queueLength bounds how far the host may run ahead of the goroutine that feeds the device.
const queueLength = 512

// task is one thing for the owner goroutine to do: a function, a graph or a kernel.
type task struct {
	op     string
	run    func() error // with done: somebody waits
	done   chan error
	graph  recording
	kernel kernels.Kernel
	grid   cudax.Dim
	block  cudax.Dim
	shared int
	args   cudax.Args
	plan   *backend.MuonPlan // of a launch on many matrices, for its cost
	lt     ltCall            // instead of a kernel
}

// queue hands work to the one goroutine that owns the device.
type queue struct {
	tasks   chan task
	stopped chan struct{}
	failed  atomic.Pointer[backend.DeviceError] // the first error of asynchronous work
	stats   struct{ launches, replays atomic.Int64 }
	reply   chan error // reused by do
	launch  func(*task) error
	replay  func(recording) error
}

func newQueue() *queue {
	return &queue{tasks: make(chan task, queueLength), stopped: make(chan struct{}), reply: make(chan error, 1)}
}

// loop owns the device until the queue is closed. It never unlocks its thread, so that the thread, in which the
// context is current, ends with it.
func (q *queue) loop() {
	runtime.LockOSThread()
	defer close(q.stopped)
	for t := range q.tasks {
		var err error
		switch {
		case t.run != nil:
			t.done <- t.run()
			continue
		case t.graph != nil:
			q.stats.replays.Add(1)
			err = q.replay(t.graph)
		default:
			q.stats.launches.Add(1)
			err = q.launch(&t)
		}
		if err != nil {
			q.failed.CompareAndSwap(nil, &backend.DeviceError{Op: t.op, Err: err})
		}
	}
}

// err is the error of asynchronous work so far.
func (q *queue) err() error {
	if e := q.failed.Load(); e != nil {
		return e
	}
	return nil
}

// send enqueues asynchronous work.
func (q *queue) send(t *task) error {
	if err := q.err(); err != nil {
		return err
	}
	q.tasks <- *t
	return nil
}

// do runs f on the owner goroutine, after everything sent before, and waits for it.
func (q *queue) do(op string, f func() error) error {
	q.tasks <- task{op: op, run: f, done: q.reply}
	if err := <-q.reply; err != nil {
		return &backend.DeviceError{Op: op, Err: err}
	}
	return nil
}

// stop ends the owner goroutine.
func (q *queue) stop() {
	close(q.tasks)
	<-q.stopped
}
