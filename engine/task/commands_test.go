package task

import (
	"slices"
	"strings"
	"testing"
)

// TestCommandsMeanOneThing says every phrasing with every number, and wants one action for each text, of the closed set.
func TestCommandsMeanOneThing(t *testing.T) {
	means, legal := map[string]string{}, actions()
	for _, p := range phrasings() {
		numbers := p.numbers
		if numbers == nil {
			numbers = []said{{}}
		}
		for _, n := range numbers {
			one := p
			if p.numbers != nil {
				one.numbers = []said{n}
			}
			text := strings.TrimSuffix(strings.ReplaceAll(one.text, "N", n.words), " ")
			action := strings.TrimSuffix(one.device+" hall "+one.verb+" "+n.number, " ")
			if was, ok := means[text]; ok && was != action {
				t.Errorf("%q means %q and %q", text, was, action)
			}
			if means[text] = action; !slices.Contains(legal, action) {
				t.Errorf("%q means %q, which is no action", text, action)
			}
		}
	}
	if len(means) < 2000 {
		t.Errorf("%d ways to say something", len(means))
	}
}

func commands(t testing.TB, o Options) *Exact {
	t.Helper()
	task, err := New(commandsName, o)
	if err != nil {
		t.Fatal(err)
	}
	return task.(*Exact)
}

// TestCommandsHoldPhrasingsOut looks for held-out phrasings in the training part, and for words of them that it does not have.
func TestCommandsHoldPhrasingsOut(t *testing.T) {
	task := commands(t, Options{Seed: 3})
	train, test := must(task.Examples(t.Context(), Train)), must(task.Examples(t.Context(), Test))
	if share := float64(len(test)) / float64(len(train)+len(test)); len(train)+len(test) != DefaultCommands || share < 0.05 || share > 0.15 {
		t.Errorf("%d to train on, %d held out", len(train), len(test))
	}
	words, heard := map[string]bool{}, map[string]bool{}
	for _, e := range train {
		heard[barePhrasing(e.Prompt)] = true
		for _, w := range strings.Fields(plain(e.Prompt)) {
			words[w] = true
		}
	}
	held := map[string]bool{}
	for _, e := range test {
		bare := barePhrasing(e.Prompt)
		if held[bare] = true; heard[bare] {
			t.Errorf("%q is held out, and %q was trained on", e.Prompt, bare)
		}
		for _, w := range strings.Fields(plain(e.Prompt)) {
			if !words[w] {
				t.Errorf("%q was never trained on, of %q", w, e.Prompt)
			}
		}
	}
	if len(held) < 40 {
		t.Errorf("%d phrasings are held out", len(held))
	}
}

// barePhrasing takes the room, the number and the polite words away.
func barePhrasing(prompt string) string {
	text := plain(prompt)
	for _, p := range polite {
		if p != "" {
			text = strings.TrimPrefix(text, p)
		}
	}
	for _, p := range thanks {
		if p != "" {
			text = strings.TrimSuffix(text, p)
		}
	}
	for _, room := range rooms {
		text = strings.ReplaceAll(text, room, "R")
	}
	for _, list := range [][]said{percents, quarters, degrees, someMore, someHeat, steps} {
		for _, n := range list {
			if n.words != "" {
				text = strings.TrimSuffix(text, " "+n.words)
			}
		}
	}
	return text
}

func TestCommandsBySeed(t *testing.T) {
	a, b, c := commands(t, Options{Positions: 200, Seed: 1}), commands(t, Options{Positions: 200, Seed: 1}), commands(t, Options{Positions: 200, Seed: 2})
	if a.set().prompts[199].Prompt != b.set().prompts[199].Prompt || a.set().prompts[199].Prompt == c.set().prompts[199].Prompt {
		t.Error("the seed does not decide the prompts")
	}
	for _, p := range a.set().prompts {
		if answers, err := a.Solve(p.Prompt); err != nil || !slices.Equal(answers, p.Answers) || !slices.Contains(a.Closed(), answers[0]) {
			t.Fatalf("%q: %q, %v", p.Prompt, answers, err)
		}
	}
	if _, err := a.Solve("sing="); err == nil {
		t.Error("a prompt that is none is answered")
	}
}
