package cuda

import (
	"errors"
	"fmt"

	"mito/backend"
)

// graph is a recorded sequence of operations.
type graph struct {
	b *Backend
	g recording
}

// Capture implements backend.GraphCapturer. What record uses must not wait for the device: Upload, Download, NewSlab
// and Synchronize are refused inside it.
func (b *Backend) Capture(record func() error) (backend.Graph, error) {
	if err := b.outsideCapture("Capture"); err != nil {
		return nil, err
	}
	if err := b.queue.err(); err != nil {
		return nil, err
	}
	err := b.queue.do("Capture", func() error {
		if err := b.machine.loadAll(); err != nil {
			return err
		}
		return b.machine.begin()
	})
	if err != nil {
		return nil, err
	}
	b.capturing = true
	recordErr := errors.Join(record(), b.flush())
	b.capturing = false
	var g recording
	err = b.queue.do("Capture", func() (err error) {
		g, err = b.machine.end()
		return err
	})
	// What could not be recorded has not run either: the device is as before.
	launchErr := b.queue.err()
	b.queue.failed.Store(nil)
	if err := errors.Join(recordErr, launchErr, err); err != nil {
		if g != nil {
			err = errors.Join(err, b.queue.do("Capture", g.Destroy))
		}
		return nil, fmt.Errorf("cuda: Capture: %w", err)
	}
	return &graph{b, g}, nil
}

// Replay implements backend.Graph.
func (g *graph) Replay() error {
	if err := g.b.outsideCapture("Replay"); err != nil {
		return err
	}
	return g.b.queue.send(&task{op: "Replay", graph: g.g})
}

// Close implements backend.Graph.
func (g *graph) Close() error {
	if g.b.closed {
		return nil
	}
	return g.b.queue.do("Close", g.g.Destroy)
}

// Nodes is the number of operations in the graph.
func (g *graph) Nodes() int { return g.g.Nodes() }
