package decode

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"mito/engine/session"
	"mito/engine/tokenizer"
)

// toySpec proposes by a rule, and holds the generator to the order of its calls.
type toySpec struct {
	t        *testing.T
	vocab    int
	rule     func(s *toySpec, last int32) int32
	drawn    bool // says that proposals were drawn, half the time from what they are
	rng      *rand.Rand
	texts    map[int][]int32
	proposed map[int][]int32
	closed   int
}

// orNil is the speculator, nil for none.
func (s *toySpec) orNil() Speculator {
	if s == nil {
		return nil
	}
	return s
}

// speculators propose the next token of the counter, another, and any; certain or drawn. Nil is plain decoding.
func speculators() map[string]*toySpec {
	right := func(s *toySpec, last int32) int32 { return (last + 1) % int32(s.vocab) }
	wrong := func(s *toySpec, last int32) int32 { return (last + 3) % int32(s.vocab) }
	random := func(s *toySpec, _ int32) int32 { return int32(s.rng.IntN(s.vocab)) }
	return map[string]*toySpec{
		"plain": nil, "right": {rule: right}, "wrong": {rule: wrong}, "random": {rule: random},
		"right, drawn": {rule: right, drawn: true}, "wrong, drawn": {rule: wrong, drawn: true}, "random, drawn": {rule: random, drawn: true},
	}
}

func (s *toySpec) Begin(seq int, tokens []int32, pick *Sampler) error {
	if len(tokens) == 0 || pick == nil {
		s.t.Errorf("began with %v", tokens)
	}
	if s.texts == nil {
		s.texts, s.proposed, s.rng = map[int][]int32{}, map[int][]int32{}, rand.New(rand.NewPCG(1, 1))
	}
	s.texts[seq] = slices.Clone(tokens)
	delete(s.proposed, seq)
	return nil
}

func (s *toySpec) Propose(_ context.Context, ps []Proposal) error {
	for i := range ps {
		p := &ps[i]
		text := s.texts[p.Seq]
		if p.Limit < 1 || p.Tokens != nil {
			s.t.Errorf("asked for %+v", p)
		}
		last := text[len(text)-1]
		for range min(p.Limit, len(text)%5) {
			last = s.rule(s, last)
			p.Tokens = append(p.Tokens, last)
			if s.drawn {
				dist := []Candidate{{last, 1}}
				if other := int32(len(text) % s.vocab); other != last && len(text)%2 == 0 {
					dist = []Candidate{{other, 0.25}, {last, 0.75}}
				}
				p.Dists = append(p.Dists, dist)
			}
		}
		s.proposed[p.Seq] = slices.Clone(p.Tokens)
	}
	return nil
}

func (s *toySpec) Settle(seq, accepted int, tokens []int32) error {
	if p := s.proposed[seq]; accepted > len(p) || len(tokens) != accepted+1 || !slices.Equal(p[:accepted], tokens[:accepted]) {
		s.t.Errorf("sequence %d: proposed %v, settled %d and %v", seq, p, accepted, tokens)
	}
	s.texts[seq] = append(s.texts[seq], tokens...)
	delete(s.proposed, seq)
	return nil
}

func (s *toySpec) Close() error { s.closed++; return nil }

// TestSpeculatorSeesTheText wants the speculator to hold the text that is written, also after the context has slid.
func TestSpeculatorSeesTheText(t *testing.T) {
	tok := must(tokenizer.NewChars("abcdefgh"))
	spec := speculators()["random"]
	spec.t, spec.vocab = t, 8
	g := must(NewGenerator(counter(tok, 8, 9), GeneratorOptions{Speculator: spec}))
	o := GenerateOptions{MaxTokens: 50, Slide: true}
	seen := 0
	o.OnText = func(string) error {
		text := spec.texts[0]
		for i := 1; i < len(text); i++ {
			if text[i] != (text[i-1]+1)%8 {
				t.Fatalf("the speculator holds %v", text)
			}
		}
		if seen++; len(text) > 10 {
			t.Fatalf("the speculator was not told of the slide: it holds %d tokens of a context of 9", len(text))
		}
		return nil
	}
	got := must(g.Generate(t.Context(), "abc", o))
	if got.Text != "defghabcdefghabcdefghabcdefghabcdefghabcdefghabcde"[:50] || seen != 50 {
		t.Errorf("%+v", got)
	}
	check(t, g.Close())
	if spec.closed != 1 {
		t.Error("the speculator was not closed")
	}
}

// twin proposes with the model itself, from the distribution that the generator draws from.
type twin struct {
	s    Session
	pick []*Sampler
	last []int32
	k    int
}

func newTwin(r Runtime, batch, k int) *twin {
	return &twin{s: must(r.NewSession(batch)), pick: make([]*Sampler, batch), last: make([]int32, batch), k: k}
}

func (m *twin) Begin(seq int, tokens []int32, pick *Sampler) error {
	m.pick[seq] = pick
	if err := m.s.Truncate(seq, 0); err != nil {
		return err
	}
	return m.hold(seq, tokens)
}

// hold appends tokens; the session holds all but the last, as the generator's does.
func (m *twin) hold(seq int, tokens []int32) error {
	m.last[seq] = tokens[len(tokens)-1]
	_, err := m.s.Prefill(seq, tokens[:len(tokens)-1])
	return err
}

func (m *twin) Propose(_ context.Context, ps []Proposal) error {
	for i := range ps {
		p := &ps[i]
		n, last := m.s.Len(p.Seq), m.last[p.Seq]
		for range min(m.k, p.Limit) {
			logits, err := m.s.Prefill(p.Seq, []int32{last})
			if err != nil {
				return err
			}
			dist, err := m.pick[p.Seq].Distribution(logits)
			if err != nil {
				return err
			}
			p.Dists = append(p.Dists, slices.Clone(dist))
			last = Draw(dist, m.pick[p.Seq].Uniform())
			p.Tokens = append(p.Tokens, last)
		}
		if err := m.s.Truncate(p.Seq, n); err != nil {
			return err
		}
	}
	return nil
}

func (m *twin) Settle(seq, _ int, tokens []int32) error {
	return m.hold(seq, append([]int32{m.last[seq]}, tokens...))
}

func (m *twin) Close() error { return nil }

// TestTwinIsAccepted wants every proposal of the model itself accepted, with every filter.
func TestTwinIsAccepted(t *testing.T) {
	tok := must(tokenizer.NewChars(alphabet))
	for kind, r := range runtimes(t, edge(), tok, 1) {
		for _, sampling := range []Sampling{{}, {Temperature: 1}, {Temperature: 0.7, TopK: 5}, {Temperature: 1.5, TopP: 0.8}, {Temperature: 1, MinP: 0.2}} {
			const texts = 3
			g := must(NewGenerator(r, GeneratorOptions{Batch: texts, Speculator: newTwin(r, texts, 4)}))
			var requests []Request
			for i := range texts {
				sampling.Seed = uint64(i)
				requests = append(requests, Request{"abc" + alphabet[i:i+2], GenerateOptions{Sampling: sampling, MaxTokens: 70, Slide: true}})
			}
			for i, got := range g.GenerateAll(t.Context(), requests) {
				s := got.Speculation
				if got.Err != nil || len(got.Tokens) != 70 || s.Accepted != s.Proposed || s.Proposed < 40 || s.Verifications > 30 || s.Accepted+s.Verifications != 70 {
					t.Errorf("%s, %+v, text %d: %d tokens, %+v, %v", kind, sampling, i, len(got.Tokens), s, got.Err)
				}
			}
		}
	}
}

// table holds logits of four tokens after each of four.
type table [4][4]float32

func (l *table) runtime(ctx int) *chain {
	return &chain{tok: must(tokenizer.NewChars("abcd")), vocab: 4, ctx: ctx, logits: func(r session.Row, to []float32) { copy(to, l[r.Token][:]) }}
}

// drafter proposes by another table: drawn from its distribution, or its most probable token for certain.
type drafter struct {
	l       *table
	certain bool
	pick    *Sampler
	rng     *rand.Rand
	last    [8]int32
}

func newDrafter(l *table, certain bool) *drafter {
	return &drafter{l: l, certain: certain, pick: must(NewSampler(Sampling{Temperature: 1})), rng: rand.New(rand.NewPCG(3, 3))}
}

func (d *drafter) Begin(seq int, tokens []int32, _ *Sampler) error {
	d.last[seq] = tokens[len(tokens)-1]
	return nil
}

func (d *drafter) Propose(_ context.Context, ps []Proposal) error {
	for i := range ps {
		p := &ps[i]
		p.Tokens, p.Dists = d.draft(d.last[p.Seq], min(p.Limit, 3))
	}
	return nil
}

func (d *drafter) draft(last int32, n int) (tokens []int32, dists [][]Candidate) {
	for range n {
		if d.certain {
			last = must(Largest(d.l[last][:], nil))
		} else {
			dist := slices.Clone(must(d.pick.Distribution(d.l[last][:])))
			last = Draw(dist, d.rng.Float64())
			dists = append(dists, dist)
		}
		tokens = append(tokens, last)
	}
	return tokens, dists
}

func (d *drafter) Settle(seq, _ int, tokens []int32) error {
	d.last[seq] = tokens[len(tokens)-1]
	return nil
}

func (d *drafter) Close() error { return nil }

var (
	target = table{{0, 1, -1, 0.5}, {2, 0, 0.3, -2}, {0, 0.1, 0.2, 0.3}, {-1, 1.5, 0, 1}}
	draft  = table{{1, 0, 0, -1}, {0, 1, 1, 0.5}, {-1, 0.4, 0, 2}, {0.2, 1, -0.5, 1}}
)

// filters are what tokens are drawn by.
var filters = map[string]Sampling{
	"temperature": {Temperature: 0.8, Seed: 1}, "top-k": {Temperature: 1, TopK: 3, Seed: 2}, "top-p": {Temperature: 1.3, TopP: 0.75, Seed: 3},
}

// transitions counts which token came after which, and compares with the distribution that plain decoding draws from.
type transitions [4][4]int

func (n *transitions) check(t *testing.T, sampling Sampling) {
	t.Helper()
	pick := must(NewSampler(sampling))
	sum, df := 0.0, 0
	for from := range n {
		total := 0
		for _, k := range n[from] {
			total += k
		}
		left := n[from]
		kept := must(pick.Distribution(target[from][:]))
		for _, c := range kept {
			want := c.Prob * float64(total)
			d := float64(n[from][c.Token]) - want
			sum += d * d / want
			left[c.Token] = 0
		}
		if df += len(kept) - 1; left != [4]int{} {
			t.Errorf("after %d: %v are outside the filter", from, left)
		}
	}
	// The quantile of chi-square that one in a million exceeds (Wilson and Hilferty, 1931).
	f := 2 / (9 * float64(df))
	if limit := float64(df) * math.Pow(1-f+4.75*math.Sqrt(f), 3); !(sum < limit) {
		t.Errorf("chi-square %.1f with %d degrees of freedom, limit %.1f: %v", sum, df, limit, n)
	}
}

// TestVerdictDistribution draws a million tokens by verification and compares with the target's distribution.
func TestVerdictDistribution(t *testing.T) {
	for name, sampling := range filters {
		for _, certain := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, certain %v", name, certain), func(t *testing.T) {
				pick, d := must(NewSampler(sampling)), newDrafter(&draft, certain)
				var n transitions
				last, accepted := int32(0), 0
				for drawn := 0; drawn < 1e6; {
					var v verdict
					v.proposal.Tokens, v.proposal.Dists = d.draft(last, 3)
					from := last
					for i := 0; !v.done; i++ {
						if v.see(i, target[from][:], pick); v.err != nil {
							t.Fatal(v.err)
						}
						if i < len(v.proposal.Tokens) {
							from = v.proposal.Tokens[i]
						}
					}
					for _, id := range append(v.proposal.Tokens[:v.accepted:v.accepted], v.next) {
						n[last][id]++
						last = id
						drawn++
					}
					accepted += v.accepted
				}
				if accepted < 2e5 {
					t.Errorf("%d accepted: the case proves little", accepted)
				}
				n.check(t, sampling)
			})
		}
	}
}

// TestSpeculatedDistribution is the same through the generator, texts side by side that slide.
func TestSpeculatedDistribution(t *testing.T) {
	for name, sampling := range filters {
		for _, certain := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, certain %v", name, certain), func(t *testing.T) {
				g := must(NewGenerator(target.runtime(64), GeneratorOptions{Batch: 4, Speculator: newDrafter(&draft, certain)}))
				var requests []Request
				for i := range 8 {
					sampling.Seed = uint64(i)
					requests = append(requests, Request{"a", GenerateOptions{Sampling: sampling, MaxTokens: 10000, Slide: true}})
				}
				var n transitions
				for _, r := range g.GenerateAll(t.Context(), requests) {
					check(t, r.Err)
					last := int32(0)
					for _, id := range r.Tokens {
						n[last][id]++
						last = id
					}
				}
				n.check(t, sampling)
			})
		}
	}
}

func TestResidual(t *testing.T) {
	p := func() []Candidate { return []Candidate{{2, 0.5}, {0, 0.3}, {1, 0.2}} }
	for _, tc := range []struct{ q, want []Candidate }{
		{[]Candidate{{0, 1}}, []Candidate{{2, 0.5 / 0.7}, {1, 0.2 / 0.7}}},
		{[]Candidate{{0, 0.1}, {2, 0.9}}, []Candidate{{0, 0.5}, {1, 0.5}}},
		{[]Candidate{{3, 1}}, p()},
		{p(), p()}, // nothing is left
	} {
		got := residual(p(), tc.q, 4)
		same := slices.EqualFunc(got, tc.want, func(a, b Candidate) bool { return a.Token == b.Token && math.Abs(a.Prob-b.Prob) < 1e-12 })
		if !same {
			t.Errorf("q %v: %v, want %v", tc.q, got, tc.want)
		}
	}
}

// broken proposes what it is told to.
type broken struct {
	toySpec
	p   Proposal
	err error
}

func (b *broken) Begin(int, []int32, *Sampler) error { return nil }
func (b *broken) Propose(_ context.Context, ps []Proposal) error {
	ps[0].Tokens, ps[0].Dists = b.p.Tokens, b.p.Dists
	return b.err
}

func TestProposalErrors(t *testing.T) {
	letters := must(tokenizer.NewChars("abcdefgh"))
	certain := []Candidate{{1, 1}}
	for name, p := range map[string]Proposal{
		"too many":         {Tokens: make([]int32, 9)},
		"negative":         {Tokens: []int32{-1}},
		"outside":          {Tokens: []int32{8}},
		"distributions":    {Tokens: []int32{1, 2}, Dists: [][]Candidate{certain}},
		"impossible":       {Tokens: []int32{2}, Dists: [][]Candidate{certain}},
		"NaN":              {Tokens: []int32{1}, Dists: [][]Candidate{{{1, math.NaN()}}}},
		"outside, in dist": {Tokens: []int32{1}, Dists: [][]Candidate{{{1, 0.5}, {8, 0.5}}}},
	} {
		g := must(NewGenerator(counter(letters, 8, 8), GeneratorOptions{Speculator: &broken{p: p}}))
		var bad *ProposalError
		if _, err := g.Generate(t.Context(), "a", GenerateOptions{}); !errors.As(err, &bad) {
			t.Errorf("%s: error %v", name, err)
		}
	}
	stop := errors.New("stop")
	g := must(NewGenerator(counter(letters, 8, 8), GeneratorOptions{Batch: 2, Speculator: &broken{err: stop}}))
	for _, r := range g.GenerateAll(t.Context(), make([]Request, 3)) {
		if r.Err == nil {
			t.Errorf("%+v", r)
		}
	}
}
