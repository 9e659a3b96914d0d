package pipeline

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mito/engine/arch"
	"mito/engine/checkpoint"
	"mito/engine/compress/quant"
	"mito/engine/compress/search"
	"mito/engine/files"
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
		got, err := c.w.Choose(t.Context(), b, &c.own)
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
		if _, err := games.Choose(t.Context(), b, &micro); !errors.As(err, &small) || !strings.Contains(small.Want, want) {
			t.Errorf("%s: %v", text, err)
		} else if near, err := search.Parse(strings.Fields(small.Want)[0]); err != nil {
			t.Errorf("%s: the nearest is not told as a budget: %q", text, small.Want)
		} else if _, err := games.Choose(t.Context(), near, &micro); err != nil && text != "tok_s=1000M" { // a speed is measured anew
			t.Errorf("%s: the nearest, %s, is refused: %v", text, small.Want, err)
		}
	}
}

// A pipeline under a budget that no preset fits whole ships a student of a search that the budget has room for, and says so.
func TestRunUnderBudget(t *testing.T) {
	p := tiny(t, "tictactoe")
	p.ShipAll = false
	p.Teacher.Shape = "" // the student teaches those of the search all the same
	w := openTask(t, "tictactoe", p)
	const flash = 48 << 10
	c, err := w.Choose(t.Context(), search.Budget{Flash: flash}, &p)
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
	if r.Settings["teacher"] != nil || r.Settings["distill"] != p.Distill || !slices.ContainsFunc(r.Notes, func(n string) bool {
		return strings.Contains(n, "No teacher") && strings.Contains(n, "of the search")
	}) {
		t.Errorf("settings %v, notes %q", r.Settings, r.Notes)
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
	var found Searched
	if err := files.ReadJSON(filepath.Join(out, searchDir, searchFile), &found, 0); err != nil {
		t.Fatal(err)
	}
	best, err := checkpoint.Open(filepath.Join(out, searchDir, trialsDir, found.Best.Name, found.Best.Student))
	if err != nil {
		t.Fatal(err)
	}
	want, err := best.WeightsSHA256()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := folder.WeightsSHA256(); err != nil || got != want {
		t.Errorf("the student that ships is not the best of the search, %s: %v", found.Best.Name, err)
	}
	quantization, err := folder.Quantization()
	if err != nil {
		t.Fatal(err)
	}
	coarse := quantization.Codes()
	if bits := r.Candidates[len(r.Candidates)-1].Bits; (bits < 8) != (len(coarse) > 0) || (found.Best.Trial.Bits != search.Whole) != (bits < 8) {
		t.Errorf("%v bits, codes %v of a trial of %s", bits, coarse, found.Best.Trial.Bits)
	}
	need, ram, _, err := w.deviceCostOf(q, coarse)
	if err != nil {
		t.Fatal(err)
	}
	if d := r.Device; d == nil || d.Flash != need || d.RAM != ram || need > flash || d.FlashBudget != flash || d.Chosen != c.Why {
		t.Errorf("%d and %d bytes, the report says %+v", need, ram, r.Device)
	}
}

// Fewer bits take less flash on a device, and students of them are among those that a budget is searched with.
func TestFewerBitsUnderBudget(t *testing.T) {
	w := openTask(t, "tictactoe", tiny(t, "tictactoe"))
	shape, err := ShapeOf("micro")
	if err != nil {
		t.Fatal(err)
	}
	c := shape.At(w.Tokenizer.VocabSize(), w.Context)
	cost := map[string]int64{}
	for _, bits := range []string{search.Whole, "6", "4", "3"} {
		if cost[bits], _, _, err = w.deviceCost(c, 0, bits); err != nil {
			t.Fatal(err)
		}
	}
	if whole := cost[search.Whole]; cost["6"] > whole*9/10 || cost["4"] > cost["6"]*9/10 || cost["3"] >= cost["4"] {
		t.Errorf("flash by bits: %v", cost)
	}
	b := search.Budget{Flash: cost["4"]}
	coarse := 0
	for _, one := range affordable(t, w, c, b) {
		if one.Bits != search.Whole && one.Shape == search.SpaceOf(c).Whole() {
			coarse++
		}
	}
	if coarse == 0 {
		t.Error("no whole student of fewer bits")
	}
}

// affordable lists all that a search under a budget chooses from, and holds each to it.
func affordable(t *testing.T, w *Workload, c arch.Config, b search.Budget) []search.Candidate {
	t.Helper()
	list, err := search.SpaceOf(c).Candidates(t.Context(), c, b, 1000, 1, w.searchCost, search.Speed)
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range list {
		flash, ram, _, err := w.deviceCost(one.Config(c), one.Sparsity, one.Bits)
		if err != nil || b.Flash > 0 && flash > b.Flash || b.RAM > 0 && ram > b.RAM {
			t.Errorf("%+v takes %d bytes of flash and %d of RAM of %+v, %v", one, flash, ram, b, err)
		}
	}
	return list
}

// Whatever a search under a budget chooses from fits the device, smaller shapes too.
func TestCandidatesFitTheDevice(t *testing.T) {
	w := openTask(t, "tictactoe", tiny(t, "tictactoe"))
	for _, name := range []string{"nano", "micro"} {
		shape, err := ShapeOf(name)
		if err != nil {
			t.Fatal(err)
		}
		c := shape.At(w.Tokenizer.VocabSize(), w.Context)
		whole, ram, _, err := w.deviceCost(c, 0, search.Whole)
		if err != nil {
			t.Fatal(err)
		}
		least, _, _, err := w.deviceCost(c, 0, "3")
		if err != nil {
			t.Fatal(err)
		}
		for _, share := range []float64{0.45, 0.75} {
			b := search.Budget{Flash: max(least, int64(share*float64(whole))), RAM: ram}
			if share > 0.6 {
				b.RAM = ram * 3 / 4
			}
			t.Logf("%s, %+v: %d candidates", name, b, len(affordable(t, w, c, b)))
		}
	}
}
