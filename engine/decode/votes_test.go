package decode

import (
	"errors"
	"math"
	"slices"
	"testing"
	"time"

	"mito/engine/grammar"
	"mito/engine/session"
	"mito/engine/tokenizer"
)

// TestSharedPrefixes wants the texts and the bits of logits that prompts give alone from prompts that share what they begin with: side
// by side, after each other, with a budget of any size, and with windows.
func TestSharedPrefixes(t *testing.T) {
	tok := must(tokenizer.NewChars(alphabet))
	for _, window := range []int{0, 3} {
		c := edge()
		c.Window = window
		_, w := floatModel(t, c, 1)
		for kind, r := range map[string]Runtime{
			Float32: must(NewFloat32(w, tok, Options{PageSize: 4})), Int8: must(NewInt8(studentWeights(t, c, 1), tok, Options{PageSize: 4})),
		} {
			prompts := []string{"abcabcabcabc", "abcabcabcabd", "abcabc", "xabcabc", "abcabcabcabc", "abcabcabcabcabc", "a", "xabc", "abcabcabcabd0"}
			var want []Generation
			for i, p := range prompts {
				g := must(NewGenerator(r, GeneratorOptions{}))
				o := GenerateOptions{Sampling: Sampling{Temperature: 1, Seed: uint64(i)}, MaxTokens: 50, Slide: true, HashLogits: true}
				want = append(want, must(g.Generate(t.Context(), p, o)))
			}
			for _, o := range []GeneratorOptions{{Batch: 4}, {CacheBytes: 1 << 20}, {Batch: 3, CacheBytes: 9000}, {CacheBytes: 1}} {
				g := must(NewGenerator(r, o))
				for range 2 {
					var requests []Request
					for i, p := range prompts {
						requests = append(requests, Request{p, GenerateOptions{Sampling: Sampling{Temperature: 1, Seed: uint64(i)}, MaxTokens: 50, Slide: true, HashLogits: true}})
					}
					for i, x := range g.GenerateAll(t.Context(), requests) {
						if x.Err != nil || x.Text != want[i].Text || x.Logits != want[i].Logits {
							t.Errorf("%s, window %d, %+v, prompt %q: %q with logits %.8s, alone %q with %.8s, %v", kind, window, o, prompts[i], x.Text, x.Logits, want[i].Text, want[i].Logits, x.Err)
						}
					}
					bytes := 0
					for _, p := range g.kept.slots {
						bytes += g.session.HeldBytes(p.seq)
					}
					if bytes > o.CacheBytes {
						t.Errorf("%d bytes are kept, at most %d", bytes, o.CacheBytes)
					}
				}
			}
		}
	}
}

// TestPrefixesAreRead counts the tokens that are read: a prompt that is kept is not read again, one of another adapter is.
func TestPrefixesAreRead(t *testing.T) {
	tok := must(tokenizer.NewChars("abcdefgh"))
	r := counter(tok, 8, 64)
	g := must(NewGenerator(r, GeneratorOptions{CacheBytes: 1 << 20}))
	read := func(prompt string) (n int) {
		r.given = nil
		must(g.Generate(t.Context(), prompt, GenerateOptions{MaxTokens: 3}))
		for _, k := range r.given {
			n += k
		}
		return n
	}
	for i, c := range []struct {
		prompt string
		want   int
	}{{"abcdefgh", 7}, {"abcdefgh", 0}, {"abcdefghab", 2}, {"abcdabcd", 3}, {"hgfe", 3}, {"abcdefghab", 0}} {
		if n := read(c.prompt); n != c.want {
			t.Errorf("prompt %d, %q: %d tokens were read, want %d", i, c.prompt, n, c.want)
		}
	}
	// The slots run out: the one that was not used for longest goes.
	for i := range prefixSlots {
		read(string(rune('a'+i%4)) + string(rune('a'+i/4)) + "hhh")
	}
	if n := read("hgfe"); n == 0 {
		t.Error("a prompt is kept though others took all slots")
	}
}

// TestVote wants the votes that single texts give, the prompt read once, and the majority of them.
func TestVote(t *testing.T) {
	tok := must(tokenizer.NewChars(alphabet))
	for kind, r := range runtimes(t, edge(), tok, 2) {
		o := VoteOptions{GenerateOptions: GenerateOptions{Sampling: Sampling{Temperature: 2}, Grammar: must(grammar.Choices([]string{"12", "13", "4"}))}, Votes: 21}
		var texts []string
		var sure []Confidence
		for i := range o.Votes {
			one := o.GenerateOptions
			one.Seed, one.Sure = uint64(i), 1
			x := must(must(NewGenerator(r, GeneratorOptions{})).Generate(t.Context(), "abcabc", one))
			texts, sure = append(texts, x.Text), append(sure, *x.Confidence)
		}
		v := must(must(NewGenerator(r, GeneratorOptions{Batch: 5})).Vote(t.Context(), "abcabc", o))
		n, sum := 0, 0.0
		for i, c := range v.Texts {
			if i > 0 && c.Votes > v.Texts[i-1].Votes {
				t.Errorf("%s: the order of %+v", kind, v.Texts)
			}
			own := 0
			for j := range texts {
				if texts[j] == c.Text {
					own++
					if sure[j] != c.Confidence {
						t.Errorf("%s: confidence %+v of %q, alone %+v", kind, c.Confidence, c.Text, sure[j])
					}
				}
			}
			if own != c.Votes {
				t.Errorf("%s: %d votes for %q, want %d", kind, c.Votes, c.Text, own)
			}
			n, sum = n+c.Votes, sum+c.Confidence.Probability
		}
		if n != 21 || v.Text != v.Texts[0].Text || v.Share != float64(v.Texts[0].Votes)/21 || v.Confidence != v.Texts[0].Confidence.Probability || v.Abstained {
			t.Errorf("%s: %+v", kind, v)
		}
		if len(v.Texts) == 3 && math.Abs(sum-1) > 1e-9 {
			t.Errorf("%s: the probabilities of all texts add to %v", kind, sum)
		}
		o.Abstain = v.Confidence + 1e-9
		if v := must(must(NewGenerator(r, GeneratorOptions{})).Vote(t.Context(), "abcabc", o)); !v.Abstained || v.Text != "" {
			t.Errorf("%s: %+v", kind, v)
		}
	}
	r := counter(tok, 37, 40)
	g := must(NewGenerator(r, GeneratorOptions{Batch: 5}))
	r.given = nil
	must(g.Vote(t.Context(), "abcdefghij", VoteOptions{GenerateOptions: GenerateOptions{MaxTokens: 2}, Votes: 5}))
	if !slices.Equal(r.given, []int{9}) {
		t.Errorf("prompts were read in %v tokens, want once 9", r.given)
	}
	var option *OptionError
	for _, o := range []VoteOptions{{}, {Votes: -1}, {Votes: 1, Abstain: 2}, {Votes: 1, GenerateOptions: GenerateOptions{Sure: -1}}} {
		if _, err := g.Vote(t.Context(), "abc", o); !errors.As(err, &option) {
			t.Errorf("%+v: %v", o, err)
		}
	}
	g = must(NewGenerator(r, GeneratorOptions{Speculator: NewNGram(2)}))
	if _, err := g.Vote(t.Context(), "abc", VoteOptions{Votes: 1}); !errors.As(err, &option) {
		t.Errorf("with guesses: %v", err)
	}
}

// TestConfidence compares with probabilities and entropies in closed form.
func TestConfidence(t *testing.T) {
	tok := must(tokenizer.NewChars("ab"))
	r := &chain{tok: tok, vocab: 2, ctx: 9, logits: func(r session.Row, l []float32) { l[0] = float32(math.Log(3)) }}
	g := must(NewGenerator(r, GeneratorOptions{}))
	x := must(g.Generate(t.Context(), "a", GenerateOptions{MaxTokens: 2, Sure: 1})).Confidence
	h := -0.75*math.Log(0.75) - 0.25*math.Log(0.25)
	if math.Abs(x.Probability-0.75*0.75) > 1e-6 || math.Abs(x.Entropy-h) > 1e-6 {
		t.Errorf("%+v, want %v and %v", x, 0.75*0.75, h)
	}
	x = must(g.Generate(t.Context(), "a", GenerateOptions{MaxTokens: 1, Sure: 0.5})).Confidence
	if math.Abs(x.Probability-0.9) > 1e-6 { // 9:1
		t.Errorf("%+v", x)
	}
	x = must(g.Generate(t.Context(), "a", GenerateOptions{MaxTokens: 1, Sure: 1, Allowed: []bool{false, true}})).Confidence
	if x.Probability != 1 || x.Entropy != 0 {
		t.Errorf("the only one: %+v", x)
	}
}

// TestGeneratorAllocates wants a text under way to allocate for what is written only.
func TestGeneratorAllocates(t *testing.T) {
	tok := must(tokenizer.NewChars(alphabet))
	c := edge()
	c.Context = 4000
	for kind, r := range runtimes(t, c, tok, 1) {
		for _, s := range []Sampling{{}, {Temperature: 1}} {
			g := must(NewGenerator(r, GeneratorOptions{}))
			x := must(g.begin(t.Context(), 0, &Request{"abc", GenerateOptions{Sampling: s}}))
			x.result = &Result{}
			g.texts[0] = x
			x.tokens, x.out.Tokens = slices.Grow(x.tokens, 4000), slices.Grow(x.out.Tokens, 4000)
			x.text.Grow(4000)
			for range 300 { // pages
				check(t, g.advance(t.Context()))
			}
			check(t, g.session.Truncate(0, 10))
			if n := testing.AllocsPerRun(200, func() { check(t, g.advance(t.Context())) }); n > 1 {
				t.Errorf("%s, %+v: a token allocates %v times", kind, s, n)
			}
		}
	}
}

// BenchmarkShared compares votes that share their prompt with texts that do not, in turns.
func BenchmarkShared(b *testing.B) {
	letters := printable()[:64]
	tok := must(tokenizer.NewChars(letters))
	for _, tc := range []struct {
		name   string
		tokens int
	}{{"answers of 1 token", 1}, {"answers of 8 tokens", 8}} {
		for kind, open := range map[string]func() Runtime{
			"7M float32": func() Runtime { return must(NewFloat32(second(floatModel(b, class7M(), 1)), tok, Options{})) },
			"460K INT8":  func() Runtime { return must(NewInt8(studentWeights(b, class460K(), 1), tok, Options{})) },
		} {
			b.Run(kind+", "+tc.name, func(b *testing.B) {
				r := open()
				prompt := ""
				for i := range 80 {
					prompt += string(letters[i*7%64])
				}
				o := VoteOptions{GenerateOptions: GenerateOptions{Sampling: Sampling{Temperature: 1}, MaxTokens: tc.tokens}, Votes: 5}
				shared := must(NewGenerator(r, GeneratorOptions{Batch: 5}))
				alone := must(NewGenerator(r, GeneratorOptions{}))
				var ratios []float64
				for b.Loop() {
					start := time.Now()
					v := must(shared.Vote(b.Context(), prompt, o))
					middle := time.Now()
					texts := map[string]int{}
					for i := range 5 {
						one := o.GenerateOptions
						one.Seed = uint64(i)
						texts[must(alone.Generate(b.Context(), prompt, one)).Text]++
					}
					ratios = append(ratios, time.Since(middle).Seconds()/middle.Sub(start).Seconds())
					for _, c := range v.Texts {
						if texts[c.Text] != c.Votes {
							b.Fatalf("%+v shared, %v alone", v.Texts, texts)
						}
					}
				}
				slices.Sort(ratios)
				b.ReportMetric(ratios[len(ratios)/2], "times-unshared")
			})
		}
	}
}
