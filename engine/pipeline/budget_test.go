package pipeline

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"mito/engine/checkpoint"
	"mito/engine/compress/quant"
	"mito/engine/compress/search"
)

// What is chosen is the largest preset that fits, a larger one that is pruned where much would stay empty, a shorter context where
// only that fits the RAM; and what cannot be kept is refused with the nearest that can.
func TestChoose(t *testing.T) {
	games := openTask(t, "tictactoe", tiny(t, "tictactoe"))
	text := openText(t, strings.Repeat(fox, 60), TextOptions{Context: 64, HeldOut: 0.2})
	connect4, err := PresetOf("connect4", "standard")
	if err != nil {
		t.Fatal(err)
	}
	connect4.Task.Positions, connect4.Task.Depth = 300, 2
	micro, board := tiny(t, "tictactoe"), tiny(t, "connect4")
	board.Student.Shape = "board"
	columns := openTask(t, "connect4", connect4)
	for _, c := range []struct {
		w       *Workload
		own     Preset
		budget  string
		shape   string // "" for whatever presets there are
		search  bool
		context int
	}{
		{games, micro, "flash=512K,ram=64K", "edge", false, games.Context},
		{columns, connect4, "flash=512K,ram=64K", connect4.Student.Shape, false, columns.Context},
		{columns, board, "flash=512K,ram=64K", "board", false, columns.Context},
		{games, micro, "flash=80K", "micro", false, games.Context},
		{games, micro, "flash=250K", "", true, games.Context},
		{text, micro, "flash=512K", "edge", false, 64},
		{text, micro, "ram=5K", "", false, 32},
	} {
		b, err := search.Parse(c.budget)
		if err != nil {
			t.Fatal(err)
		}
		got, err := c.w.Choose(b, &c.own)
		if err != nil {
			t.Errorf("%s %s: %v", c.w.Name, c.budget, err)
			continue
		}
		t.Logf("%s %s: %s", c.w.Name, c.budget, got.Why)
		if c.shape != "" && got.Shape != c.shape || got.Search != c.search || got.Context != c.context || !strings.HasPrefix(got.Why, got.Shape) {
			t.Errorf("%s %s: %+v", c.w.Name, c.budget, got)
		}
	}
	for text, want := range map[string]string{"flash=1K": "flash=", "ram=100": "ram=", "tok_s=1000M": "tok_s="} {
		b, err := search.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		var small *search.BudgetError
		if _, err := games.Choose(b, &micro); !errors.As(err, &small) || !strings.Contains(small.Want, want) {
			t.Errorf("%s: %v", text, err)
		} else if near, err := search.Parse(strings.Fields(small.Want)[0]); err != nil {
			t.Errorf("%s: the nearest is not told as a budget: %q", text, small.Want)
		} else if _, err := games.Choose(near, &micro); err != nil && text != "tok_s=1000M" { // a speed is measured anew
			t.Errorf("%s: the nearest, %s, is refused: %v", text, small.Want, err)
		}
	}
}

// A pipeline under a budget that no preset fits whole ships a student of a search that the budget has room for, and says so.
func TestRunUnderBudget(t *testing.T) {
	p := tiny(t, "tictactoe")
	p.ShipAll = false
	w := openTask(t, "tictactoe", p)
	const flash = 48 << 10
	c, err := w.Choose(search.Budget{Flash: flash}, &p)
	if err != nil {
		t.Fatal(err)
	}
	if !c.Search {
		t.Fatalf("%+v fits whole: the test could not fail", c)
	}
	out := filepath.Join(t.TempDir(), "out")
	r, err := Run(t.Context(), openBackend(t), w, Options{Preset: p, Out: out, Seed: 1, Threads: 2, Measure: once, Choice: c}, Silent{})
	if err != nil {
		t.Fatal(err)
	}
	q, err := quant.Load(filepath.Join(out, CompressedDir))
	if err != nil {
		t.Fatal(err)
	}
	folder, err := checkpoint.Open(filepath.Join(out, CompressedDir))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := r.Compressed.Bytes, folder.Weights.Bytes(); got != want || got >= int64(q.Bytes()) {
		t.Errorf("the report says %d bytes, the file holds %d, %d without blocks", got, want, q.Bytes())
	}
	need, ram, _, err := w.deviceCostOf(q)
	if err != nil {
		t.Fatal(err)
	}
	if d := r.Device; d == nil || d.Flash != need || d.RAM != ram || need > flash || d.FlashBudget != flash || d.Chosen != c.Why {
		t.Errorf("%d and %d bytes, the report says %+v", need, ram, r.Device)
	}
}
