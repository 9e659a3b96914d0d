package train

import (
	"errors"

	"mito/backend"
)

// maxRecordings bounds what a recorder keeps: a run has a few kinds of parts. Those whose scalars change from step to
// step cannot be recorded, and are forgotten.
const maxRecordings = 16

// part identifies a sequence of operations with everything in it that is not in a tensor: parts that are equal do the
// same.
type part struct {
	name   string
	rows   int
	scalar float32
}

// recorder runs the parts of a step. On a backend that can, a part that comes again is recorded once and replayed from
// then on, so that the host sends one call for a whole forward and backward pass.
type recorder struct {
	capturer backend.GraphCapturer
	parts    map[part]*recording
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

// run executes f, or what was recorded of it. The first time a part comes it is not recorded: it may still make
// tensors.
func (r *recorder) run(p part, f func() error) error {
	if r == nil {
		return f()
	}
	known := r.parts[p]
	switch {
	case known == nil:
		r.forget()
		if len(r.parts) < maxRecordings {
			r.parts[p] = &recording{}
		}
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

// forget makes room where the table is full of parts that came once.
func (r *recorder) forget() {
	if len(r.parts) < maxRecordings {
		return
	}
	for p, known := range r.parts {
		if known.graph == nil && !known.refused {
			delete(r.parts, p)
		}
	}
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
