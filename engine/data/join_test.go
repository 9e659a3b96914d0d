package data

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"mito/engine/tokenizer"
)

// seen is what a batch asks for: after which text which characters are right, with their weights.
func seen(t interface{ Fatal(...any) }, tok tokenizer.Tokenizer, b *Batch, into map[string]float64) {
	for i, w := range b.Weights {
		if w == 0 {
			continue
		}
		row := i / b.Time * b.Time
		before, err := tok.Decode(b.Inputs[row : i+1])
		if err != nil {
			t.Fatal(err)
		}
		after, err := tok.Decode(b.Targets[i : i+1])
		if err != nil {
			t.Fatal(err)
		}
		into[before+">"+after] += float64(w)
	}
}

// randomExamples draws prompts of few letters, so that many continue one another and some are equal.
func randomExamples(t *rapid.T) []Example {
	var list []Example
	for range rapid.IntRange(1, 12).Draw(t, "examples") {
		e := Example{Prompt: "a" + rapid.StringMatching("[ab]{0,5}").Draw(t, "prompt")}
		for _, a := range "012"[:rapid.IntRange(1, 3).Draw(t, "answers")] {
			e.Answers = append(e.Answers, string(a))
		}
		list = append(list, e)
	}
	return list
}

// TestJoinAsksTheSame: an evaluation and an epoch of joined rows ask for what the examples apart ask for, with the same weights.
func TestJoinAsksTheSame(t *testing.T) {
	tok := chars(t, "ab012")
	rapid.Check(t, func(rt *rapid.T) {
		list := randomExamples(rt)
		var want, got map[string]float64
		for _, join := range []bool{false, true} {
			want, got = got, map[string]float64{}
			e, err := NewExamplesEval(tok, list, 3, ExampleOptions{Join: join})
			if err != nil {
				rt.Fatal(err)
			}
			weight := 0.0
			for i := range e.Batches() {
				b := fill(t, e, i)
				weight += b.Weight()
				seen(rt, tok, b, got)
			}
			if d := weight - e.Weight(); d > 1e-4 || d < -1e-4 {
				rt.Fatalf("weights add up to %v, want %v", weight, e.Weight())
			}
		}
		if !maps.EqualFunc(want, got, func(a, b float64) bool { return a-b < 1e-5 && b-a < 1e-5 }) {
			rt.Fatalf("%v: joined %v, want %v", list, got, want)
		}
	})
}

// TestJoinVisitsAll: an epoch of training shows every example once, with all of its right tokens at its place, and fewer rows
// than examples where prompts continue one another.
func TestJoinVisitsAll(t *testing.T) {
	tok := chars(t, "ab012")
	list := []Example{{Prompt: "a", Answers: []string{"0", "1"}}, {Prompt: "ab", Answers: []string{"2"}}, {Prompt: "aba", Answers: []string{"1"}}, {Prompt: "abb", Answers: []string{"0"}}, {Prompt: "aa", Answers: []string{"0", "2"}}}
	s, err := NewExamples(tok, list, 3, 1, ExampleOptions{Join: true})
	if err != nil {
		t.Fatal(err)
	}
	if s.StepsPerEpoch() != 1 {
		t.Fatalf("%d steps of 3 rows, want 1: a, ab and aba are one row, abb and aa others", s.StepsPerEpoch())
	}
	b, got := fill(t, s, 0), map[string]float64{}
	seen(t, tok, b, got)
	var soft Soft
	if err := s.FillSoft(&soft, 0); err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		n := 0
		for _, a := range e.Answers {
			n += int(got[e.Prompt+">"+a])
		}
		if n != 1 {
			t.Errorf("%q is shown %d times, want once: %v", e.Prompt, n, got)
		}
	}
	for i := range b.Weights {
		sum := float32(0)
		for _, p := range soft.Probs[i*soft.K:][:soft.K] {
			sum += p
		}
		if sum != b.Weights[i] {
			t.Errorf("the shares of target %d add up to %v, its weight is %v", i, sum, b.Weights[i])
		}
	}
	first, second := fill(t, s, 5), fill(t, s, 5)
	if !equal(first, second) {
		t.Error("a step differs from itself")
	}
}

// TestJoinRefuses: an answer of two tokens is not what stands in a longer prompt.
func TestJoinRefuses(t *testing.T) {
	_, err := NewExamples(chars(t, "ab01"), []Example{{Prompt: "a", Answers: []string{"01"}}}, 1, 1, ExampleOptions{Join: true})
	var of *ExampleError
	if !errors.As(err, &of) || !strings.Contains(err.Error(), "longer than one token") {
		t.Errorf("%v, want an ExampleError about the answer", err)
	}
}

// TestJoinedRows: the rows hold every example once, each prompt begins the one before it, and only equal prompts are apart.
func TestJoinedRows(t *testing.T) {
	tok := chars(t, "ab012")
	rapid.Check(t, func(rt *rapid.T) {
		set, err := encodeExamples(tok, randomExamples(rt), ExampleOptions{Join: true})
		if err != nil {
			rt.Fatal(err)
		}
		var all []int32
		for _, row := range set.rows {
			for k, i := range row {
				if all = append(all, i); k > 0 && !begins(set.examples[i].prompt, set.examples[row[k-1]].prompt) {
					rt.Fatalf("row %v: prompt %v does not begin the one before it", row, set.examples[i].prompt)
				}
			}
		}
		slices.Sort(all)
		for i, v := range all {
			if int(v) != i {
				rt.Fatalf("rows %v do not hold each of %d examples once", set.rows, len(set.examples))
			}
		}
		if len(all) != len(set.examples) {
			rt.Fatalf("rows %v hold %d of %d examples", set.rows, len(all), len(set.examples))
		}
	})
}

// TestTimes: an epoch visits an example as often as it says, an evaluation once.
func TestTimes(t *testing.T) {
	tok := chars(t, "ab012")
	list := []Example{{Prompt: "a", Answers: []string{"0"}, Times: 3}, {Prompt: "b", Answers: []string{"1"}}}
	s, err := NewExamples(tok, list, 4, 1, ExampleOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if s.StepsPerEpoch() != 1 {
		t.Errorf("%d steps of 4 rows, want 1", s.StepsPerEpoch())
	}
	got := map[string]float64{}
	for step := range int64(3) {
		seen(t, tok, fill(t, s, step), got)
	}
	if got["a>0"] != 9 || got["b>1"] != 3 {
		t.Errorf("three epochs show %v, want a three times as often as b", got)
	}
	e, err := NewExamplesEval(tok, list, 4, ExampleOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if e.Weight() != 2 || e.Batches() != 1 || fill(t, e, 0).Weight() != 2 {
		t.Errorf("an evaluation of weight %v, want 2", e.Weight())
	}
	list[0].Times = 1
	once, err := NewExamples(tok, list, 4, 1, ExampleOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if once.Hash() == s.Hash() {
		t.Error("other visits have the same hash")
	}
}
