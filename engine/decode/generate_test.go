package decode

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"mito/engine/tokenizer"
)

// counter is a model whose next token is the one after the last token, round and round. It records what it was given.
type counter struct {
	Runtime
	tok   tokenizer.Tokenizer
	vocab int
	ctx   int
	given []int // lengths of the prefills
}

type counterSession struct {
	Session
	r    *counter
	held []int32
}

func (c *counter) VocabSize() int                  { return c.vocab }
func (c *counter) Context() int                    { return c.ctx }
func (c *counter) Tokenizer() tokenizer.Tokenizer  { return c.tok }
func (c *counter) NewSession(int) (Session, error) { return &counterSession{r: c}, nil }
func (s *counterSession) Len(int) int              { return len(s.held) }
func (s *counterSession) Reset()                   { s.held = nil }
func (s *counterSession) logits(last int32) []float32 {
	l := make([]float32, s.r.vocab)
	l[(int(last)+1)%s.r.vocab] = 9
	return l
}

func (s *counterSession) Prefill(_ int, tokens []int32) ([]float32, error) {
	s.r.given = append(s.r.given, len(tokens))
	for _, t := range tokens {
		if _, err := s.Step([]int32{t}); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

func (s *counterSession) Step(tokens []int32) ([][]float32, error) {
	if len(s.held) == s.r.ctx {
		return nil, fmt.Errorf("step: %w", ErrContextFull)
	}
	s.held = append(s.held, tokens[0])
	return [][]float32{s.logits(tokens[0])}, nil
}

// pairs speculates two tokens at a time.
type pairs struct{ plain }

func (p *pairs) Extend(s Session, pick *Sampler, last int32, limit int) ([]int32, error) {
	var out []int32
	for range min(2, limit) {
		one, err := p.plain.Extend(s, pick, last, 1)
		if err != nil {
			return nil, err
		}
		last = one[0]
		out = append(out, last)
	}
	return out, nil
}

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
		for name, spec := range map[string]Speculator{"": nil, " in pairs": &pairs{}} {
			t.Run(tc.name+name, func(t *testing.T) {
				if name != "" && tc.vocab > 8 {
					t.Skip("the counter goes on from a token that may not come")
				}
				r := &counter{tok: tc.tok, vocab: tc.vocab, ctx: tc.ctx}
				o := tc.o
				o.Speculator = spec
				var streamed strings.Builder
				o.OnText = func(s string) error { streamed.WriteString(s); return nil }
				g := must(NewGenerator(r))
				for range 2 { // the generator starts afresh
					streamed.Reset()
					got, err := g.Generate(context.Background(), tc.prompt, o)
					if err != nil || got.Text != tc.text || len(got.Tokens) != tc.tokens || got.End != tc.end {
						t.Fatalf("%+v, %v; want %q of %d tokens, %s", got, err, tc.text, tc.tokens, tc.end)
					}
					if streamed.String() != got.Text {
						t.Fatalf("streamed %q, returned %q", streamed.String(), got.Text)
					}
				}
			})
		}
	}
}

// TestSlide wants each restart to read half a context.
func TestSlide(t *testing.T) {
	r := &counter{tok: must(tokenizer.NewChars("abcdefgh")), vocab: 8, ctx: 6}
	must(must(NewGenerator(r)).Generate(context.Background(), "abcdefgh", GenerateOptions{Slide: true, MaxTokens: 9}))
	if want := []int{2, 2, 2}; !slices.Equal(r.given, want) {
		t.Fatalf("read %v, want %v", r.given, want)
	}
}

// TestStreamCharacters generates characters of several tokens: no piece may hold a part of one.
func TestStreamCharacters(t *testing.T) {
	tok := must(tokenizer.TrainBPE("abc", 256))
	r := &script{tok: tok, ids: must(tok.Encode("xé🙂 日本"))}
	var pieces []string
	got := must(must(NewGenerator(r)).Generate(context.Background(), "a", GenerateOptions{
		MaxTokens: len(r.ids), OnText: func(s string) error { pieces = append(pieces, s); return nil },
	}))
	if want := []string{"x", "é", "🙂", " ", "日", "本"}; !slices.Equal(pieces, want) || got.Text != "xé🙂 日本" {
		t.Fatalf("pieces %q, text %q", pieces, got.Text)
	}
	r.ids = r.ids[:2] // ends inside a character
	got = must(must(NewGenerator(r)).Generate(context.Background(), "a", GenerateOptions{MaxTokens: 2}))
	if got.Text != "x\uFFFD" {
		t.Fatalf("text %q", got.Text)
	}
}

// script is a model that says what it is told to.
type script struct {
	Runtime
	Session
	tok tokenizer.Tokenizer
	ids []int32
	n   int
}

func (s *script) VocabSize() int                          { return s.tok.VocabSize() }
func (s *script) Context() int                            { return 100 }
func (s *script) Tokenizer() tokenizer.Tokenizer          { return s.tok }
func (s *script) NewSession(int) (Session, error)         { s.n = 0; return s, nil }
func (s *script) Len(int) int                             { return s.n }
func (s *script) Reset()                                  { s.n = 0 }
func (s *script) Prefill(int, []int32) ([]float32, error) { return nil, nil }
func (s *script) Step([]int32) ([][]float32, error) {
	l := make([]float32, s.tok.VocabSize())
	l[s.ids[s.n]] = 1
	s.n++
	return [][]float32{l}, nil
}

func TestGenerateErrors(t *testing.T) {
	letters := must(tokenizer.NewChars("abcdefgh"))
	if _, err := NewGenerator(&counter{vocab: 8, ctx: 4}); !errors.Is(err, ErrNoTokenizer) {
		t.Errorf("without a tokenizer: error %v", err)
	}
	g := must(NewGenerator(&counter{tok: letters, vocab: 8, ctx: 8}))
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
		g := must(NewGenerator(r))
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
		pair := must(g.Generate(ctx, "abc", GenerateOptions{Speculator: &pairs{}}))
		if pair.Text != whole.Text {
			t.Errorf("%s: %q in pairs, %q one by one", kind, pair.Text, whole.Text)
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
