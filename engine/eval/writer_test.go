package eval

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"mito/engine/decode"
	"mito/engine/task"
	"mito/engine/tokenizer"
)

// greedy continues a prompt by the model's first choices, one token after another.
func greedy(t *testing.T, r decode.Runtime, tok tokenizer.Tokenizer, prompt string) task.Written {
	t.Helper()
	s := must(r.NewSession(1))
	begin, _ := tok.Template()
	ids := append(slices.Clone(begin), must(tok.Encode(prompt))...)
	logits := must(s.Prefill(0, ids))
	var text []byte
	for n := len(ids); ; n++ {
		id := must(decode.Largest(logits, nil))
		if id == tok.EOS() {
			return task.Written{Text: string(text), Ended: true}
		}
		if text = must(tok.AppendToken(text, id)); n == r.Context() {
			return task.Written{Text: string(text)}
		}
		logits = must(s.Step([]int32{id}))[0]
	}
}

// TestWriter compares free answers with plain decoding, for prompts of several lengths in batches of several sizes, also with a
// tokenizer that puts a token before each.
func TestWriter(t *testing.T) {
	tok := must(tokenizer.NewChars(alphabet, tokenizer.EndOfText))
	testWriter(t, tok)
	t.Run("template", func(t *testing.T) { testWriter(t, templated{tok, must(tok.Encode("b"))}) })
}

func testWriter(t *testing.T, tok tokenizer.Tokenizer) {
	c := edge()
	begin, _ := tok.Template()
	c.VocabSize, c.Context = tok.VocabSize(), 24+len(begin)
	prompts := []string{"a=", "longer=", "abc=", "z=", "x=", "ofallthelength=", "abcdefghijklmnopqrstuvw="}
	for kind, r := range runtimes(t, c, tok, 2) {
		ended := 0
		for _, batch := range []int{1, 3, 64} {
			got := must(must(NewWriter(t.Context(), r, batch)).Write(prompts))
			for i, p := range prompts {
				if want := greedy(t, r, tok, p); got[i] != want {
					t.Errorf("%s, batch %d, %q: %+v, want %+v", kind, batch, p, got[i], want)
				}
				if got[i].Ended {
					ended++
				}
			}
		}
		if ended == 3*len(prompts) {
			t.Errorf("%s: no text ran to the end of the context", kind)
		}
	}
}

// TestWriterEndsAnswers wants an answer that the model would go on with to be none of its own choice, and room to be kept for the
// answers that are left.
func TestWriterEndsAnswers(t *testing.T) {
	tok := must(tokenizer.NewChars(alphabet, tokenizer.EndOfText))
	c := edge()
	c.VocabSize, c.Context = tok.VocabSize(), 12
	for kind, r := range runtimes(t, c, tok, 2) {
		w := must(NewWriter(t.Context(), r, 4))
		for _, prompt := range []string{"a=", "xy=", "abc="} {
			free := greedy(t, r, tok, prompt)
			if free.Ended || len(free.Text) < 2 {
				t.Fatalf("%s: %q is answered %+v; the test needs a longer text", kind, prompt, free)
			}
			first := free.Text[:2]
			got := must(w.Choose([]string{prompt}, [][]string{{first}}))[0]
			if got.Answer != first || got.OwnLegal {
				t.Errorf("%s: %q, which the model would go on with: %+v", kind, first, got)
			}
			// A player of games takes the same for its own: its answers have no end of theirs.
			if got := must(must(NewPlayer(t.Context(), r, 4)).Choose([]string{prompt}, [][]string{{first}}))[0]; !got.OwnLegal {
				t.Errorf("%s: a game's %q: %+v", kind, first, got)
			}
			short, long := "q", strings.Repeat("q", 12)
			if got := must(w.Choose([]string{prompt}, [][]string{{short, long}}))[0]; got.Answer != short {
				t.Errorf("%s: no room for %q: %+v", kind, long, got)
			}
		}
		if _, err := w.Choose([]string{"abcdefghijkl="}, [][]string{{"q"}}); err == nil || !strings.Contains(err.Error(), "no room for an answer") {
			t.Errorf("%s: a prompt that is too long: %v", kind, err)
		}
	}
	plain := must(tokenizer.NewChars(alphabet))
	c.VocabSize = plain.VocabSize()
	for _, r := range runtimes(t, c, plain, 1) {
		var ae *AnswerError
		if _, err := NewWriter(t.Context(), r, 1); !errors.As(err, &ae) || !strings.Contains(err.Error(), "end-of-text token") {
			t.Errorf("without an end: %v", err)
		}
	}
}
