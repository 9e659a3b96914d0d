package search

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"mito/engine/arch"
	"mito/engine/internal/imports"
)

func TestImports(t *testing.T) {
	imports.Direct(t, "mito/engine/arch", "mito/engine/checkpoint", "mito/engine/compress/quant", "mito/engine/decode", "mito/engine/files", "mito/engine/student")
}

func TestParse(t *testing.T) {
	b, err := Parse("flash=256K, ram=1.5M,tok_s=5000")
	if err != nil || b != (Budget{256 << 10, 3 << 19, 5000}) {
		t.Errorf("%+v, %v", b, err)
	}
	var budget *BudgetError
	for _, text := range []string{"", "flash", "flash=", "flash=-1", "flash=0", "flash=1KK", "flash=KM", "rom=5", "flash=NaN", "flash=Inf", "flash=1e300", "flash=1,", "flash=1e20K"} {
		if _, err := Parse(text); !errors.As(err, &budget) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func parent() arch.Config { return arch.Edge(32, 32, 4, 32, 4, 2) }

// What a candidate costs is what its file takes, none is over the budget, the first is the uniform one, and all are different.
func TestCandidates(t *testing.T) {
	c := parent()
	whole, err := Flash(c, 0, Whole)
	if err != nil {
		t.Fatal(err)
	}
	half := whole / 2
	list, err := SpaceOf(c).Candidates(t.Context(), c, Budget{Flash: half}, 1000, 1, OfFile, nil)
	if err != nil {
		t.Fatal(err)
	}
	if first := list[0]; !first.Uniform || first.Spread != 0 || first.Shape != (Shape{4, 4, 128}) || first.Sparsity < 0.4 || first.Sparsity > 0.8 {
		t.Errorf("the first is %+v", first)
	}
	seen := map[Candidate]bool{}
	for i, one := range list {
		if i > 1 && one.Uniform || seen[one] || one.Sparsity > 0 && one.Bits != Whole {
			t.Errorf("%d: %+v", i, one)
		}
		seen[one] = true
		n, err := Flash(one.Config(c), one.Sparsity, one.Bits)
		if err != nil || n > half {
			t.Errorf("%+v takes %d bytes of %d, %v", one, n, half, err)
		}
		less, err := Flash(one.Config(c), max(0, one.Sparsity-0.01), one.Bits)
		if err != nil || one.Sparsity > 0.01 && less <= half/4 {
			t.Errorf("%+v leaves most of the budget unused: %d, %v", one, less, err)
		}
	}
	again, err := SpaceOf(c).Candidates(t.Context(), c, Budget{Flash: half}, 5, 1, OfFile, nil)
	if err != nil || !slices.Equal(again, list[:5]) {
		t.Errorf("%+v is not the beginning of %+v", again, list[:5])
	}
	coarse, err := SpaceOf(c).Candidates(t.Context(), c, Budget{Flash: whole * 8 / 10}, 2, 1, OfFile, nil)
	if err != nil || !coarse[0].Uniform || coarse[0].Bits != Whole || !coarse[1].Uniform || coarse[1].Shape != coarse[0].Shape || coarse[1].Bits != "5" || coarse[1].Sparsity != 0 {
		t.Errorf("%+v, %v", coarse, err)
	}
	slow := func(c arch.Config, sparsity float64) (float64, error) { return float64(1000 - c.Layers*100), nil }
	quick, err := SpaceOf(c).Candidates(t.Context(), c, Budget{TokS: 750}, 1000, 1, OfFile, slow)
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range quick {
		if one.Layers > 2 || one.Uniform {
			t.Errorf("%+v is too slow", one)
		}
	}
}

// The tables of per-layer embeddings may take fewer bits than the rest, and only models that have them are asked for it.
func TestPerLayerEmbeddings(t *testing.T) {
	c := parent()
	asks := func() bool { return slices.Contains(SpaceOf(c).Bits, "ple.table=4") }
	if asks() {
		t.Error("a model without per-layer embeddings is to have their tables in 4 bits")
	}
	without := RAM(c)
	c.PLEDim = 8
	if !asks() {
		t.Errorf("the precisions are %v", SpaceOf(c).Bits)
	}
	// Four bytes for each of E, and one where E is wider than every other input.
	wide := 1000
	if got := RAM(c) - without; got != 4*8 {
		t.Errorf("per-layer embeddings of 8 take %d bytes", got)
	}
	if c.PLEDim = wide; RAM(c)-without != int64(5*wide-max(c.IntermediateSize, (c.Heads+2*c.KVHeads)*c.HeadDim)) {
		t.Errorf("per-layer embeddings of %d take %d bytes", wide, RAM(c)-without)
	}
	whole, err := Flash(c, 0, Whole)
	if err != nil {
		t.Fatal(err)
	}
	for _, bits := range perLayer { // half of each table and less
		if n, err := Flash(c, 0, bits); err != nil || whole-n < int64(c.Layers*c.VocabSize*wide/3) {
			t.Errorf("%s takes %d bytes of %d, %v", bits, n, whole, err)
		}
	}
}

// A budget that nothing keeps is refused with the smallest that something does.
func TestBudgetTooSmall(t *testing.T) {
	c := parent()
	slow := func(arch.Config, float64) (float64, error) { return 900, nil }
	for _, b := range []Budget{{Flash: 1000}, {RAM: 100}, {TokS: 1000}} {
		var budget *BudgetError
		if _, err := SpaceOf(c).Candidates(t.Context(), c, b, 10, 1, OfFile, slow); !errors.As(err, &budget) {
			t.Fatalf("%+v: %v", b, err)
		}
		want, err := Parse(budget.Want[:firstSpace(budget.Want)])
		if err != nil {
			t.Fatalf("%+v: %v", b, budget)
		}
		if _, err := SpaceOf(c).Candidates(t.Context(), c, want, 10, 1, OfFile, slow); err != nil {
			t.Errorf("%+v should do: %v", want, err)
		}
	}
}

func firstSpace(s string) int {
	for i, r := range s {
		if r == ' ' {
			return i
		}
	}
	return len(s)
}

func TestRungs(t *testing.T) {
	for _, c := range []struct {
		trials, steps int
		want          []Rung
	}{
		{9, 90, []Rung{{9, 10}, {3, 30}, {1, 90}}}, {1, 50, []Rung{{1, 50}}}, {10, 2, []Rung{{10, 2}}}, {4, 0, []Rung{{4, 0}}},
		{27, 30, []Rung{{27, 3}, {9, 10}, {3, 30}}},
	} {
		if got := Rungs(c.trials, c.steps); !slices.Equal(got, c.want) {
			t.Errorf("%d trials, %d steps: %v, want %v", c.trials, c.steps, got, c.want)
		}
	}
}

func TestBestKeepsUniform(t *testing.T) {
	all := []Outcome{{Name: "a", Loss: 3, Uniform: true}, {Name: "b", Loss: 1}, {Name: "c", Loss: 2}, {Name: "d", Loss: 2.5}}
	var names []string
	for _, o := range Best(all, 2) {
		names = append(names, o.Name)
	}
	if !slices.Equal(names, []string{"b", "c", "a"}) {
		t.Error(names)
	}
}

func TestFront(t *testing.T) {
	all := []Outcome{{Name: "a", Flash: 10, Loss: 3}, {Name: "b", Flash: 20, Loss: 2}, {Name: "c", Flash: 20, Loss: 2.5}, {Name: "d", Flash: 30, Loss: 2}, {Name: "e", Flash: 40, Loss: 1}}
	var names []string
	for _, o := range Front(all) {
		names = append(names, o.Name)
	}
	if !slices.Equal(names, []string{"a", "b", "e"}) {
		t.Error(names)
	}
}

// An outcome is found by the description of its trial, and one of another trial under its name is refused.
func TestOutcomesOnDisk(t *testing.T) {
	dir := t.TempDir()
	a := Trial{Parent: "p", Data: "d", Shape: Shape{1, 2, 3}, Sparsity: 0.5, Bits: Whole, Steps: 4}
	b := a
	b.Spread = 0.1
	if a.Name() == b.Name() || len(a.Name()) != 16 {
		t.Errorf("%s, %s", a.Name(), b.Name())
	}
	if _, ok, err := Load(dir, a); ok || err != nil {
		t.Errorf("%v, %v", ok, err)
	}
	want := Outcome{Trial: a, Name: a.Name(), Loss: math.Pi, Flash: 5}
	if err := Save(dir, want); err != nil {
		t.Fatal(err)
	}
	if got, ok, err := Load(dir, a); !ok || err != nil || got != want {
		t.Errorf("%+v, %v, %v", got, ok, err)
	}
	if err := os.Rename(filepath.Join(dir, a.Name()), filepath.Join(dir, b.Name())); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Load(dir, b); err == nil {
		t.Error("the outcome of another trial is taken")
	}
}

// The speed of a shape is that of a student which decodes.
func TestSpeed(t *testing.T) {
	c := arch.Edge(16, 16, 1, 32, 2, 1)
	if rate, err := Speed(c, 0.5); err != nil || !(rate > 0) {
		t.Errorf("%v, %v", rate, err)
	}
}
