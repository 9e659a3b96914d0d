package task

import (
	"math"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"unicode/utf8"

	"mito/engine/data"
)

// small returns every task with boards at a size that tests can afford.
func small(t testing.TB) []Task {
	t.Helper()
	var out []Task
	for _, name := range Names() {
		o := Options{Positions: 4000}
		switch name {
		case connect4Name:
			o.Depth = 4
		case othelloName:
			o.Depth = 1
		}
		task, err := New(name, o)
		if err != nil {
			t.Fatal(err)
		}
		if !Ends(task) {
			out = append(out, task)
		}
	}
	return out
}

// twins returns the prompts of all symmetric images of a prompt.
func twins(t *testing.T, task, prompt string) []string {
	t.Helper()
	var out []string
	switch task {
	case tictactoeName:
		b, err := parse3(prompt)
		if err != nil {
			t.Fatal(err)
		}
		for s := range symmetries3 {
			out = append(out, prompt3(b.transform(s)))
		}
	case connect4Name:
		b, err := parse4(prompt)
		if err != nil {
			t.Fatal(err)
		}
		out = []string{prompt4(b), prompt4(b.mirrored())}
	case othelloName:
		b, err := parse6(prompt)
		if err != nil {
			t.Fatal(err)
		}
		for s := range symmetries6 {
			out = append(out, prompt6(b.image(s)))
		}
	case mastermindName:
		h, begun, err := parseMastermind(prompt)
		if err != nil {
			t.Fatal(err)
		}
		other := func(k uint8) uint8 { return (k*5 + 2) % colours } // other names of the colours
		for i, r := range h {
			for p, k := range r.guess {
				h[i].guess[p] = other(k)
			}
		}
		for p, k := range begun {
			begun[p] = other(k)
		}
		out = []string{prompt, h.prompt(begun)}
	case lotteryName:
		out = []string{prompt}
	default:
		b, err := parse8(prompt)
		if err != nil {
			t.Fatal(err)
		}
		out = []string{prompt8(b), prompt8(b.transposed())}
	}
	return out
}

func TestSplitsSeparateSymmetricTwins(t *testing.T) {
	tasks := small(t)
	tasks[0], tasks[2] = newTicTacToe(Options{}), newPuzzle8(Options{})
	tasks[3], tasks[4] = must(newOthello(Options{Depth: 1, Positions: 40_000})), Task(&Mastermind{})
	for _, task := range tasks {
		all, train, test := mustExamples(t, task, All), mustExamples(t, task, Train), mustExamples(t, task, Test)
		if len(train)+len(test) != len(all) {
			t.Errorf("%s: %d + %d examples, want %d", task.Name(), len(train), len(test), len(all))
		}
		if s := share(len(test), len(all)); s < 0.07 || s > 0.13 {
			t.Errorf("%s: the test split holds %.3f of the positions, want about 0.1", task.Name(), s)
		}
		trained := map[string]bool{}
		for _, ex := range train {
			trained[ex.Prompt] = true
		}
		for _, ex := range test {
			for _, twin := range twins(t, task.Name(), ex.Prompt) {
				if trained[twin] {
					t.Fatalf("%s: test position %s has its twin %s in the training split", task.Name(), ex.Prompt, twin)
				}
			}
		}
	}
}

// A position must not change sides when the seed does, or a student trained
// with one seed would be tested on what it saw.
func TestSplitDoesNotDependOnSeed(t *testing.T) {
	trained := map[string]bool{}
	for seed := range uint64(2) {
		task, err := newConnect4(Options{Positions: 3000, Depth: 2, Seed: seed})
		if err != nil {
			t.Fatal(err)
		}
		if seed == 0 {
			for _, ex := range mustExamples(t, task, Train) {
				trained[ex.Prompt] = true
			}
			continue
		}
		common := 0
		for _, ex := range mustExamples(t, task, All) {
			if trained[ex.Prompt] {
				common++
			}
		}
		for _, ex := range mustExamples(t, task, Test) {
			if trained[ex.Prompt] {
				t.Fatalf("%s is in the test split of seed 1 and the training split of seed 0", ex.Prompt)
			}
		}
		if common == 0 || common > 2000 {
			t.Errorf("%d positions in common: the two seeds should share some openings and differ in most", common)
		}
	}
}

func TestExamplesAreDeterministicAndWellFormed(t *testing.T) {
	again := func() [][]data.Example {
		var out [][]data.Example
		for _, task := range small(t) {
			out = append(out, mustExamples(t, task, All))
		}
		return out
	}
	first := again()
	threads := runtime.GOMAXPROCS(1)
	second := again()
	runtime.GOMAXPROCS(threads)
	if !reflect.DeepEqual(first, second) {
		t.Error("the examples depend on the number of threads")
	}
	for i, task := range small(t) {
		alphabet := task.Alphabet()
		if len(first[i]) != 4000 {
			t.Errorf("%s: %d examples, want 4000", task.Name(), len(first[i]))
		}
		seen := map[string]bool{}
		for _, ex := range first[i] {
			if seen[ex.Prompt] {
				t.Fatalf("%s: prompt %s twice", task.Name(), ex.Prompt)
			}
			seen[ex.Prompt] = true
			_, joined := task.(interface{ Joined() bool })
			joined = joined && task.Name() != connect4Name // whose own format is a board
			if !joined && (utf8.RuneCountInString(ex.Prompt) != utf8.RuneCountInString(first[i][0].Prompt) || !strings.HasSuffix(ex.Prompt, "=")) {
				t.Fatalf("%s: malformed prompt %s", task.Name(), ex.Prompt)
			}
			if len(ex.Answers) == 0 {
				t.Fatalf("%s: %s has no answer", task.Name(), ex.Prompt)
			}
			for _, s := range append([]string{ex.Prompt}, ex.Answers...) {
				for _, r := range s {
					if !strings.ContainsRune(alphabet, r) {
						t.Fatalf("%s: %q of %q is not in the alphabet", task.Name(), r, s)
					}
				}
			}
			for _, a := range ex.Answers {
				if len(a) != 1 {
					t.Fatalf("%s: answer %q is not one character", task.Name(), a)
				}
			}
		}
	}
}

func TestSampleIsSeeded(t *testing.T) {
	a := mustExamples(t, newPuzzle8(Options{Positions: 500, Seed: 1}), All)
	b := mustExamples(t, newPuzzle8(Options{Positions: 500, Seed: 2}), All)
	if reflect.DeepEqual(a, b) {
		t.Error("two seeds give one sample")
	}
}

func TestAlphabets(t *testing.T) {
	for name, n := range map[string]int{tictactoeName: 28, connect4Name: 92, puzzle8Name: 86, lotteryName: 11} {
		task, err := Lookup(name)
		if err != nil {
			t.Fatal(err)
		}
		a := task.Alphabet()
		if len(a) != n {
			t.Errorf("%s: %d characters %q, want %d", name, len(a), a, n)
		}
		for i := range len(a) {
			if a[i] <= ' ' || a[i] > '~' || a[i] == '"' || a[i] == '\\' || i > 0 && a[i] <= a[i-1] {
				t.Errorf("%s: character %d is %q", name, i, a[i])
			}
		}
	}
}

func TestEntropyFloor(t *testing.T) {
	got := EntropyFloor([]data.Example{{Answers: []string{"1"}}, {Answers: []string{"1", "2", "3", "4"}}})
	if want := math.Log(2); math.Abs(got-want) > 1e-15 {
		t.Errorf("floor %v, want %v", got, want)
	}
	// A loss is that of a token, and of an answer of two tokens the first is sure.
	two := EntropyFloor([]data.Example{{Answers: []string{"①U", "①L"}}})
	if want := math.Log(2) / 2; math.Abs(two-want) > 1e-15 {
		t.Errorf("floor %v of answers of two characters, want %v", two, want)
	}
	if got := EntropyFloor(nil); got != 0 {
		t.Errorf("floor of nothing is %v", got)
	}
}
