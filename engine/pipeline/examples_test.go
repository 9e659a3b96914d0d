package pipeline

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mito/engine/task"
	"mito/engine/tokenizer"
)

// sums is a file of examples with an open set of answers.
func sums(t testing.TB) string {
	t.Helper()
	var b strings.Builder
	for i := range 60 {
		fmt.Fprintf(&b, "%d+%d\t%d\n", i, 2*i, 3*i)
	}
	path := filepath.Join(t.TempDir(), "sums.tsv")
	if err := os.WriteFile(path, []byte(b.String()), 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestOpenExamples(t *testing.T) {
	path := sums(t)
	o := ExamplesOptions{HeldOut: 0.2, Seed: 1}
	w, err := OpenExamples(t.Context(), path, o)
	if err != nil {
		t.Fatal(err)
	}
	if w.Tokenizer.EOS() < 0 || len(w.examples[task.Test]) != 12 || len(w.examples[task.All]) != 60 {
		t.Errorf("%d of %d are held out, the end-of-text token is %d", len(w.examples[task.Test]), len(w.examples[task.All]), w.Tokenizer.EOS())
	}
	// "59+118=" and "177", whose end is learned too, make seven and three tokens; the last is no input.
	if w.Context != 10 {
		t.Errorf("rows of %d", w.Context)
	}
	source, err := w.Source(task.Train, 4, 1)
	if err != nil {
		t.Fatal(err)
	}
	if rows, time := source.Shape(); rows != 4 || time != 10 {
		t.Errorf("batches of %dx%d", rows, time)
	}
	o.Context = 20
	if w, err = OpenExamples(t.Context(), path, o); err != nil || w.Context != 20 {
		t.Errorf("context 20: %v, %v", w, err)
	}
	o.Context, o.BPE = 0, 262
	if w, err = OpenExamples(t.Context(), path, o); err != nil || w.Tokenizer.VocabSize() != 262 || w.Tokenizer.EOS() < 0 {
		t.Errorf("a BPE: %v, %v", w, err)
	}
}

func TestOpenExamplesRefuses(t *testing.T) {
	path := sums(t)
	var long *LongError
	if _, err := OpenExamples(t.Context(), path, ExamplesOptions{HeldOut: 0.2, Context: 9}); !errors.As(err, &long) || long.Line != 51 || long.Tokens != 10 {
		t.Errorf("rows of 9: %v", err)
	}
	if _, err := OpenExamples(t.Context(), path, ExamplesOptions{HeldOut: 0.2, Most: 9}); !errors.As(err, &long) {
		t.Errorf("a model with a context of 9: %v", err)
	}
	without, err := tokenizer.NewChars("0123456789+=")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := OpenExamples(t.Context(), path, ExamplesOptions{HeldOut: 0.2, Tokenizer: without}); err == nil || !strings.Contains(err.Error(), "no end-of-text token") {
		t.Errorf("a tokenizer without an end: %v", err)
	}
	few, err := tokenizer.NewChars("0123456789+", tokenizer.EndOfText)
	if err != nil {
		t.Fatal(err)
	}
	var unknown *tokenizer.UnknownCharError
	if _, err := OpenExamples(t.Context(), path, ExamplesOptions{HeldOut: 0.2, Tokenizer: few}); !errors.As(err, &unknown) {
		t.Errorf("a tokenizer without '=': %v", err)
	}
}

// templated is a tokenizer that puts a token before a text.
type templated struct{ tokenizer.Tokenizer }

func (templated) Template() (before, after []int32) { return []int32{0}, nil }

// TestRowsHoldTheTemplate: what a tokenizer puts before a prompt takes its place in a row, whether the answers are open (examples),
// closed (commands), or the prompts longer in play than any that is labelled (mastermind).
func TestRowsHoldTheTemplate(t *testing.T) {
	path, o := sums(t), ExamplesOptions{HeldOut: 0.2, Seed: 1}
	plain, err := OpenExamples(t.Context(), path, o)
	if err != nil {
		t.Fatal(err)
	}
	o.Tokenizer = templated{plain.Tokenizer}
	w, err := OpenExamples(t.Context(), path, o)
	if err != nil {
		t.Fatal(err)
	}
	if w.Context != plain.Context+1 {
		t.Errorf("examples: rows of %d, want %d", w.Context, plain.Context+1)
	}
	var long *LongError
	o.Context = plain.Context
	if _, err := OpenExamples(t.Context(), path, o); !errors.As(err, &long) || long.Line != 51 || long.Tokens != plain.Context+1 {
		t.Errorf("rows of %d: %v", o.Context, err)
	}
	for _, name := range []string{"commands", "mastermind"} {
		plain := openTask(t, name, tiny(t, name))
		w, err := OpenTask(t.Context(), name, tiny(t, name).Task, templated{plain.Tokenizer})
		if err != nil {
			t.Fatal(err)
		}
		if w.Context != plain.Context+1 {
			t.Errorf("%s: rows of %d, want %d", name, w.Context, plain.Context+1)
		}
	}
}
