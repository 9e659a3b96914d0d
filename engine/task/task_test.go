package task

import (
	"errors"
	"math"
	"strings"
	"testing"
)

func TestLookup(t *testing.T) {
	for _, name := range Names() {
		task, err := Lookup(name)
		if err != nil || task.Name() != name {
			t.Errorf("Lookup(%q): %v, %v", name, task, err)
		}
	}
	_, err := Lookup("chess")
	var ue *UnknownError
	if !errors.As(err, &ue) || ue.Name != "chess" {
		t.Fatalf("unknown task: %v", err)
	}
	for _, name := range append(Names(), "chess") {
		if !strings.Contains(err.Error(), name) {
			t.Errorf("%q does not name %s", err, name)
		}
	}
}

func TestOptionErrors(t *testing.T) {
	for _, c := range []struct {
		name string
		o    Options
	}{
		{"tictactoe", Options{Positions: -1}},
		{"tictactoe", Options{Depth: 3}},
		{"puzzle8", Options{Depth: 3}},
		{"connect4", Options{Depth: -1}},
		{"connect4", Options{Depth: 17}},
		{"connect4", Options{Positions: maxPositions4 + 1}},
		{"commands", Options{Positions: maxCommands + 1}},
		{"commands", Options{Positions: math.MaxInt}},
	} {
		var oe *OptionError
		if _, err := New(c.name, c.o); !errors.As(err, &oe) {
			t.Errorf("New(%q, %+v): %v", c.name, c.o, err)
		}
	}
	var se *SplitError
	for _, task := range small(t) {
		if _, err := task.Examples(t.Context(), "validation"); !errors.As(err, &se) {
			t.Errorf("%s: unknown split: %v", task.Name(), err)
		}
	}
}

// Whoever follows the printed format must arrive at prompts that Solve reads:
// each prompt printed as an example is one.
func TestDescribeShowsRealPrompts(t *testing.T) {
	for _, task := range small(t) {
		shown := 0
		text := task.Describe()
		for line := range strings.Lines(text) {
			_, rest, ok := strings.Cut(line, "    prompt ")
			if !ok {
				continue
			}
			prompt, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
			best, err := task.Solve(prompt)
			if err != nil {
				t.Errorf("%s: %v", task.Name(), err)
				continue
			}
			if _, answers, ok := strings.Cut(rest, "best answers "); ok && strings.TrimSpace(answers) != strings.Join(best, " ") {
				t.Errorf("%s: %q, Solve says %v", task.Name(), line, best)
			}
			shown++
		}
		if shown == 0 || !strings.HasPrefix(text, task.Name()+":") {
			t.Errorf("%s: %d example prompts in:\n%s", task.Name(), shown, text)
		}
		for _, r := range task.Alphabet() {
			if !strings.ContainsRune(text, r) {
				t.Errorf("%s: the description never shows %q", task.Name(), r)
			}
		}
	}
}

func TestSolveRefuses(t *testing.T) {
	for _, c := range []struct{ task, prompt, why string }{
		{"tictactoe", "", "empty"},
		{"tictactoe", "012345678", "no end mark"},
		{"tictactoe", "012345678==", "too long"},
		{"tictactoe", "112345678=", "wrong cell"},
		{"tictactoe", "AB2345678=", "own stones ahead"},
		{"tictactoe", "ABCdef678=", "two lines"},
		{"tictactoe", "abcDE5678=", "finished"},
		{"connect4", "111111=", "too short"},
		{"connect4", strings.Repeat("1", 42) + "=", "wrong cells"},
		{"connect4", "1b1111222222333333444444555555666666777777=", "stone in the air"},
		{"connect4", "A11111222222333333444444555555666666777777=", "own stone ahead"},
		{"connect4", "abcd11GHI222333333444444555555666666777777=", "finished"},
		{"connect4", "aBcdEf222222333333444444555555666666777777é", "not ASCII"},
		{"puzzle8", "#-7BHZelx", "no end mark"},
		{"puzzle8", "--7BHZelx=", "wrong cell"},
		{"puzzle8", "$-7BHZelx=", "tile twice"},
		{"puzzle8", "$,7BHZelx=", "unreachable or twice"},
		{"puzzle8", prompt8(goal8), "solved"},
		{"puzzle8", prompt8(board8{2, 1, 3, 4, 5, 6, 7, 8, 0}), "odd permutation"},
	} {
		task, err := Lookup(c.task)
		if err != nil {
			t.Fatal(err)
		}
		var pe *PromptError
		if got, err := task.Solve(c.prompt); !errors.As(err, &pe) {
			t.Errorf("%s %q (%s): answers %v, error %v", c.task, c.prompt, c.why, got, err)
		}
	}
}

func FuzzSolve(f *testing.F) {
	// Every worker makes the seeds anew, so they must not take long.
	tasks := small(f)
	for i, b := range solved3().reachable {
		if i%100 == 0 {
			f.Add(prompt3(b))
		}
	}
	for i, rank := range solved8().reached {
		if i%10_000 == 0 {
			f.Add(prompt8(unrank8(int(rank))))
		}
	}
	few, err := newConnect4(Options{Positions: 100, Depth: 1})
	if err != nil {
		f.Fatal(err)
	}
	for i, ex := range mustExamples(f, few, All) {
		if i%10 == 0 {
			f.Add(ex.Prompt)
		}
	}
	f.Fuzz(func(t *testing.T, prompt string) {
		for _, task := range tasks {
			answers, err := task.Solve(prompt)
			var pe *PromptError
			if err != nil && !errors.As(err, &pe) {
				t.Fatalf("%s: untyped error %v", task.Name(), err)
			}
			if err == nil && len(answers) == 0 {
				t.Fatalf("%s: no answer to a valid prompt", task.Name())
			}
		}
	})
}

func BenchmarkConnect4Generate(b *testing.B) {
	for b.Loop() {
		if _, err := generate4(b.Context(), Options{Positions: QuickPositions, Depth: DefaultDepth}, played4.moves); err != nil {
			b.Fatal(err)
		}
	}
}
