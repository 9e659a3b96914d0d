package decode

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"mito/engine/tokenizer"
)

// TestSpeculatorsWriteTheSameText wants greedy text to be that of plain decoding, whatever speculates: the draft is the target
// itself, another model, or one of a shorter context; texts side by side, also over the end of the context.
func TestSpeculatorsWriteTheSameText(t *testing.T) {
	tok := must(tokenizer.NewChars(alphabet))
	others := runtimes(t, edge(), tok, 1)
	short := edge()
	short.Context = 9
	for kind, r := range runtimes(t, edge(), tok, 2) {
		const texts = 3
		var requests []Request
		for i := range 2 * texts {
			requests = append(requests, Request{"abcabc" + alphabet[i:2*i], GenerateOptions{MaxTokens: 60, Slide: true}})
		}
		want := must(NewGenerator(r, GeneratorOptions{Batch: texts})).GenerateAll(t.Context(), requests)
		for name, s := range map[string]Speculator{
			"n-gram": NewNGram(5), "itself": must(NewDraft(r, r, texts, 4)), "another": must(NewDraft(others[Int8], r, texts, 3)),
			"short": must(NewDraft(runtimes(t, short, tok, 1)[Float32], r, texts, 3)),
			"auto":  NewAuto(4, Named{"ngram", NewNGram(4)}, Named{"draft", must(NewDraft(others[Float32], r, texts, 4))}),
		} {
			got := must(NewGenerator(r, GeneratorOptions{Batch: texts, Speculator: s})).GenerateAll(t.Context(), requests)
			for i := range got {
				if got[i].Err != nil || !slices.Equal(got[i].Tokens, want[i].Tokens) {
					t.Errorf("%s, %s, text %d: %q, %v; plain %q", kind, name, i, got[i].Text, got[i].Err, want[i].Text)
				}
				if s := got[i].Speculation; name == "itself" && (s.Accepted != s.Proposed || s.Proposed < 30) {
					t.Errorf("%s: a draft that is the target: %+v", kind, s)
				}
			}
		}
	}
}

// TestDraftIsAccepted wants every token of a draft that is the target accepted, with every filter.
func TestDraftIsAccepted(t *testing.T) {
	tok := must(tokenizer.NewChars(alphabet))
	for kind, r := range runtimes(t, edge(), tok, 1) {
		for _, sampling := range []Sampling{{Temperature: 1}, {Temperature: 0.7, TopK: 5}, {Temperature: 1.5, TopP: 0.8}, {Temperature: 1, MinP: 0.2}} {
			g := must(NewGenerator(r, GeneratorOptions{Speculator: must(NewDraft(r, r, 1, 4))}))
			got, err := g.Generate(t.Context(), "abc", GenerateOptions{Sampling: sampling, MaxTokens: 70, Slide: true})
			if s := got.Speculation; err != nil || s.Accepted != s.Proposed || s.Proposed < 40 {
				t.Errorf("%s, %+v: %+v, %v", kind, sampling, s, err)
			}
		}
	}
}

func TestDraftRefused(t *testing.T) {
	r := runtimes(t, edge(), must(tokenizer.NewChars(alphabet)), 1)[Float32]
	other := runtimes(t, edge(), must(tokenizer.NewChars(strings.Replace(alphabet, "=", "+", 1))), 1)[Float32]
	var refused *DraftError
	if _, err := NewDraft(other, r, 1, 4); !errors.As(err, &refused) {
		t.Errorf("a draft of another tokenizer: %v", err)
	}
	if _, err := NewDraft(runtimes(t, edge(), nil, 1)[Float32], r, 1, 4); !errors.Is(err, ErrNoTokenizer) {
		t.Errorf("a draft without a tokenizer: %v", err)
	}
}

func TestFollow(t *testing.T) {
	for _, c := range []struct {
		text, want string
		most       int
	}{
		{"abcdXabcd", "Xabc", 4}, {"abcdXabcd", "Xabcd", 9}, {"abcabdab", "d", 1}, {"abab", "ab", 5}, {"abcdef", "", 4}, {"a", "", 4}, {"aaaa", "a", 4},
		{"1234y..234x..1234", "y..2", 4}, // the longest end wins over a later place
	} {
		var tokens []int32
		for _, b := range c.text {
			tokens = append(tokens, b)
		}
		var got string
		for _, id := range follow(tokens, c.most) {
			got += string(id)
		}
		if got != c.want {
			t.Errorf("%q goes on with %q, want %q", c.text, got, c.want)
		}
	}
}

// clockwork is a speculator whose proposals are accepted as a test says, at costs in time that the test says.
type clockwork struct {
	toySpec
	now      time.Time
	proposes time.Duration // for each token
}

func (s *clockwork) Propose(_ context.Context, ps []Proposal) error {
	for i := range ps {
		ps[i].Tokens = make([]int32, ps[i].Limit)
		s.now = s.now.Add(time.Duration(ps[i].Limit) * s.proposes)
	}
	return nil
}

func (s *clockwork) Begin(int, []int32, *Sampler) error { return nil }
func (s *clockwork) Settle(int, int, []int32) error     { return nil }

// TestAuto runs the choice against a clock: it never falls more than two hundredths behind plain decoding, comes near the best
// depth where speculation pays, and notices when that changes.
func TestAuto(t *testing.T) {
	const plain = 100 * time.Microsecond
	run := func(passes int, a *Auto, s *clockwork, perToken time.Duration, accepted func(pass, proposed int) int) (rate float64) {
		tokens, start := 0, s.now
		for pass := range passes {
			ps := []Proposal{{Seq: 0, Limit: 100}}
			if err := a.Propose(context.Background(), ps); err != nil {
				t.Fatal(err)
			}
			n := len(ps[0].Tokens)
			s.now = s.now.Add(plain + time.Duration(n)*perToken)
			ok := accepted(pass, n)
			if err := a.Settle(0, ok, make([]int32, ok+1)); err != nil {
				t.Fatal(err)
			}
			tokens += ok + 1
		}
		return float64(tokens) * plain.Seconds() / s.now.Sub(start).Seconds() // of plain decoding
	}
	for name, c := range map[string]struct {
		perToken    time.Duration
		accepted    func(pass, proposed int) int
		least, most float64
	}{
		"useless":            {80 * time.Microsecond, func(_, _ int) int { return 0 }, 0.98, 1},
		"a little too dear":  {95 * time.Microsecond, func(_, n int) int { return n * 9 / 10 }, 0.98, 1},
		"cheap and right":    {5 * time.Microsecond, func(_, n int) int { return n }, 5, 9},
		"right two tokens":   {10 * time.Microsecond, func(_, n int) int { return min(n, 2) }, 1.9, 2.6},
		"right now and then": {60 * time.Microsecond, func(pass, n int) int { return min(n, pass%10/9*8) }, 0.98, 1.05},
	} {
		s := &clockwork{now: time.Unix(0, 0), proposes: time.Microsecond}
		a := NewAuto(8, Named{"toy", s})
		a.now = func() time.Time { return s.now }
		if rate := run(3000, a, s, c.perToken, c.accepted); rate < c.least || rate > c.most {
			t.Errorf("%s: %.3f of plain decoding, want %v to %v; chosen %+v", name, rate, c.least, c.most, a.Choice())
		}
	}
	// Another program takes the processor for longer than a pass lasts, now and then, and no choice follows from that.
	for name, c := range map[string]struct {
		perToken    time.Duration
		accepted    func(pass, proposed int) int
		least, most float64
		kind        string
	}{
		"useless and disturbed":        {80 * time.Microsecond, func(_, _ int) int { return 0 }, 0.96, 1, "none"},
		"cheap, right and disturbed":   {5 * time.Microsecond, func(_, n int) int { return n }, 4.5, 9, "toy"},
		"a little too dear, disturbed": {95 * time.Microsecond, func(_, n int) int { return n * 9 / 10 }, 0.96, 1, "none"},
	} {
		s := &clockwork{now: time.Unix(0, 0), proposes: time.Microsecond}
		a := NewAuto(8, Named{"toy", s})
		stolen := time.Duration(0)
		rng := rand.New(rand.NewPCG(1, 2))
		a.now = func() time.Time {
			if rng.IntN(20) == 0 {
				stolen += 4 * time.Millisecond
			}
			return s.now.Add(stolen)
		}
		if rate := run(3000, a, s, c.perToken, c.accepted); rate < c.least || rate > c.most || a.Choice().Kind != c.kind {
			t.Errorf("%s: %.3f of plain decoding, want %v to %v; chosen %+v", name, rate, c.least, c.most, a.Choice())
		}
	}
	// What paid at first does not any more.
	s := &clockwork{now: time.Unix(0, 0), proposes: time.Microsecond}
	a := NewAuto(8, Named{"toy", s})
	a.now = func() time.Time { return s.now }
	if rate := run(500, a, s, 5*time.Microsecond, func(_, n int) int { return n }); rate < 4 {
		t.Errorf("at first: %.3f", rate)
	}
	if rate := run(3000, a, s, 80*time.Microsecond, func(_, _ int) int { return 0 }); rate < 0.96 {
		t.Errorf("then: %.3f", rate)
	}
	if c := a.Choice(); c.Kind != "none" || c.PlainToS < 9000 {
		t.Errorf("in the end: %+v", c)
	}
	if fmt.Sprint(a.Close()) != "<nil>" || s.closed != 1 {
		t.Error("the speculator was not closed")
	}
}
