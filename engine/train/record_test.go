package train

import (
	"errors"
	"fmt"
	"testing"

	"mito/backend"
)

// fakeCapturer records by running: its graphs count how often they are replayed.
type fakeCapturer struct {
	refuse   error
	captures int
	graphs   []*fakeGraph
}

type fakeGraph struct{ replays, closes int }

func (g *fakeGraph) Replay() error { g.replays++; return nil }
func (g *fakeGraph) Close() error  { g.closes++; return nil }

func (c *fakeCapturer) Capture(record func() error) (backend.Graph, error) {
	c.captures++
	if c.refuse != nil {
		return nil, c.refuse
	}
	g := &fakeGraph{}
	c.graphs = append(c.graphs, g)
	return g, nil
}

func newFake(refuse error) (*recorder, *fakeCapturer) {
	c := &fakeCapturer{refuse: refuse}
	return &recorder{capturer: c, parts: map[part]*recording{}}, c
}

// The first time a part runs, the second time it is recorded, and from then on it is replayed.
func TestRecorder(t *testing.T) {
	r, c := newFake(nil)
	runs := 0
	for range 5 {
		if err := r.run(part{name: "pass", rows: 8, scalar: 0.5}, func() error { runs++; return nil }); err != nil {
			t.Fatal(err)
		}
	}
	if runs != 1 || c.captures != 1 || c.graphs[0].replays != 4 {
		t.Errorf("%d runs, %d captures, %d replays; want 1, 1, 4", runs, c.captures, c.graphs[0].replays)
	}
	if err := r.close(); err != nil || c.graphs[0].closes != 1 {
		t.Errorf("close: %v, closed %d times", err, c.graphs[0].closes)
	}
}

// A part that cannot be recorded is run as it comes, and not tried again; other errors surface.
func TestRecorderRefused(t *testing.T) {
	r, c := newFake(fmt.Errorf("upload inside: %w", backend.ErrUnsupported))
	runs := 0
	for range 4 {
		if err := r.run(part{name: "pass"}, func() error { runs++; return nil }); err != nil {
			t.Fatal(err)
		}
	}
	if runs != 4 || c.captures != 1 {
		t.Errorf("%d runs, %d captures; want 4, 1", runs, c.captures)
	}
	broken := errors.New("broken")
	r, _ = newFake(broken)
	if err := r.run(part{}, func() error { return nil }); err != nil {
		t.Error(err)
	}
	if err := r.run(part{}, func() error { return nil }); !errors.Is(err, broken) {
		t.Errorf("a capture that fails: %v", err)
	}
}

// Parts whose scalars change are not recorded, and do not pile up.
func TestRecorderChangingScalars(t *testing.T) {
	r, c := newFake(nil)
	for i := range 100 {
		if err := r.run(part{scalar: float32(i)}, func() error { return nil }); err != nil {
			t.Fatal(err)
		}
	}
	if c.captures != 0 || len(r.parts) > maxRecordings {
		t.Errorf("%d captures, %d parts kept", c.captures, len(r.parts))
	}
	// Once they stay the same, they are.
	for range 3 {
		if err := r.run(part{scalar: 0.5}, func() error { return nil }); err != nil {
			t.Fatal(err)
		}
	}
	if c.captures != 1 || c.graphs[0].replays != 2 {
		t.Errorf("a part that stays the same afterwards: %d captures", c.captures)
	}
	if err := (*recorder)(nil).close(); err != nil {
		t.Error(err)
	}
}
