package train

import (
	"errors"

	"mito/backend"
)

// part identifies a sequence of operations with everything in it that is not in a tensor: parts that are equal do the
// same.
type part struct {
	name      string
	row, rows int
	epoch     uint64 // of the model
}

// recorder runs the parts of a step. On a backend that can, a part that comes again is recorded once and replayed from
// then on, so that the host sends one call for a whole forward and backward pass.
type recorder struct {
	capturer backend.GraphCapturer
	parts    map[part]*recording
	epoch    uint64 // of all parts
}

type recording struct {
	graph   backend.Graph
	refused bool // the part waits for the device, or needs memory
}

// newRecorder returns a recorder for a backend, or nil, which runs everything as it comes.
func newRecorder(b backend.Backend) *recorder {
	c, ok := b.(backend.GraphCapturer)
	if !ok {
		return nil
	}
	return &recorder{capturer: c, parts: map[part]*recording{}}
}

// run executes f, or what was recorded of it. The first time a part comes it is not recorded: the backend may still load
// what it needs. A new epoch of the model frees the recordings of the one before.
func (r *recorder) run(p part, f func() error) error {
	if r == nil {
		return f()
	}
	if p.epoch != r.epoch {
		if err := r.forget(); err != nil {
			return err
		}
		r.epoch = p.epoch
	}
	known := r.parts[p]
	switch {
	case known == nil:
		r.parts[p] = &recording{}
		return f()
	case known.refused:
		return f()
	case known.graph != nil:
		return known.graph.Replay()
	}
	g, err := r.capturer.Capture(f)
	if errors.Is(err, backend.ErrUnsupported) {
		known.refused = true
		return f()
	}
	if err != nil {
		return err
	}
	known.graph = g
	return g.Replay()
}

// forget frees the recordings, whose tensors go; nil is allowed.
func (r *recorder) forget() error {
	if r == nil {
		return nil
	}
	err := r.close()
	clear(r.parts)
	return err
}

// close frees the recordings; nil is allowed.
func (r *recorder) close() (err error) {
	if r == nil {
		return nil
	}
	for _, p := range r.parts {
		if p.graph != nil {
			err = errors.Join(err, p.graph.Close())
		}
	}
	return err
}
