package decode

import (
	"encoding/json"
	"errors"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"mito/engine/grammar"
	"mito/engine/session"
	"mito/engine/tokenizer"
)

// printable are the characters of ASCII that can be seen.
func printable() string {
	var b strings.Builder
	for c := byte(' '); c < 127; c++ {
		b.WriteByte(c)
	}
	return b.String()
}

// noise is a chain whose logits are random, the same after the same token at the same position.
func noise(tok tokenizer.Tokenizer, ctx int, salt uint64) *chain {
	return &chain{tok: tok, vocab: tok.VocabSize() + 3, ctx: ctx, logits: func(r session.Row, l []float32) {
		x := (uint64(r.Token)*1_000_003+uint64(r.Pos))*0x9e3779b97f4a7c15 + salt
		for i := range l {
			x ^= x << 13
			x ^= x >> 7
			x ^= x << 17
			l[i] = float32(x%1000) / 100
		}
	}}
}

// tokenizers are characters without an end, and byte pairs with one.
func tokenizers(t testing.TB) map[string]tokenizer.Tokenizer {
	t.Helper()
	text := strings.Repeat(`{"name": "aé", "list": [1, 2, null], "deep": {"x": true}} hello hello 12:30 `, 20)
	bpe, err := tokenizer.TrainBPE(text, 300, tokenizer.EndOfText)
	check(t, err)
	return map[string]tokenizer.Tokenizer{"characters": must(tokenizer.NewChars(printable())), "bpe": bpe}
}

var held = map[string]struct {
	g     *grammar.Grammar
	whole func(string) bool
	most  int
}{
	"choices": {must(grammar.Choices([]string{"hello", "hell", "yes", "12"})), func(s string) bool { return slices.Contains([]string{"hello", "hell", "yes", "12"}, s) }, 9},
	"regex":   {must(grammar.Regex(`[0-9]{1,2}:[0-9]{2}( (a|b)+)?`)), regexp.MustCompile(`^[0-9]{1,2}:[0-9]{2}( (a|b)+)?$`).MatchString, 30},
	"json":    {must(grammar.GBNF(grammar.JSON)), func(s string) bool { return json.Valid([]byte(s)) && s[0] == '{' }, 60},
}

// TestGrammar wants every text to be one of the grammar's: with and without guesses, greedy and drawn hot, whatever tokens are, as
// short as they must be, and at the end of the context.
func TestGrammar(t *testing.T) {
	for kind, tok := range tokenizers(t) {
		specs := map[string]func(r Runtime) Speculator{
			"plain": func(Runtime) Speculator { return nil },
			"ngram": func(Runtime) Speculator { return NewNGram(4) },
			"draft": func(r Runtime) Speculator { return must(NewDraft(noise(tok, 80, 7), r, 3, 4)) },
			"auto": func(r Runtime) Speculator {
				return NewAuto(4, Named{"ngram", NewNGram(4)}, Named{"draft", must(NewDraft(noise(tok, 80, 0), r, 3, 4))})
			},
		}
		for name, h := range held {
			var plain []string
			for _, spec := range []string{"plain", "ngram", "draft", "auto"} {
				r := noise(tok, 80, 0)
				g := must(NewGenerator(r, GeneratorOptions{Batch: 3, Speculator: specs[spec](r)}))
				var requests []Request
				for i := range 60 {
					o := GenerateOptions{Sampling: Sampling{Temperature: float64(i % 3), Seed: uint64(i)}, Grammar: h.g}
					if i%2 == 0 {
						o.MaxTokens = h.most - i%5
					}
					requests = append(requests, Request{"a", o})
				}
				for i, x := range g.GenerateAll(t.Context(), requests) {
					if x.Err != nil || !h.whole(x.Text) {
						t.Fatalf("%s, %s, %s, text %d: %q, %v", kind, name, spec, i, x.Text, x.Err)
					}
					if spec == "plain" {
						plain = append(plain, x.Text)
					} else if same := x.Text == plain[i]; !same && (spec == "ngram" || i%3 == 0) {
						t.Errorf("%s, %s, %s, text %d: %q, plainly %q", kind, name, spec, i, x.Text, plain[i])
					}
				}
			}
			if slices.Sort(plain); len(slices.Compact(plain)) < 3 {
				t.Errorf("%s, %s: %q: the case proves little", kind, name, plain)
			}
		}
	}
}

// TestGrammarIsLikeAMask wants a grammar to draw what is drawn among the tokens that it allows.
func TestGrammarIsLikeAMask(t *testing.T) {
	tok := must(tokenizer.NewChars("abcdefgh"))
	r := noise(tok, 40, 1)
	g := must(NewGenerator(r, GeneratorOptions{}))
	mask := make([]bool, 8)
	mask[1], mask[5] = true, true
	for seed := range uint64(20) {
		s := Sampling{Temperature: 1, TopP: 0.9, Seed: seed}
		a := must(g.Generate(t.Context(), "a", GenerateOptions{Sampling: s, MaxTokens: 12, Allowed: mask}))
		b := must(g.Generate(t.Context(), "a", GenerateOptions{Sampling: s, MaxTokens: 12, Grammar: must(grammar.Regex("[bf]{12}"))}))
		if a.Text != b.Text || b.End != EndGrammar {
			t.Errorf("%q, with the mask %q", b.Text, a.Text)
		}
	}
	if len(g.bound) != keptMasks {
		t.Errorf("masks of %d grammars are kept", len(g.bound))
	}
}

func TestGrammarErrors(t *testing.T) {
	tok := must(tokenizer.NewChars("abcdefgh"))
	g := must(NewGenerator(noise(tok, 20, 1), GeneratorOptions{}))
	var vocabulary *grammar.VocabularyError
	if _, err := g.Generate(t.Context(), "a", GenerateOptions{Grammar: must(grammar.Regex("ab[0-9]"))}); !errors.As(err, &vocabulary) {
		t.Errorf("digits without digits: %v", err)
	}
	var length *grammar.LengthError
	for _, o := range []GenerateOptions{{MaxTokens: 5, Grammar: must(grammar.Regex("a{6}"))}, {Grammar: must(grammar.Regex("a{21}"))}} {
		if _, err := g.Generate(t.Context(), "a", o); !errors.As(err, &length) {
			t.Errorf("no room: %v", err)
		}
	}
	any := must(grammar.Regex("a+"))
	var option *OptionError
	for _, o := range []GenerateOptions{{Grammar: any, Stop: []string{"a"}}, {Grammar: any, IgnoreEOS: true}, {Grammar: any, Allowed: make([]bool, 8)}} {
		if _, err := g.Generate(t.Context(), "a", o); !errors.As(err, &option) {
			t.Errorf("%+v: %v", o, err)
		}
	}
	// Bytes that are there only as parts of other characters.
	g = must(NewGenerator(noise(must(tokenizer.NewChars("aéĨ")), 20, 1), GeneratorOptions{}))
	var end *grammar.DeadEndError
	if _, err := g.Generate(t.Context(), "a", GenerateOptions{Grammar: must(grammar.Regex("aaè?èa"))}); !errors.As(err, &end) || end.After != "aa" {
		t.Errorf("%v", err)
	}
	if x := must(g.Generate(t.Context(), "a", GenerateOptions{Grammar: must(grammar.Regex(""))})); x.Text != "" || x.End != EndGrammar {
		t.Errorf("the empty text: %+v", x)
	}
}

// TestGrammarTranscript wants texts under grammars to be proven, and another grammar found.
func TestGrammarTranscript(t *testing.T) {
	dir, _ := saved(t)
	r := must(Open(dir, Options{}))
	defer r.Close()
	g := must(NewGenerator(r, GeneratorOptions{}))
	tr := must(NewTranscript(dir, r))
	for i, gr := range []*grammar.Grammar{must(grammar.Regex("[a-f]{9}")), must(grammar.Choices([]string{"abc", "abd"})), must(grammar.GBNF(`root ::= "a" root "b" | "c"`))} {
		o := GenerateOptions{Sampling: Sampling{Temperature: 2, Seed: uint64(i)}, MaxTokens: 20, Grammar: gr, HashLogits: true}
		x := must(g.Generate(t.Context(), "abc", o))
		tr.Add("abc", &o, &x, time.Millisecond)
	}
	path := filepath.Join(t.TempDir(), "t.json")
	check(t, tr.Save(path))
	tr = must(LoadTranscript(path))
	if p := must(tr.Verify(t.Context(), dir, r)); p.Texts != 3 {
		t.Errorf("%+v", p)
	}
	tr.Texts[0].Grammar[1] = "[g-m]{9}"
	wantAt(t, tr, dir, r, 1, 0)
	tr.Texts[0].Grammar[0] = "other"
	if _, err := tr.Verify(t.Context(), dir, r); err == nil || !strings.Contains(err.Error(), "no kind of grammar") {
		t.Errorf("another kind: %v", err)
	}
}

// BenchmarkGrammarJSON generates texts at temperature 2 with an INT8 model under a grammar of JSON; one that is not JSON fails it.
func BenchmarkGrammarJSON(b *testing.B) {
	c := edge()
	tok := must(tokenizer.NewChars(printable()))
	c.VocabSize, c.Context = tok.VocabSize(), 64
	r := must(NewInt8(studentWeights(b, c, 1), tok, Options{}))
	g := must(NewGenerator(r, GeneratorOptions{Batch: 16}))
	rules := must(grammar.GBNF(grammar.JSON))
	tokens, texts := 0, 0
	requests := make([]Request, 256)
	for b.Loop() {
		for i := range requests {
			requests[i] = Request{"a", GenerateOptions{Sampling: Sampling{Temperature: 2, Seed: uint64(texts + i)}, Grammar: rules}}
		}
		for _, x := range g.GenerateAll(b.Context(), requests) {
			if x.Err != nil || !json.Valid([]byte(x.Text)) {
				b.Fatalf("no JSON: %q, %v", x.Text, x.Err)
			}
			tokens += len(x.Tokens)
		}
		texts += len(requests)
	}
	b.ReportMetric(float64(texts), "texts")
	b.ReportMetric(float64(tokens)/float64(texts), "tokens/text")
	b.ReportMetric(float64(tokens)/b.Elapsed().Seconds(), "tok/s")
}
