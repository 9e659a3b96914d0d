package train

import (
	"errors"
	"fmt"
	"testing"

	"mito/backend"
	"mito/backend/cpu"
	"mito/engine/model"
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
		if err := r.run(part{name: "pass", rows: 8}, func() error { runs++; return nil }); err != nil {
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

// Every size, row and epoch is a part of its own, and a new epoch frees the recordings of the one before.
func TestRecorderEpochs(t *testing.T) {
	r, c := newFake(nil)
	run := func(p part) {
		t.Helper()
		if err := r.run(p, func() error { return nil }); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		for _, p := range []part{{name: "pass", rows: 8}, {name: "pass", rows: 7}, {name: "pass", row: 8, rows: 8}, {name: "finish"}} {
			run(p)
		}
	}
	if c.captures != 4 {
		t.Errorf("%d captures of 4 parts", c.captures)
	}
	for range 3 {
		run(part{name: "pass", rows: 8, epoch: 1})
	}
	if c.captures != 5 || len(r.parts) != 1 {
		t.Errorf("%d captures, %d parts kept after a new epoch", c.captures, len(r.parts))
	}
	for i, g := range c.graphs {
		if want := i < 4; (g.closes == 1) != want {
			t.Errorf("recording %d was closed %d times", i, g.closes)
		}
	}
	if err := (*recorder)(nil).close(); err != nil {
		t.Error(err)
	}
}

// A trainer records the pass of every size of micro-batch once, one of every row where there is dropout, and all anew after
// a mask has changed.
func TestTrainerRecordings(t *testing.T) {
	for _, c := range []struct {
		dropout float64
		micro   int
		want    int // passes that differ, and the update
	}{{0, 2, 1 + 1}, {0.1, 2, 2 + 1}, {0, 3, 2 + 1}, {0.1, 3, 3 + 1}} {
		o := testOptions(20)
		o.Dropout, o.MicroBatches = c.dropout, c.micro
		b := cpu.New(1)
		m, err := model.Build(b, testConfig(), model.Options{Grads: true, Masked: func(string) bool { return true }})
		if err != nil {
			t.Fatal(err)
		}
		tr, err := New(m, testSource(t), nil, o)
		if err != nil {
			t.Fatal(err)
		}
		var fake *fakeCapturer
		tr.recorder, fake = newFake(nil)
		step := func(n int) {
			t.Helper()
			for range n {
				if _, err := tr.Step(false); err != nil {
					t.Fatal(err)
				}
			}
		}
		if step(4); fake.captures != c.want {
			t.Errorf("%+v: %d recordings", c, fake.captures)
		}
		p := m.Params.Lookup("model.layers.0.mlp.up_proj.weight")
		if err := m.SetMask(p, make([]float32, p.Size())); err != nil {
			t.Fatal(err)
		}
		if step(4); fake.captures != 2*c.want {
			t.Errorf("%+v: %d recordings after the mask has changed, want %d", c, fake.captures, 2*c.want)
		}
		if err := errors.Join(tr.Close(), m.Close(), b.Close()); err != nil {
			t.Error(err)
		}
	}
}
