package web

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"mito/engine/arch"
	"mito/engine/decode"
	"mito/engine/student"
	"mito/engine/tokenizer"
)

// written is what texts of the tests are made of.
const written = "It's the dog's 12 hats, we'll see: don't\tyou\n\n  think?  They've 3.5 ways (naïve Übermut §5 ²) 'tis l'été!  «日本語» ½ Ⅷ \u2009x — “so”  \n"

// tokenizers cut that text in both ways.
func tokenizers(t *testing.T) map[string]tokenizer.Tokenizer {
	t.Helper()
	chars, err := tokenizer.NewChars(written, tokenizer.EndOfText)
	if err != nil {
		t.Fatal(err)
	}
	bpe, err := tokenizer.TrainBPE(strings.Repeat(written, 3), 300, tokenizer.EndOfText)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]tokenizer.Tokenizer{"characters": chars, "BPE": bpe}
}

// The page cuts texts into the tokens that mito cuts them into, characters of any script among them.
func TestTokensInChromium(t *testing.T) {
	b := newTab(t)
	for name, tok := range tokenizers(t) {
		b.shown(random(t, shape(func(c *arch.Config) { c.VocabSize = tok.VocabSize() }), false), tok, "", "")
		for _, s := range []string{written, "", "  ", "the dog's", tokenizer.EndOfText + "a" + tokenizer.EndOfText, "  s  ", "'s", "'", " \n\t ü", "日本", "٣٤ x", "a\u00a0b \u3000c", "😀 x", "é"} {
			want, wanted := tok.Encode(s)
			got := evaluated[[]int32](b, "(s => { try { return student.encode(s) } catch { return [-1] } })("+quoted(s)+")")
			if wanted != nil {
				want = []int32{-1}
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s of %q: %v, want %v", name, s, got, want)
			}
		}
	}
	if says := evaluated[string](b, "(() => { try { student.encode('a\\0b'); return '' } catch (e) { return e.message } })()"); says == "" {
		t.Error("a zero in a text is not refused")
	}
}

// write fills the form in, presses the button and returns what the page wrote and said.
func (b *tab) write(prompt string, max int, s decode.Sampling) (text, said string) {
	b.t.Helper()
	fill := ""
	for id, v := range map[string]any{"prompt": prompt, "tokens": max, "temperature": s.Temperature, "top-k": s.TopK, "top-p": s.TopP, "min-p": s.MinP, "seed": fmt.Sprint(s.Seed)} {
		fill += fmt.Sprintf("$(%s).value = %s;", quoted(id), quoted(fmt.Sprint(v)))
	}
	got := evaluated[[]string](b, `(async () => { `+fill+`
		if (!$('form').checkValidity()) return ['', 'the form is not valid'];
		$('go').click();
		while (writing) await new Promise(done => setTimeout(done, 5));
		return [$('out').textContent, $('said').textContent];
	})()`)
	return got[0], got[1]
}

// The page writes the text that mito generate writes, for its settings and its seed, beyond the context too.
func TestTextInChromium(t *testing.T) {
	b := newTab(t)
	for name, tok := range tokenizers(t) {
		for _, as := range []string{"edge", "odd sizes", "gpt2", "llama", "uneven", "qk-norm"} {
			c := shapes()[as]
			c.VocabSize = tok.VocabSize()
			if as == "odd sizes" { // more logits than tokens
				c.VocabSize += 5
			}
			w := random(t, c, as == "edge")
			for i := range w.Embedding.Scale {
				w.Embedding.Scale[i] *= 2
			}
			b.shown(w, tok, "", map[bool]string{true: "#scalar"}[as == "gpt2"])
			generator := generatorOf(t, w, tok)
			for i, s := range []decode.Sampling{
				{}, {Temperature: 0.8, Seed: 7}, {Temperature: 1.3, TopK: 5, Seed: 1 << 40}, {Temperature: 1, TopP: 0.7, Seed: 3},
				{Temperature: 2.5, MinP: 0.1, Seed: 4}, {Temperature: 0.7, TopK: 9, TopP: 0.95, MinP: 0.02, Seed: 9999999999999999999},
			} {
				prompt := []string{"the dog", "", "x — “"}[i%3]
				want, err := generator.Generate(t.Context(), prompt, decode.GenerateOptions{Sampling: s, MaxTokens: 90, Slide: true})
				if err != nil {
					t.Fatal(err)
				}
				text, said := b.write(prompt, 90, s)
				if text != prompt+want.Text || !strings.HasPrefix(said, fmt.Sprintf("%d tokens", len(want.Tokens))) {
					t.Errorf("%s, %s, %+v:\n%q, %s\n%q, %d tokens, is mito's", name, as, s, text, said, prompt+want.Text, len(want.Tokens))
				}
			}
		}
	}
	if _, said := b.write(strings.Repeat("the dog ", 1000), 5, decode.Sampling{}); !strings.Contains(said, "the model reads") {
		t.Errorf("a beginning that is too long: %s", said)
	}
}

func generatorOf(t *testing.T, w *student.Weights, tok tokenizer.Tokenizer) *decode.Generator {
	t.Helper()
	r, err := decode.NewInt8(w, tok, decode.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	g, err := decode.NewGenerator(r, decode.GeneratorOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// The rate of the page on the 460 K class, by time of the processor: other programs do not count.
func TestSpeedInChromium(t *testing.T) {
	b := newTab(t)
	const bar = 20_000
	tok := letters(t, 58)
	c := arch.Edge(65, 256, 4, 96, 4, 4)
	w := random(t, c, false)
	b.shown(w, tok, "", "")
	if err := b.Call(b.ctx, "Performance.enable", map[string]any{"timeDomain": "threadTicks"}, nil); err != nil {
		t.Fatal(err)
	}
	best, clock := 0.0, 0.0
	for range 7 {
		before := b.threadTime()
		rate := evaluated[float64](b, `(async () => (await generate('A', { tokens: 255, temperature: 0.8, topK: 0, topP: 0, minP: 0, seed: '1' }, () => {}, () => false)).rate)()`)
		best, clock = max(best, 255/(b.threadTime()-before)), max(clock, rate)
	}
	t.Logf("%d parameters, a whole context of 256: %.0f tokens a second of the processor, %.0f by the clock", c.Params(), best, clock)
	if best < bar {
		t.Errorf("%.0f tokens a second, less than %d", best, bar)
	}
}

// threadTime is how long the page's thread has computed, in seconds.
func (b *tab) threadTime() float64 {
	b.t.Helper()
	var m struct {
		Metrics []struct {
			Name  string
			Value float64
		}
	}
	if err := b.Call(b.ctx, "Performance.getMetrics", nil, &m); err != nil {
		b.t.Fatal(err)
	}
	for _, x := range m.Metrics {
		if x.Name == "TaskDuration" {
			return x.Value
		}
	}
	b.t.Fatal("the browser does not say how long it computed")
	return 0
}
