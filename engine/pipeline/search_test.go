package pipeline

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mito/engine/compress/quant"
	"mito/engine/compress/search"
	"mito/engine/files"
	"mito/engine/runs"
	"mito/engine/task"
	"mito/engine/train"
)

func searching(from, out string) SearchOptions {
	r := RecipeOf("")
	o := SearchOptions{Trials: 4, Rows: 4, Budget: search.Budget{Flash: 30 << 10}}
	o.Dir, o.Out, o.Batch, o.Train, o.Distill = filepath.Join(from, runs.ModelDir), out, 4, r.Train, r.Distill
	o.Train.Steps, o.Train.LR, o.Train.MuonLR = 9, 0.002, 0.01
	return o
}

// A search keeps its budget, compares with plain sparsity, and resumed runs nothing again: it finds the same.
func TestSearch(t *testing.T) {
	w, from := base(t)
	b := openBackend(t)
	parent, err := os.Stat(filepath.Join(from, runs.ModelDir, "model.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "found")
	o := searching(from, out)
	o.Budget.Flash = parent.Size() / 4 * 6 / 10 // of INT8 weights 0.6
	r, err := Search(t.Context(), b, w, o, Silent{})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Uniform) != 2 || r.Uniform[0].Trial.Spread != 0 || r.Uniform[0].Trial.Bits != search.Whole && r.Uniform[1].Trial.Bits != search.Whole || len(r.Front) == 0 {
		t.Fatalf("%+v", r)
	}
	coarse := 0
	for i, one := range slices.Concat(r.Front, r.Uniform, []search.Outcome{r.Best}) {
		folder := filepath.Join(out, trialsDir, one.Name, one.Student)
		info, err := os.Stat(filepath.Join(folder, "model.safetensors"))
		if err != nil || info.Size() != one.Flash || one.Flash > o.Budget.Flash || !(one.Loss > 0) || !(one.Test > 0) || !(one.TokS > 0) || one.Name != one.Trial.Name() {
			t.Errorf("%d: %+v, %v", i, one, err)
		}
		if _, err := quant.Load(folder); err != nil {
			t.Errorf("%d: %v", i, err)
		}
		if one.Trial.Bits != search.Whole {
			coarse++
		}
		if r.Best.Loss > one.Loss && one.Trial.Steps == r.Best.Trial.Steps {
			t.Errorf("the best is worse than one of the same round: %+v, %+v", r.Best, one)
		}
	}
	if coarse == 0 {
		t.Error("no student has fewer bits")
	}
	if n := byMatrix(t, out); n != 1 {
		t.Errorf("%d students have the bits that the sensitivity of each matrix leaves it", n)
	}
	if _, err := Search(t.Context(), b, w, o, Silent{}); err == nil {
		t.Error("the folder of another search is overwritten")
	}
	o.Resume = true
	again, err := Search(t.Context(), b, w, o, Silent{})
	if err != nil || again.Best != r.Best || !slices.Equal(again.Uniform, r.Uniform) {
		t.Errorf("%+v, before %+v, %v", again, r, err)
	}
}

// Trials with another teacher are other trials.
func TestSearchTeacher(t *testing.T) {
	w, from := base(t)
	b := openBackend(t)
	recipe := func(teacher string) string {
		t.Helper()
		o := searching(from, filepath.Join(t.TempDir(), "out"))
		o.Teacher = teacher
		one, err := OpenTrials(t.Context(), b, w, o)
		if err != nil {
			t.Fatal(err)
		}
		return one.s.base.Recipe
	}
	if recipe(from) != recipe(filepath.Join(from, runs.ModelDir)) || recipe(from) == recipe("") {
		t.Error("the recipe does not say who teaches")
	}
	o := searching(from, filepath.Join(t.TempDir(), "out"))
	o.Teacher = t.TempDir()
	if _, err := OpenTrials(t.Context(), b, w, o); err == nil {
		t.Error("an empty folder teaches")
	}
}

// byMatrix counts the students with bits of their own for each matrix, which fill the budget.
func byMatrix(t *testing.T, out string) (n int) {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(out, trialsDir, "*", "outcome.json"))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, path := range found {
		var o search.Outcome
		if err := files.ReadJSON(path, &o, 0); err != nil {
			t.Fatal(err)
		}
		if strings.Count(o.Trial.Bits, ",") > 1 && !seen[o.Trial.Bits] {
			seen[o.Trial.Bits] = true
			n++
		}
	}
	return n
}

func TestSearchRefuses(t *testing.T) {
	w, from := base(t)
	b := openBackend(t)
	var option *train.OptionError
	for field, change := range map[string]func(o *SearchOptions){
		"trials": func(o *SearchOptions) { o.Trials = 0 }, "steps": func(o *SearchOptions) { o.Train.Steps = 0 },
		"calibrate": func(o *SearchOptions) { o.Rows = 0 },
	} {
		o := searching(from, filepath.Join(t.TempDir(), "out"))
		change(&o)
		if _, err := Search(t.Context(), b, w, o, Silent{}); !errors.As(err, &option) || option.Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
	o := searching(from, filepath.Join(t.TempDir(), "out"))
	o.Budget.Flash = 100
	var budget *search.BudgetError
	if _, err := Search(t.Context(), b, w, o, Silent{}); !errors.As(err, &budget) {
		t.Errorf("100 bytes: %v", err)
	}
	if _, err := os.Stat(o.Out); err == nil {
		t.Error("a search that cannot be left a folder")
	}
}

// What trials are compared on is a part of the training data, apart from what they train on and from what judges.
func TestKept(t *testing.T) {
	text := openText(t, strings.Repeat(fox, 300)+"0123456789", TextOptions{Context: 16, HeldOut: 0.1})
	in, err := text.kept(0.1)
	if err != nil {
		t.Fatal(err)
	}
	if in.train.Text+in.held.Text != text.train.Text || len(in.tokens[task.Train])+len(in.tokens[task.Test]) != len(text.tokens[task.Train]) {
		t.Error("the parts are not those of the training part")
	}
	games := openTask(t, "tictactoe", tiny(t, "tictactoe"))
	if in, err = games.kept(0.1); err != nil {
		t.Fatal(err)
	}
	judged := map[string]bool{}
	for _, e := range games.examples[task.Test] {
		judged[e.Prompt] = true
	}
	n := 0
	for _, split := range []task.Split{task.Train, task.Test} {
		for _, e := range in.examples[split] {
			n++
			if judged[e.Prompt] {
				t.Errorf("%q judges, and is in the %s part", e.Prompt, split)
			}
		}
	}
	if n != len(games.examples[task.Train]) || len(in.examples[task.Test]) == 0 {
		t.Errorf("%d of %d examples", n, len(games.examples[task.Train]))
	}
}
