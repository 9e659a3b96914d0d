//go:build dist && linux

package nccl

import (
	"fmt"

	"gorgonia.org/tensor"

	"mito/engine/dist"
)

// Streamer is a backend on whose stream a library can queue work.
type Streamer interface {
	// OnStream runs f on the thread that owns the device, in order with the backend's operations.
	OnStream(op string, f func(stream uintptr) error) error
}

const (
	typeFloat int32 = 7
	opSum     int32 = 0
)

// Engine is a dist.Engine.
type Engine struct {
	lib        *Library
	on         Streamer
	comm       uintptr
	rank, size int
	version    int
}

var _ dist.Engine = (*Engine)(nil)

// Open makes the communicator of a group whose ranks have the same id. All ranks call it.
func Open(l *Library, on Streamer, id ID, rank, size int) (*Engine, error) {
	e := &Engine{lib: l, on: on, rank: rank, size: size}
	var err error
	if e.version, err = l.Version(); err != nil {
		return nil, err
	}
	err = on.OnStream("ncclCommInitRankScalable", func(uintptr) error {
		return l.check("ncclCommInitRankScalable", l.initRank(&e.comm, int32(size), int32(rank), 1, &id, nil))
	})
	if err != nil {
		return nil, fmt.Errorf("dist: NCCL: %w", err)
	}
	return e, nil
}

// Rank implements dist.Engine.
func (e *Engine) Rank() int { return e.rank }

// Size implements dist.Engine.
func (e *Engine) Size() int { return e.size }

// Name implements dist.Engine.
func (e *Engine) Name() string {
	return fmt.Sprintf("NCCL %d.%d.%d", e.version/10000, e.version/100%100, e.version%100)
}

// queue queues a call on the memory of a tensor.
func (e *Engine) queue(call string, t *tensor.Dense, f func(at, n, stream uintptr) int32) error {
	at, n := t.Uintptr(), uintptr(t.Shape().TotalSize())
	return e.on.OnStream(call, func(stream uintptr) error { return e.lib.check(call, f(at, n, stream)) })
}

// Send implements dist.Engine.
func (e *Engine) Send(t *tensor.Dense, to int) error {
	return e.queue("ncclSend", t, func(at, n, stream uintptr) int32 { return e.lib.send(at, n, typeFloat, int32(to), e.comm, stream) })
}

// Blocks implements dist.Engine.
func (e *Engine) Blocks() bool { return true }

// Receive implements dist.Engine.
func (e *Engine) Receive(t *tensor.Dense, from int) error {
	return e.queue("ncclRecv", t, func(at, n, stream uintptr) int32 { return e.lib.recv(at, n, typeFloat, int32(from), e.comm, stream) })
}

// Ready implements dist.Engine: the stream waits, not the host.
func (e *Engine) Ready(int) bool { return true }

// Wait implements dist.Engine: what follows on the stream comes after what was sent.
func (e *Engine) Wait() error { return nil }

// Broadcast implements dist.Engine.
func (e *Engine) Broadcast(t *tensor.Dense, root int) error {
	return e.queue("ncclBroadcast", t, func(at, n, stream uintptr) int32 {
		return e.lib.broadcast(at, at, n, typeFloat, int32(root), e.comm, stream)
	})
}

// Sum implements dist.Engine.
func (e *Engine) Sum(t *tensor.Dense) error {
	return e.queue("ncclAllReduce", t, func(at, n, stream uintptr) int32 {
		return e.lib.allReduce(at, at, n, typeFloat, opSum, e.comm, stream)
	})
}

// Close implements dist.Engine.
func (e *Engine) Close() error {
	return e.on.OnStream("ncclCommDestroy", func(uintptr) error { return e.lib.check("ncclCommDestroy", e.lib.destroy(e.comm)) })
}
