package data

import (
	"math"
	"slices"
	"testing"

	"mito/engine/tokenizer"
)

// The soft targets of a step list the drawn answer among the right ones, their shares add to one where the batch
// has a target, and no id stands twice in a row.
func TestFillSoft(t *testing.T) {
	tok, err := tokenizer.NewChars("abc0123=")
	if err != nil {
		t.Fatal(err)
	}
	examples := []Example{{Prompt: "a=", Answers: []string{"0"}}, {Prompt: "bb=", Answers: []string{"1", "3"}}, {Prompt: "c=", Answers: []string{"0", "2", "3"}},
		{Prompt: "a=", Answers: []string{"30", "31"}}}
	src, err := NewExamples(tok, examples, 4, 9, ExampleOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if src.Choices() != 3 {
		t.Fatalf("choices %d, want 3", src.Choices())
	}
	var b Batch
	var s Soft
	for step := range int64(6) {
		if err := src.Fill(&b, step); err != nil {
			t.Fatal(err)
		}
		if err := src.FillSoft(&s, step); err != nil {
			t.Fatal(err)
		}
		for i, w := range b.Weights {
			ids, probs := s.IDs[i*s.K:][:s.K], s.Probs[i*s.K:][:s.K]
			sorted := slices.Clone(ids)
			slices.Sort(sorted)
			if len(slices.Compact(sorted)) != s.K {
				t.Fatalf("step %d target %d: ids %v repeat", step, i, ids)
			}
			sum, drawn := 0.0, float32(0)
			for j, p := range probs {
				sum += float64(p)
				if ids[j] == b.Targets[i] {
					drawn = p
				}
			}
			if w == 0 && sum != 0 || w != 0 && (math.Abs(sum-1) > 1e-6 || drawn == 0) {
				t.Fatalf("step %d target %d (weight %v): shares %v of %v, drawn %d", step, i, w, probs, ids, b.Targets[i])
			}
		}
	}
}

func TestSoftRefusesLongAnswers(t *testing.T) {
	tok, err := tokenizer.NewChars("a=01")
	if err != nil {
		t.Fatal(err)
	}
	src, err := NewExamples(tok, []Example{{Prompt: "a=", Answers: []string{"0", "10"}}}, 1, 1, ExampleOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if src.Choices() != 0 {
		t.Error("answers of two tokens offer soft targets")
	}
	if err := src.FillSoft(new(Soft), 0); err == nil {
		t.Error("soft targets of long answers were filled")
	}
}
