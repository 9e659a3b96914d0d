package data

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"mito/engine/tokenizer"
)

func TestExampleLayout(t *testing.T) {
	tok := chars(t, "abcXYZ", tokenizer.EndOfText) // X=0 Y=1 Z=2 a=3 b=4 c=5, end 6
	for name, c := range map[string]struct {
		o               ExampleOptions
		inputs, targets []int32
		weights         []float32
	}{
		"plain":  {ExampleOptions{}, []int32{3, 4, 5, 0}, []int32{4, 5, 0, 1}, []float32{0, 0, 1, 1}},
		"padded": {ExampleOptions{Time: 6}, []int32{3, 4, 5, 0, 0, 0}, []int32{4, 5, 0, 1, 0, 0}, []float32{0, 0, 1, 1, 0, 0}},
		"ended":  {ExampleOptions{EOS: true}, []int32{3, 4, 5, 0, 1}, []int32{4, 5, 0, 1, 6}, []float32{0, 0, 1, 1, 1}},
	} {
		e := []Example{{Prompt: "abc", Answers: []string{"XY"}}}
		train, err := NewExamples(tok, e, 2, 0, c.o)
		if err != nil {
			t.Fatal(err)
		}
		eval, err := NewExamplesEval(tok, e, 1, c.o)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range []Source{train, eval} {
			b := fill(t, s, 0)
			for r := range b.Rows {
				row := b.Slice(r, r+1)
				if !slices.Equal(row.Inputs, c.inputs) || !slices.Equal(row.Targets, c.targets) || !slices.Equal(row.Weights, c.weights) {
					t.Errorf("%s: inputs %v, targets %v, weights %v", name, row.Inputs, row.Targets, row.Weights)
				}
			}
		}
		// The end-of-text token is a target, but no byte of the original.
		if eval.Bytes() != 2 {
			t.Errorf("%s: %v bytes, want 2", name, eval.Bytes())
		}
	}
}

// numbered makes n examples that differ, with one to three answers of one to three characters.
func numbered(n int) []Example {
	list := make([]Example, n)
	for i := range list {
		list[i].Prompt = fmt.Sprintf("%d=", i)
		for a := range i%3 + 1 {
			list[i].Answers = append(list[i].Answers, strings.Repeat(string(rune('x'+a)), (i+a)%3+1))
		}
	}
	return list
}

// readRow recovers prompt and answer of a row from its tokens and its mask.
func readRow(t testing.TB, tok tokenizer.Tokenizer, row Batch) (prompt, answer string) {
	t.Helper()
	first := slices.IndexFunc(row.Weights, func(w float32) bool { return w != 0 })
	last := first
	for last < len(row.Weights) && row.Weights[last] != 0 {
		last++
	}
	if first < 0 || slices.ContainsFunc(row.Weights[last:], func(w float32) bool { return w != 0 }) {
		t.Fatalf("weights %v are not one stretch", row.Weights)
	}
	p, err := tok.Decode(row.Inputs[:first+1])
	if err != nil {
		t.Fatal(err)
	}
	a, err := tok.Decode(row.Targets[first:last])
	if err != nil {
		t.Fatal(err)
	}
	return p, a
}

// TestEpochs: in each epoch each example is visited once, in an order of its
// own, and only with answers of its own.
func TestEpochs(t *testing.T) {
	tok := chars(t, "0123456789=xyz")
	rapid.Check(t, func(rt *rapid.T) {
		n, rows := rapid.IntRange(1, 40).Draw(rt, "n"), rapid.IntRange(1, 9).Draw(rt, "rows")
		list := numbered(n)
		s, err := NewExamples(tok, list, rows, rapid.Uint64().Draw(rt, "seed"), ExampleOptions{})
		if err != nil {
			rt.Fatal(err)
		}
		const epochs = 3
		var visits []string
		for step := int64(0); len(visits) < epochs*n; step++ {
			b := fill(t, s, step)
			for r := range b.Rows {
				prompt, answer := readRow(t, tok, b.Slice(r, r+1))
				i := slices.IndexFunc(list, func(e Example) bool { return e.Prompt == prompt })
				if i < 0 || !slices.Contains(list[i].Answers, answer) {
					rt.Fatalf("step %d row %d: %q is no answer to %q", step, r, answer, prompt)
				}
				visits = append(visits, prompt)
			}
		}
		orders := map[string]bool{}
		for e := range epochs {
			epoch := slices.Clone(visits[e*n : (e+1)*n])
			orders[strings.Join(epoch, " ")] = true
			slices.Sort(epoch)
			if len(slices.Compact(epoch)) != n {
				rt.Fatalf("epoch %d visits %v", e, visits[e*n:(e+1)*n])
			}
		}
		if n >= 20 && len(orders) < epochs {
			rt.Fatal("two epochs have one order")
		}
		if want := int64((n + rows - 1) / rows); s.StepsPerEpoch() != want {
			rt.Fatalf("%d steps an epoch, want %d", s.StepsPerEpoch(), want)
		}
	})
}

// TestAnswersDrawnEvenly: three answers, each within six standard deviations of a third.
func TestAnswersDrawnEvenly(t *testing.T) {
	tok := chars(t, "pxyz")
	s, err := NewExamples(tok, []Example{{Prompt: "p", Answers: []string{"x", "y", "z"}}}, 4, 9, ExampleOptions{})
	if err != nil {
		t.Fatal(err)
	}
	const n = 12000
	counts := map[string]float64{}
	for step := range int64(n / 4) {
		b := fill(t, s, step)
		for r := range b.Rows {
			_, a := readRow(t, tok, b.Slice(r, r+1))
			counts[a]++
		}
	}
	for _, a := range []string{"x", "y", "z"} {
		if dev := math.Abs(counts[a] - n/3); dev > 6*math.Sqrt(n*(1./3)*(2./3)) {
			t.Errorf("%q drawn %v times of %d", a, counts[a], n)
		}
	}
}

// TestExamplesEval: every answer is scored once, the answers of an example
// share a weight of one, and the sums agree with the batches.
func TestExamplesEval(t *testing.T) {
	tok := chars(t, "0123456789=xyz", tokenizer.EndOfText)
	rapid.Check(t, func(rt *rapid.T) {
		list := numbered(rapid.IntRange(1, 30).Draw(rt, "n"))
		o := ExampleOptions{EOS: rapid.Bool().Draw(rt, "eos")}
		e, err := NewExamplesEval(tok, list, rapid.IntRange(1, 7).Draw(rt, "rows"), o)
		if err != nil {
			rt.Fatal(err)
		}
		var got, want []string
		weight, bytes := 0.0, 0.0
		for step := range e.Batches() {
			b := fill(t, e, step)
			weight += b.Weight()
			for r := range b.Rows {
				row := b.Slice(r, r+1)
				if row.Weight() == 0 {
					continue // what the last batch lacks
				}
				p, a := readRow(t, tok, row)
				got = append(got, p+a)
			}
		}
		for _, x := range list {
			for _, a := range x.Answers {
				bytes += float64(len(a)) * float64(1/float32(len(x.Answers)))
				if o.EOS {
					a += tokenizer.EndOfText
				}
				want = append(want, x.Prompt+a)
			}
		}
		if !slices.Equal(got, want) {
			rt.Fatalf("scored %q, want %q", got, want)
		}
		// Both are float64 sums of the same float32 weights in different orders.
		eps := float64(len(want)*8) * 0x1p-53
		if math.Abs(weight-e.Weight()) > weight*eps || math.Abs(bytes-e.Bytes()) > bytes*eps {
			rt.Fatalf("weight %v declared %v, bytes %v declared %v", weight, e.Weight(), bytes, e.Bytes())
		}
	})
}

// TestMaskedMean: the mean is over the answers, not over the padded batch: a
// loss of 1 on each answer token is 1 whatever prompts and padding cost.
func TestMaskedMean(t *testing.T) {
	tok := chars(t, "0123456789=xyz")
	for _, time := range []int{0, 50} {
		s, err := NewExamples(tok, numbered(20), 8, 3, ExampleOptions{Time: time})
		if err != nil {
			t.Fatal(err)
		}
		b := fill(t, s, 0)
		for _, m := range []int{1, 2, 5, 8} {
			var loss Loss
			for i := range m {
				part := b.Micro(i, m)
				add := Loss{Weight: part.Weight()}
				for _, w := range part.Weights {
					answer := 1000.0 // what must not count
					if w > 0 {
						answer = 1
					}
					add.Nats += float64(w) * answer
				}
				loss.Add(add)
			}
			if loss.PerToken() != 1 {
				t.Errorf("time %d, %d parts: mean %v, want 1", time, m, loss.PerToken())
			}
		}
	}
}

func TestExamplesRefuse(t *testing.T) {
	tok := chars(t, "abc")
	for name, c := range map[string]struct {
		list []Example
		rows int
		o    ExampleOptions
		says string
	}{
		"none":          {nil, 1, ExampleOptions{}, "none given"},
		"no prompt":     {[]Example{{Prompt: "", Answers: []string{"a"}}}, 1, ExampleOptions{}, "prompt is empty"},
		"no answers":    {[]Example{{Prompt: "a"}}, 1, ExampleOptions{}, "no answer"},
		"empty answer":  {[]Example{{Prompt: "a", Answers: []string{"b", ""}}}, 1, ExampleOptions{}, "answer is empty"},
		"unknown char":  {[]Example{{Prompt: "a", Answers: []string{"b"}}, {Prompt: "ax", Answers: []string{"b"}}}, 1, ExampleOptions{}, `example 1 with prompt "ax"`},
		"unknown reply": {[]Example{{Prompt: "a", Answers: []string{"z"}}}, 1, ExampleOptions{}, "'z'"},
		"too long":      {[]Example{{Prompt: "aaa", Answers: []string{"bb"}}}, 1, ExampleOptions{Time: 3}, "takes 4 tokens where a row has 3"},
		"rows":          {[]Example{{Prompt: "a", Answers: []string{"b"}}}, 0, ExampleOptions{}, "0 rows"},
		"no end token":  {[]Example{{Prompt: "a", Answers: []string{"b"}}}, 1, ExampleOptions{EOS: true}, "end-of-text"},
	} {
		_, err := NewExamples(tok, c.list, c.rows, 0, c.o)
		_, evalErr := NewExamplesEval(tok, c.list, c.rows, c.o)
		var arg *ArgError
		var example *ExampleError
		if err == nil || evalErr == nil || err.Error() != evalErr.Error() || !strings.Contains(err.Error(), c.says) ||
			!errors.As(err, &arg) && !errors.As(err, &example) {
			t.Errorf("%s: got %v and %v, want both to say %q", name, err, evalErr, c.says)
		}
	}
	var unknown *tokenizer.UnknownCharError
	if _, err := NewExamples(tok, []Example{{Prompt: "x", Answers: []string{"a"}}}, 1, 0, ExampleOptions{}); !errors.As(err, &unknown) {
		t.Errorf("got %v, want the tokenizer's error inside", err)
	}
}
