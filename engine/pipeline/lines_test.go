package pipeline

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mito/engine/data"
	"mito/engine/task"
)

func listOf(t testing.TB, items ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "list.txt")
	if err := os.WriteFile(path, []byte(strings.Join(items, "\n")), 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestOpenLines(t *testing.T) {
	path := listOf(t, "emma", "olivia", "ava", "emma", "mia", "zoe")
	o := ExamplesOptions{HeldOut: 0.2, Seed: 1}
	w, err := OpenLines(path, o)
	if err != nil {
		t.Fatal(err)
	}
	test, train := w.examples[task.Test], w.examples[task.Train]
	if len(test) != 1 || len(train) != 4 || slices.ContainsFunc(train, func(e data.Example) bool { return e.Answers[0] == test[0].Answers[0] }) {
		t.Errorf("%v to train on, %v held out", train, test)
	}
	if w.Context != len("olivia\n") || len(w.Notes) != 1 || !strings.HasPrefix(w.Notes[0], "1 lines") {
		t.Errorf("rows of %d, %v", w.Context, w.Notes)
	}
	// Every character counts once, and every line end.
	e, err := w.Eval(task.All, 2)
	if err != nil {
		t.Fatal(err)
	}
	if want := float64(len("emma\nolivia\nava\nmia\nzoe\n")); e.Weight() != want || math.Abs(e.Bytes()-want) > 1e-9 {
		t.Errorf("%v tokens and %v bytes count, want %v", e.Weight(), e.Bytes(), want)
	}
	kept, err := w.kept(0.5)
	if err != nil || len(kept.examples[task.Train]) != 2 || len(kept.examples[task.Test]) != 2 {
		t.Errorf("%v, %v", kept, err)
	}
	var long *LongError
	o.Context = 6
	if _, err := OpenLines(path, o); !errors.As(err, &long) || !strings.Contains(err.Error(), `the line "olivia\n" takes 7 tokens where a row has 6`) {
		t.Errorf("rows of 6: %v", err)
	}
	var short *data.TooShortError
	if _, err := OpenLines(listOf(t, "a", "a"), ExamplesOptions{HeldOut: 0.5}); !errors.As(err, &short) {
		t.Errorf("one item: %v", err)
	}
	leaky := *w
	if err := leaky.checkApart(w.examples[task.All], test); !errors.As(err, new(*data.OverlapError)) {
		t.Errorf("items on both sides: %v", err)
	}
}
