package task

import (
	"context"
	"errors"
	"slices"
	"testing"
)

// Rules say the same as the games.
func TestRules(t *testing.T) {
	legal := func(name, prompt string) []string {
		switch name {
		case tictactoeName:
			b, err := parse3(prompt)
			if err != nil {
				t.Fatal(err)
			}
			return rules3{}.legal(b)
		case connect4Name:
			b, err := parse4(prompt)
			if err != nil {
				t.Fatal(err)
			}
			return rules4{}.legal(b)
		default:
			b, err := parse8(prompt)
			if err != nil {
				t.Fatal(err)
			}
			var out []string
			for m := range len(moves8) {
				if _, ok := b.play(m); ok {
					out = append(out, moves8[m:m+1])
				}
			}
			return out
		}
	}
	for _, name := range Names() {
		rules, err := Rules(name)
		if none := (*RulesError)(nil); errors.As(err, &none) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		game, err := New(name, Options{Positions: 2000, Seed: 5})
		if err != nil {
			t.Fatal(err)
		}
		examples, err := game.Examples(context.Background(), All)
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range examples {
			var got []string
			for _, r := range rules {
				if x.Prompt[r.At] == r.Is {
					got = append(got, string(r.Answer))
				}
			}
			want := slices.Clone(legal(name, x.Prompt))
			slices.Sort(got)
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Fatalf("%s: %q: rules allow %q, the game %q", name, x.Prompt, got, want)
			}
		}
	}
	var unknown *UnknownError
	if _, err := Rules("go"); !errors.As(err, &unknown) {
		t.Error(err)
	}
}
