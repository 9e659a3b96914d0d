package task

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"mito/engine/data"
)

// lines makes lines of "prompt|answer|answer".
func lines(texts ...string) (out []data.Line) {
	for i, t := range texts {
		f := strings.Split(t, "|")
		out = append(out, data.Line{Number: i + 1, Example: data.Example{Prompt: f[0], Answers: f[1:]}})
	}
	return out
}

// many are n prompts with k answers between them.
func many(n, k int) (out []data.Line) {
	for i := range n {
		out = append(out, data.Line{Number: i + 1, Example: data.Example{Prompt: fmt.Sprintf("prompt %d", i), Answers: []string{fmt.Sprintf("answer %d", i%k)}}})
	}
	return out
}

func examples(t testing.TB, list []data.Line, o ExampleOptions) *Exact {
	t.Helper()
	task, err := NewExamples("mine", list, o)
	if err != nil {
		t.Fatal(err)
	}
	return task
}

func TestExamplesAreSplitByPrompt(t *testing.T) {
	list := many(100, 4)
	// The same words, written otherwise.
	for i := range 100 {
		list = append(list, data.Line{Number: 101 + i, Example: data.Example{Prompt: fmt.Sprintf(" PROMPT  %d", i), Answers: []string{"x"}}})
	}
	task := examples(t, list, ExampleOptions{HeldOut: 0.25, Seed: 1})
	side := map[uint64]string{}
	for _, split := range []Split{Train, Test} {
		for _, e := range must(task.Examples(t.Context(), split)) {
			key := wordsHash(plain(e.Prompt))
			if was, ok := side[key]; ok && was != string(split) {
				t.Errorf("%q is on both sides", e.Prompt)
			}
			side[key] = string(split)
		}
	}
	test := must(task.Examples(t.Context(), Test))
	if len(test) != 50 {
		t.Errorf("%d of 200 prompts are held out", len(test))
	}
	same := must(examples(t, list, ExampleOptions{HeldOut: 0.25, Seed: 1}).Examples(t.Context(), Test))
	other := must(examples(t, list, ExampleOptions{HeldOut: 0.25, Seed: 2}).Examples(t.Context(), Test))
	prompts := func(l []data.Example) (out string) {
		for _, e := range l {
			out += e.Prompt
		}
		return out
	}
	if prompts(same) != prompts(test) || prompts(other) == prompts(test) {
		t.Error("the seed does not decide what is held out")
	}
}

func TestExamplesTellWhatTheyFound(t *testing.T) {
	task := examples(t, lines("a|1", "b|1", "a|1", "a=|2", "c|1|2", "b|1"), ExampleOptions{HeldOut: 0.1})
	all := must(task.Examples(t.Context(), All))
	if len(all) != 3 || all[0].Prompt != "a=" || !slices.Equal(all[0].Answers, []string{"1", "2"}) {
		t.Errorf("merged to %v", all)
	}
	notes := strings.Join(task.Notes(), "\n")
	for _, want := range []string{"line 3 repeats line 1, and there are 2 such lines", "line 4 answers \"a=\" otherwise than line 1"} {
		if !strings.Contains(notes, want) {
			t.Errorf("no %q in:\n%s", want, notes)
		}
	}
	if task.Line("c=") != 5 || task.Line("d=") != 0 {
		t.Error("prompts are on other lines")
	}
}

func TestExamplesThatCannotBeSplit(t *testing.T) {
	for _, list := range [][]data.Line{nil, lines("a|1"), lines("a|1", "A |2")} {
		var few *FewError
		if _, err := NewExamples("mine", list, ExampleOptions{HeldOut: 0.5}); !errors.As(err, &few) {
			t.Errorf("%v: %v", list, err)
		}
	}
	for _, share := range []float64{0, 1, -1} {
		if _, err := NewExamples("mine", many(9, 3), ExampleOptions{HeldOut: share}); err == nil {
			t.Errorf("a share of %v is accepted", share)
		}
	}
	for _, share := range []float64{0.001, 0.999} { // both parts have a prompt
		task := examples(t, many(9, 3), ExampleOptions{HeldOut: share})
		if a, b := len(must(task.Examples(t.Context(), Train))), len(must(task.Examples(t.Context(), Test))); a == 0 || b == 0 {
			t.Errorf("a share of %v leaves %d and %d", share, a, b)
		}
	}
}

func TestClosedSetOfAnswers(t *testing.T) {
	if got := examples(t, many(100, 4), ExampleOptions{HeldOut: 0.1}).Closed(); len(got) != 4 || !slices.IsSorted(got) {
		t.Errorf("four answers to a hundred prompts: %v", got)
	}
	if got := examples(t, many(100, 100), ExampleOptions{HeldOut: 0.1}).Closed(); got != nil {
		t.Errorf("an answer for each prompt is a closed set of %d", len(got))
	}
	if got := examples(t, many(4*maxClosed, maxClosed+1), ExampleOptions{HeldOut: 0.1}).Closed(); got != nil {
		t.Errorf("a set of %d is closed", len(got))
	}
	// The held-out part must not decide what may be answered.
	list := many(100, 4)
	task := examples(t, list, ExampleOptions{HeldOut: 0.1})
	for i, l := range list {
		if p := marked(l.Prompt); slices.ContainsFunc(must(task.Examples(t.Context(), Test)), func(e data.Example) bool { return e.Prompt == p }) {
			list[i].Answers = []string{"only held out"}
		}
	}
	task = examples(t, list, ExampleOptions{HeldOut: 0.1})
	if slices.Contains(task.Closed(), "only held out") || !strings.Contains(strings.Join(task.Notes(), ""), "10 held-out prompts have no right answer in it") {
		t.Errorf("%v %v", task.Closed(), task.Notes())
	}
}

// scripted answers as a function says, which is what it would write too.
type scripted func(prompt string) (answer string, own bool)

func (f scripted) Choose(prompts []string, _ [][]string) (out []Choice, _ error) {
	for _, p := range prompts {
		a, own := f(p)
		out = append(out, Choice{a, own})
	}
	return out, nil
}

func (f scripted) Write(prompts []string) (out []Written, _ error) {
	for _, p := range prompts {
		a, ended := f(p)
		out = append(out, Written{a, ended})
	}
	return out, nil
}

func TestScoreOfExactAnswers(t *testing.T) {
	for _, k := range []int{4, 400} { // a closed set and an open one
		task := examples(t, many(400, k), ExampleOptions{HeldOut: 0.25, Seed: 3})
		// Right everywhere; held to the set where the number ends in 1; without an end in an open set.
		right := scripted(func(prompt string) (string, bool) {
			return must(task.Solve(prompt))[0], !strings.HasSuffix(plain(prompt), "1")
		})
		s := mustScore(t, task, right, ScoreOptions{Keep: 2}) // and nobody to keep them
		held := 0
		for _, e := range must(task.Examples(t.Context(), Test)) {
			if strings.HasSuffix(plain(e.Prompt), "1") {
				held++
			}
		}
		want := ExactScore{Split: Test, Prompts: 100, Exact: 100, Constrained: true, Answers: 4, Unconstrained: 100 - held, Outside: held}
		if k == 400 {
			want.Constrained, want.Answers, want.Exact = false, 0, 100-held
		}
		got := *s.Exact
		got.Mistakes = nil
		if !reflect.DeepEqual(got, want) || held == 0 {
			t.Errorf("%d answers: %+v, want %+v", k, got, want)
		}
		wrong := scripted(func(string) (string, bool) { return "answer 0", true })
		if s := mustScore(t, task, wrong, ScoreOptions{Games: 20}); s.Exact.Prompts != 20 || s.Exact.Exact > 15 || len(s.Exact.Mistakes) == 0 || s.Exact.Mistakes[0].Answer != "answer 0" {
			t.Errorf("%d answers, all alike: %+v", k, *s.Exact)
		}
		for split, n := range map[Split]int{Train: 300, Test: 100, All: 400} {
			if s := mustScore(t, task, right, ScoreOptions{Split: split}); s.Exact.Prompts != n || s.Exact.Split != split {
				t.Errorf("%s: %+v", split, *s.Exact)
			}
		}
		if s := mustScore(t, task, task.Commonest(), ScoreOptions{}); s.Exact.Exact > 40 || s.Exact.Outside != 0 {
			t.Errorf("the commonest answer: %+v", *s.Exact)
		}
	}
	task := examples(t, many(100, 100), ExampleOptions{HeldOut: 0.25})
	var pe *PlayerError
	if _, err := task.Score(t.Context(), RandomPlayer(1), ScoreOptions{}); !errors.As(err, &pe) {
		t.Errorf("a player that cannot write: %v", err)
	}
	var oe *OpponentError
	if _, err := task.Score(t.Context(), task.Commonest(), ScoreOptions{Opponent: "random"}); !errors.As(err, &oe) {
		t.Errorf("an opponent: %v", err)
	}
}

func TestExactScoreAsJSON(t *testing.T) {
	task := examples(t, many(100, 4), ExampleOptions{HeldOut: 0.5})
	s := mustScore(t, task, task.Commonest(), ScoreOptions{Seed: 2})
	text := must(json.Marshal(s))
	for _, key := range []string{`"prompts":50`, `"exact":`, `"exact_interval":[`, `"constrained":true`, `"unconstrained_exact":`, `"mistakes":[`} {
		if !strings.Contains(string(text), key) {
			t.Errorf("no %s in %s", key, text)
		}
	}
	var back Score
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	if again := must(json.Marshal(back)); string(again) != string(text) {
		t.Errorf("%s became %s", text, again)
	}
}

func TestMarks(t *testing.T) {
	if m := newMarks("p", []float64{1, 1, 0, 1}); m.Mean != 0.75 || m.Right != 3 || m.Interval != Wilson(3, 4) {
		t.Errorf("%+v", m)
	}
	// s² = 4·0.25²/3, so s = 0.2887.
	m := newMarks("p", []float64{0.25, 0.75, 0.25, 0.75})
	if half := 1.96 * 0.28867513459481287 / 2; m.Mean != 0.5 || m.Right != 0 || !near(m.Interval[0], 0.5-half) || !near(m.Interval[1], 0.5+half) {
		t.Errorf("%+v", m)
	}
	if m := newMarks("p", nil); m.Interval != (Interval{0, 1}) {
		t.Errorf("%+v", m)
	}
}

func near(a, b float64) bool { return a-b < 1e-12 && b-a < 1e-12 }
