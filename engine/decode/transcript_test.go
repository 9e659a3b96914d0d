package decode

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// recorded are texts of a model with every way of drawing and ending, as a transcript.
func recorded(t *testing.T, dir string, r Runtime, spec Speculator) *Transcript {
	t.Helper()
	g := must(NewGenerator(r, GeneratorOptions{Speculator: spec}))
	tr := must(NewTranscript(dir, r))
	for i, o := range []GenerateOptions{
		{}, {MaxTokens: 90, Slide: true}, {Sampling: Sampling{Temperature: 1}}, {Sampling: Sampling{Temperature: 2, TopK: 9, TopP: 0.9, MinP: 0.05}, MaxTokens: 100, Slide: true},
		{Sampling: Sampling{Temperature: 3}, MaxTokens: 60, Slide: true, Stop: []string{"a", "bc"}}, {MaxTokens: 1},
	} {
		o.Seed, o.HashLogits = uint64(i), true
		text := must(g.Generate(t.Context(), "abc"[:1+i%3], o))
		tr.Add("abc"[:1+i%3], &o, &text, time.Millisecond)
	}
	path := filepath.Join(t.TempDir(), "transcript.json")
	check(t, tr.Save(path))
	return must(LoadTranscript(path))
}

// TestTranscript proves texts that were written plainly, and with guesses, and wants every change found.
func TestTranscript(t *testing.T) {
	float, int8run := saved(t)
	for _, dir := range []string{float, int8run} {
		r := must(Open(dir, Options{Threads: 2}))
		defer func() { check(t, r.Close()) }()
		plain := recorded(t, dir, r, nil)
		guessed := recorded(t, dir, r, NewNGram(4))
		for i := range plain.Texts {
			a, b := &plain.Texts[i], &guessed.Texts[i]
			if a.Text != b.Text || a.Logits != b.Logits || a.End != b.End {
				t.Errorf("%s, text %d: %+v with guesses, %+v without", r.Kind(), i, b, a)
			}
		}
		p := must(plain.Verify(t.Context(), dir, r))
		if p.Texts != 6 || p.Tokens < 250 || !p.Identical || !p.Logits || p.Made < 0.0059 {
			t.Errorf("%s: %+v", r.Kind(), p)
		}
		for i := range plain.Texts {
			x := &plain.Texts[i]
			for at := 0; at < len(x.Tokens); at += 1 + len(x.Tokens)/7 {
				was := x.Tokens[at]
				x.Tokens[at] = (was + 1) % int32(r.Tokenizer().VocabSize())
				wantAt(t, plain, dir, r, i+1, at)
				x.Tokens[at] = 1 << 20
				wantAt(t, plain, dir, r, i+1, at)
				x.Tokens[at] = was
			}
			whole := *x
			x.Tokens = append(x.Tokens[:len(x.Tokens):len(x.Tokens)], 1)
			wantAt(t, plain, dir, r, i+1, len(whole.Tokens))
			x.Tokens = whole.Tokens[:len(whole.Tokens)-1]
			wantAt(t, plain, dir, r, i+1, len(whole.Tokens)-1)
			*x = whole
			x.Text += "a"
			wantAt(t, plain, dir, r, i+1, -1)
			*x = whole
			x.End = "other"
			wantAt(t, plain, dir, r, i+1, -1)
			*x = whole
			x.Logits = strings.Repeat("0", 64)
			wantAt(t, plain, dir, r, i+1, -1)
			*x = whole
		}
		plain.Texts[3].Seed++
		var bad *TranscriptError
		if _, err := plain.Verify(t.Context(), dir, r); !errors.As(err, &bad) || bad.Text != 4 || bad.Token < 0 {
			t.Errorf("another seed: %v", err)
		}
		plain.Texts[3].Seed--
		plain.Texts[0].Prompt = "é"
		if _, err := plain.Verify(t.Context(), dir, r); err == nil || !strings.Contains(err.Error(), "text 1") {
			t.Errorf("another prompt: %v", err)
		}
		plain.Texts[0].Prompt = "a"
		plain.Model.Kernels += "x"
		if p := must(plain.Verify(t.Context(), dir, r)); p.Logits || !p.Identical {
			t.Errorf("other kernels: %+v", p)
		}
		plain.Model.Weights = strings.Repeat("0", 64)
		if _, err := plain.Verify(t.Context(), dir, r); !errors.As(err, &bad) || bad.Text != 0 {
			t.Errorf("another model: %v", err)
		}
	}
}

func wantAt(t *testing.T, tr *Transcript, dir string, r Runtime, text, token int) {
	t.Helper()
	var bad *TranscriptError
	if _, err := tr.Verify(t.Context(), dir, r); !errors.As(err, &bad) || bad.Text != text || bad.Token != token {
		t.Errorf("%s: a change of text %d at token %d gives %v", r.Kind(), text, token, err)
	}
}

func TestLoadTranscriptErrors(t *testing.T) {
	path := filepath.Join(t.TempDir(), "t.json")
	for _, text := range []string{"", "[]", "{}", `{"mito_transcript": 2}`, `{"mito_transcript": 1, "texts": 3}`} {
		check(t, os.WriteFile(path, []byte(text), 0o666))
		if _, err := LoadTranscript(path); err == nil || !strings.Contains(err.Error(), "t.json is no transcript") {
			t.Errorf("%q: %v", text, err)
		}
	}
	if _, err := LoadTranscript(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

// TestVerifyIsOnePass wants the tokens of a text to go through the model together.
func TestVerifyIsOnePass(t *testing.T) {
	s := &replay{make([]int32, 300), 1}
	ps := []Proposal{{Limit: 299}}
	check(t, s.Propose(t.Context(), ps))
	if len(ps[0].Tokens) != 299 {
		t.Errorf("%d tokens proposed", len(ps[0].Tokens))
	}
}
