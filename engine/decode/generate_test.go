package decode

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"mito/engine/session"
	"mito/engine/tokenizer"
)

func TestGenerate(t *testing.T) {
	letters := must(tokenizer.NewChars("abcdefgh"))
	ended := must(tokenizer.NewChars("abcdef", tokenizer.EndOfText))
	for _, tc := range []struct {
		name   string
		tok    tokenizer.Tokenizer
		vocab  int
		ctx    int
		prompt string
		o      GenerateOptions
		text   string
		tokens int
		end    string
	}{
		{"to the end of the context", letters, 8, 10, "ab", GenerateOptions{}, "cdefghabc", 9, EndContext},
		{"prompt fills the context", letters, 8, 4, "abcd", GenerateOptions{}, "e", 1, EndContext},
		{"length", letters, 8, 10, "h", GenerateOptions{MaxTokens: 3}, "abc", 3, EndLength},
		{"length is the room", letters, 8, 4, "a", GenerateOptions{MaxTokens: 4}, "bcde", 4, EndLength},
		{"length beyond the context", letters, 8, 4, "a", GenerateOptions{MaxTokens: 9}, "bcde", 4, EndContext},
		{"eos", ended, 7, 32, "c", GenerateOptions{}, "def", 3, EndEOS},
		{"eos ignored", ended, 7, 32, "c", GenerateOptions{IgnoreEOS: true, MaxTokens: 6}, "def" + tokenizer.EndOfText + "ab", 6, EndLength},
		{"empty prompt", ended, 7, 32, "", GenerateOptions{}, "abcdef", 6, EndEOS},
		{"stop", letters, 8, 32, "a", GenerateOptions{Stop: []string{"fg"}}, "bcde", 6, EndStop},
		{"first of the stops", letters, 8, 32, "a", GenerateOptions{Stop: []string{"efg", "ef", "gh"}}, "bcd", 5, EndStop},
		{"stop not in the prompt", letters, 8, 12, "abc", GenerateOptions{Stop: []string{"cd"}}, "defghab", 9, EndStop},
		{"stop at once", letters, 8, 12, "a", GenerateOptions{Stop: []string{"b"}}, "", 1, EndStop},
		{"held back, then given", letters, 8, 32, "a", GenerateOptions{Stop: []string{"defx"}, MaxTokens: 5}, "bcdef", 5, EndLength},
		{"slide", letters, 8, 6, "abcd", GenerateOptions{Slide: true, MaxTokens: 20}, "efghabcdefghabcdefgh", 20, EndLength},
		{"slide in a context of one", letters, 8, 1, "ab", GenerateOptions{Slide: true, MaxTokens: 5}, "cdefg", 5, EndLength},
		{"logits beyond the tokenizer", letters, 20, 32, "h", GenerateOptions{MaxTokens: 2}, "ab", 2, EndLength},
	} {
		for name, spec := range speculators() {
			t.Run(tc.name+", "+name, func(t *testing.T) {
				if spec != nil {
					spec.t, spec.vocab = t, tc.vocab
				}
				r := counter(tc.tok, tc.vocab, tc.ctx)
				o := tc.o
				var streamed strings.Builder
				o.OnText = func(s string) error { streamed.WriteString(s); return nil }
				g := must(NewGenerator(r, GeneratorOptions{Speculator: spec.orNil()}))
				for range 2 { // the generator starts afresh
					streamed.Reset()
					got, err := g.Generate(t.Context(), tc.prompt, o)
					if err != nil || got.Text != tc.text || len(got.Tokens) != tc.tokens || got.End != tc.end {
						t.Fatalf("%+v, %v; want %q of %d tokens, %s", got, err, tc.text, tc.tokens, tc.end)
					}
					if streamed.String() != got.Text {
						t.Fatalf("streamed %q, returned %q", streamed.String(), got.Text)
					}
					if (got.Speculation != nil) != (spec != nil) {
						t.Fatalf("speculation %+v", got.Speculation)
					}
				}
			})
		}
	}
}

// TestSlide wants each restart to read half a context.
func TestSlide(t *testing.T) {
	r := counter(must(tokenizer.NewChars("abcdefgh")), 8, 6)
	must(must(NewGenerator(r, GeneratorOptions{})).Generate(t.Context(), "abcdefgh", GenerateOptions{Slide: true, MaxTokens: 9}))
	if want := []int{2, 2, 2}; !slices.Equal(r.given, want) {
		t.Fatalf("read %v, want %v", r.given, want)
	}
}

// TestStreamCharacters generates characters of several tokens: no piece may hold a part of one.
func TestStreamCharacters(t *testing.T) {
	tok := must(tokenizer.TrainBPE("abc", 256))
	ids := must(tok.Encode("xé🙂 日本"))
	r := &chain{tok: tok, vocab: tok.VocabSize(), ctx: 100, logits: func(r session.Row, l []float32) { l[ids[r.Pos]] = 1 }}
	var pieces []string
	got := must(must(NewGenerator(r, GeneratorOptions{})).Generate(context.Background(), "a", GenerateOptions{
		MaxTokens: len(ids), OnText: func(s string) error { pieces = append(pieces, s); return nil },
	}))
	if want := []string{"x", "é", "🙂", " ", "日", "本"}; !slices.Equal(pieces, want) || got.Text != "xé🙂 日本" {
		t.Fatalf("pieces %q, text %q", pieces, got.Text)
	}
	ids = ids[:2] // ends inside a character
	got = must(must(NewGenerator(r, GeneratorOptions{})).Generate(context.Background(), "a", GenerateOptions{MaxTokens: 2}))
	if got.Text != "x\uFFFD" {
		t.Fatalf("text %q", got.Text)
	}
}

func TestGenerateErrors(t *testing.T) {
	letters := must(tokenizer.NewChars("abcdefgh"))
	if _, err := NewGenerator(counter(nil, 8, 4), GeneratorOptions{}); !errors.Is(err, ErrNoTokenizer) {
		t.Errorf("without a tokenizer: error %v", err)
	}
	g := must(NewGenerator(counter(letters, 8, 8), GeneratorOptions{}))
	ctx := context.Background()
	var option *OptionError
	for name, o := range map[string]GenerateOptions{
		"max tokens": {MaxTokens: -1}, "slide": {Slide: true}, "stop": {Stop: []string{"a", ""}}, "sampling": {Sampling: Sampling{TopP: 2}},
	} {
		if _, err := g.Generate(ctx, "a", o); !errors.As(err, &option) {
			t.Errorf("%s: error %v", name, err)
		}
	}
	if _, err := g.Generate(ctx, "abcdefgha", GenerateOptions{}); !errors.Is(err, ErrContextFull) {
		t.Errorf("a prompt that is too long: error %v", err)
	}
	if _, err := g.Generate(ctx, "", GenerateOptions{}); !errors.Is(err, ErrEmptyPrompt) {
		t.Errorf("an empty prompt: error %v", err)
	}
	var unknown *tokenizer.UnknownCharError
	if _, err := g.Generate(ctx, "z", GenerateOptions{}); !errors.As(err, &unknown) {
		t.Errorf("an unknown character: error %v", err)
	}
	if _, err := g.Generate(ctx, "a", GenerateOptions{Allowed: make([]bool, 8)}); !errors.Is(err, ErrNothingAllowed) {
		t.Errorf("nothing allowed: error %v", err)
	}
	stop := errors.New("enough")
	calls := 0
	got, err := g.Generate(ctx, "a", GenerateOptions{OnText: func(string) error {
		if calls++; calls == 3 {
			return stop
		}
		return nil
	}})
	if !errors.Is(err, stop) || got.Text != "bcd" {
		t.Errorf("an error of OnText: %+v, %v", got, err)
	}
	cancelled, cancel := context.WithCancel(ctx)
	got, err = g.Generate(cancelled, "a", GenerateOptions{OnText: func(s string) error {
		if s == "d" {
			cancel()
		}
		return nil
	}})
	if !errors.Is(err, context.Canceled) || got.Text != "bcd" || len(got.Tokens) != 3 {
		t.Errorf("cancelled: %+v, %v", got, err)
	}
}

// TestGenerateRuntimes continues a text with real models: greedy text does not depend on how it is asked for.
func TestGenerateRuntimes(t *testing.T) {
	tok := must(tokenizer.NewChars(alphabet))
	for kind, r := range runtimes(t, edge(), tok, 2) {
		g := must(NewGenerator(r, GeneratorOptions{}))
		ctx := context.Background()
		whole := must(g.Generate(ctx, "abc", GenerateOptions{}))
		if len(whole.Tokens) != r.Context()-3+1 || whole.End != EndContext {
			t.Fatalf("%s: %+v", kind, whole)
		}
		half := must(g.Generate(ctx, "abc", GenerateOptions{MaxTokens: 10}))
		rest := must(g.Generate(ctx, "abc"+half.Text, GenerateOptions{}))
		if half.Text+rest.Text != whole.Text {
			t.Errorf("%s: %q, then %q, at once %q", kind, half.Text, rest.Text, whole.Text)
		}
		o := GenerateOptions{Sampling: Sampling{Temperature: 1, TopP: 0.9, Seed: 3}, Allowed: make([]bool, 37)}
		for i := range 10 {
			o.Allowed[i] = true
		}
		a, b := must(g.Generate(ctx, "abc", o)), must(g.Generate(ctx, "abc", o))
		if a.Text != b.Text || strings.Trim(a.Text, "0123456789") != "" {
			t.Errorf("%s: %q and %q", kind, a.Text, b.Text)
		}
		for _, id := range a.Tokens {
			if id >= 10 {
				t.Fatalf("%s: token %d was masked", kind, id)
			}
		}
	}
}

// TestStopPrompt wants a long prompt to be left when the context ends.
func TestStopPrompt(t *testing.T) {
	letters := must(tokenizer.NewChars("abcdefgh"))
	r := counter(letters, 8, 100000)
	g := must(NewGenerator(r, GeneratorOptions{}))
	ctx, cancel := context.WithCancel(context.Background())
	r.onPrefill = cancel
	_, err := g.Generate(ctx, strings.Repeat("abcdefgh", 10000), GenerateOptions{})
	if !errors.Is(err, context.Canceled) || len(r.given) != 1 {
		t.Errorf("error %v after %d pieces", err, len(r.given))
	}
}

// TestGenerateAll wants the texts of one generator of several sequences to be those of single generations, whatever ends
// them, with more texts than sequences, and errors to stay with their texts.
func TestGenerateAll(t *testing.T) {
	tok := must(tokenizer.NewChars(alphabet))
	var requests []Request
	for i := range 13 {
		o := GenerateOptions{Sampling: Sampling{Temperature: float64(i%3) / 2, TopP: 0.9, Seed: uint64(i)}}
		switch i % 5 {
		case 1:
			o.MaxTokens = 3 * i
		case 2:
			o.MaxTokens, o.Slide = 90, true
		case 3:
			o.Stop = []string{"a", "7", "="}
		case 4:
			o.Allowed = make([]bool, 20)
			for j := range o.Allowed {
				o.Allowed[j] = j != i
			}
		}
		requests = append(requests, Request{alphabet[i : 2*i+1], o})
	}
	requests[6].Prompt = "?"
	requests[8].Allowed = make([]bool, 37)
	for kind, r := range runtimes(t, edge(), tok, 2) {
		for name := range speculators() {
			new := func(batch int) *Generator {
				spec := speculators()[name]
				if spec != nil {
					spec.t, spec.vocab = t, 37
				}
				return must(NewGenerator(r, GeneratorOptions{Batch: batch, Speculator: spec.orNil()}))
			}
			var want []Result
			for i := range requests {
				g := new(1)
				if name == "random" || name == "random, drawn" {
					want = append(want, g.GenerateAll(t.Context(), requests[i:i+1])[0])
					continue
				}
				var r Result
				r.Generation, r.Err = g.Generate(t.Context(), requests[i].Prompt, requests[i].GenerateOptions)
				want = append(want, r)
			}
			for _, batch := range []int{1, 2, 5, 20} {
				for i, got := range new(batch).GenerateAll(t.Context(), requests) {
					failed := i == 6 || i == 8
					if greedy := requests[i].Temperature == 0; !greedy && name[0] == 'r' && !failed {
						continue // what is proposed, and so which numbers are drawn, depends on the texts beside
					}
					if got.Text != want[i].Text || !slices.Equal(got.Tokens, want[i].Tokens) || got.End != want[i].End || (got.Err != nil) != failed || (want[i].Err != nil) != failed {
						t.Errorf("%s, %s, batch %d, text %d: %+v, alone %+v", kind, name, batch, i, got, want[i])
					}
				}
			}
		}
	}
}

// TestGenerateAllStops wants what was given out, and the error, for every text when the context ends.
func TestGenerateAllStops(t *testing.T) {
	letters := must(tokenizer.NewChars("abcdefgh"))
	g := must(NewGenerator(counter(letters, 8, 100), GeneratorOptions{Batch: 2}))
	ctx, cancel := context.WithCancel(context.Background())
	o := GenerateOptions{OnText: func(s string) error {
		if s == "e" {
			cancel()
		}
		return nil
	}}
	for i, r := range g.GenerateAll(ctx, []Request{{"a", o}, {"b", GenerateOptions{}}, {"c", o}}) {
		if want := []string{"bcde", "cdef", ""}[i]; !errors.Is(r.Err, context.Canceled) || r.Text != want {
			t.Errorf("text %d: %+v, want %q", i, r, want)
		}
	}
	if got := must(g.Generate(t.Context(), "a", GenerateOptions{MaxTokens: 2})); got.Text != "bc" {
		t.Errorf("afterwards: %+v", got)
	}
}
