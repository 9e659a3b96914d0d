package decode

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"mito/engine/session"
)

// Speculator guesses how texts go on, so that the model computes several tokens of a text at once. The generator verifies the
// guesses: a speculator cannot change what is written, only how fast. It belongs to one generator and its goroutine.
type Speculator interface {
	// Begin says that the text of a sequence is tokens from here on (never empty): when a text begins, and again when the
	// context slides, with what is left of it. pick is the text's sampler, whose Distribution and Uniform it may use; the
	// generator uses them too, so a distribution that is kept must be copied. tokens is valid during the call. A sequence
	// whose text has ended is not mentioned any more until another begins there.
	Begin(seq int, tokens []int32, pick *Sampler) error
	// Propose fills in Tokens of each proposal, and Dists where the tokens were drawn at random. It may propose fewer than
	// Limit tokens, or none. Sequences that are not asked for have no room or do not go on.
	Propose(ctx context.Context, proposals []Proposal) error
	// Settle says that the text of a sequence goes on with tokens: the first accepted of what was proposed last, then one
	// that was drawn. tokens is valid during the call.
	Settle(seq, accepted int, tokens []int32) error
	// Close frees what the speculator holds.
	Close() error
}

// Proposal is how the text of a sequence may go on.
type Proposal struct {
	Seq   int
	Limit int   // most tokens, at least 1
	Guide Guide // of the first token, where the text is held to a grammar: what it does not allow will not be accepted
	// Tokens are set by Propose.
	Tokens []int32
	// Dists[i] is the distribution that Tokens[i] was drawn from, given the tokens before it; probabilities add to 1. Nil Dists
	// say that nothing was drawn: the tokens were certain.
	Dists [][]Candidate
}

// ProposalError reports a proposal that breaks the rules of Speculator.
type ProposalError struct {
	Seq  int
	What string
}

func (e *ProposalError) Error() string {
	return fmt.Sprintf("the speculator's proposal for sequence %d has %s", e.Seq, e.What)
}

// check refuses what cannot be verified.
func (p *Proposal) check(vocab int) error {
	switch {
	case len(p.Tokens) > p.Limit:
		return &ProposalError{p.Seq, fmt.Sprintf("%d tokens, at most %d are wanted", len(p.Tokens), p.Limit)}
	case p.Dists != nil && len(p.Dists) != len(p.Tokens):
		return &ProposalError{p.Seq, fmt.Sprintf("%d tokens and %d distributions", len(p.Tokens), len(p.Dists))}
	}
	for i, id := range p.Tokens {
		if id < 0 || int(id) >= vocab {
			return &ProposalError{p.Seq, fmt.Sprintf("token %d, the vocabulary has %d", id, vocab)}
		}
		if p.Dists == nil {
			continue
		}
		if !(probability(p.Dists[i], id) > 0) {
			return &ProposalError{p.Seq, fmt.Sprintf("token %d, which its distribution cannot give", id)}
		}
		for _, c := range p.Dists[i] {
			if c.Token < 0 || int(c.Token) >= vocab || !(c.Prob >= 0) {
				return &ProposalError{p.Seq, fmt.Sprintf("token %d with probability %v, the vocabulary has %d", c.Token, c.Prob, vocab)}
			}
		}
	}
	return nil
}

// Speculation counts what speculation brought.
type Speculation struct {
	Proposed      int `json:"proposed"`
	Accepted      int `json:"accepted"`
	Verifications int `json:"verifications"` // passes of the model that gave the text one token or more
}

// guess lets the speculator propose how the texts go on and says whether it did for any.
func (g *Generator) guess(ctx context.Context) (any bool, err error) {
	g.drafts = g.drafts[:0]
	for seq, t := range g.texts {
		if !t.goesOn() {
			continue
		}
		// One token comes beside those that are accepted.
		limit := t.room() - 1
		if t.o.MaxTokens > 0 {
			limit = min(limit, t.o.MaxTokens-len(t.out.Tokens)-1)
		}
		if limit > 0 {
			g.drafts = append(g.drafts, Proposal{Seq: seq, Limit: limit, Guide: t.guide})
		}
	}
	if len(g.drafts) > 0 {
		if err := g.spec.Propose(ctx, g.drafts); err != nil {
			return false, err
		}
	}
	for i := range g.drafts {
		if err := g.drafts[i].check(g.r.VocabSize()); err != nil {
			return false, err
		}
		any = any || len(g.drafts[i].Tokens) > 0
	}
	return any, nil
}

// verify computes all texts and their guesses in one pass, and takes what is accepted.
func (g *Generator) verify(ctx context.Context) error {
	verdicts := make([]verdict, len(g.texts))
	base := make([]int, len(g.texts))
	for seq, t := range g.texts {
		g.scored[seq] = nil
		if t.goesOn() {
			g.scored[seq] = append(g.scored[seq], t.last())
		}
		if t != nil {
			verdicts[seq].guide = t.guide
		}
	}
	for i := range g.drafts {
		p := &g.drafts[i]
		verdicts[p.Seq].proposal = *p
		g.scored[p.Seq] = append(g.scored[p.Seq], p.Tokens...)
	}
	for seq := range base {
		base[seq] = g.session.Len(seq)
	}
	err := g.session.ScoreBatch(g.scored, func(seq, i int, logits []float32) error {
		if v, t := &verdicts[seq], g.texts[seq]; !v.done {
			t.hash.see(logits)
			if v.err = t.restrict(v.guide); v.err != nil {
				v.done = true
				return nil
			}
			v.see(i, logits, t.pick)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for seq, t := range g.texts {
		if g.scored[seq] == nil {
			continue
		}
		v := &verdicts[seq]
		if err := t.rollback(ctx, base[seq]+1+v.accepted, v.proposal.Tokens[:v.accepted]); err != nil {
			return err
		}
		t.out.Speculation.Proposed += len(v.proposal.Tokens)
		t.out.Speculation.Accepted += v.accepted
		t.out.Speculation.Verifications++
		if err := g.settle(t, v); err != nil {
			return err
		}
	}
	return nil
}

// rollback leaves n tokens in the session: those of the text and what was accepted. A window may have passed on from there, so that the
// text is read again.
func (t *text) rollback(ctx context.Context, n int, accepted []int32) error {
	err := t.g.session.Truncate(t.seq, n)
	if !errors.Is(err, session.ErrEvicted) {
		return err
	}
	if err := t.g.session.Truncate(t.seq, 0); err != nil {
		return err
	}
	_, err = Feed(ctx, t.g.session, t.seq, slices.Concat(t.tokens[t.from:], accepted))
	return err
}

// settle takes what a verification has decided and tells the speculator.
func (g *Generator) settle(t *text, v *verdict) error {
	tokens := append(v.proposal.Tokens[:v.accepted:v.accepted], v.next)
	if v.err != nil {
		tokens = tokens[:v.accepted]
	}
	for _, id := range tokens {
		if t.take(id); !t.goesOn() {
			return nil
		}
	}
	if t.err = v.err; t.err != nil {
		return nil
	}
	return g.spec.Settle(t.seq, v.accepted, tokens)
}

// settleOne tells the speculator, where there is one, of a token that was drawn without guesses.
func (t *text) settleOne(id int32) error {
	if t.g.spec == nil {
		return nil
	}
	t.out.Speculation.Verifications++
	if !t.goesOn() {
		return nil
	}
	t.g.settled[0] = id
	return t.g.spec.Settle(t.seq, 0, t.g.settled[:])
}

// verdict decides how a text goes on by the rule of speculative sampling (Leviathan et al., arXiv:2211.17192, algorithm 1; Chen et
// al., arXiv:2302.01318): with p the distribution that plain decoding draws from and q that of the proposal, a token x is
// accepted with probability min(1, p(x)/q(x)); the first that is not is replaced by a draw from max(0, p-q), renormalised;
// where all are accepted, one more is drawn from p. So every token has the distribution p, whatever q is. A proposal that was
// certain, q(x) = 1, is accepted where a draw from p gives it, which has the same probability: the text is then that of plain
// decoding, draw for draw.
type verdict struct {
	proposal Proposal
	accepted int
	done     bool
	guide    Guide // behind those that were accepted
	next     int32 // drawn behind those that were accepted
	err      error
}

// see gets the logits that proposal token i is judged by; those behind the last give one more token.
func (v *verdict) see(i int, logits []float32, pick *Sampler) {
	if v.done {
		return
	}
	if i == len(v.proposal.Tokens) || v.proposal.Dists == nil {
		v.next, v.err = pick.Next(logits)
		if v.done = v.err != nil || i == len(v.proposal.Tokens) || v.next != v.proposal.Tokens[i]; !v.done {
			v.accept(v.next)
		}
		return
	}
	p, err := pick.Distribution(logits)
	if err != nil {
		v.err, v.done = err, true
		return
	}
	x := v.proposal.Tokens[i]
	q := v.proposal.Dists[i]
	if pick.Uniform()*probability(q, x) < probability(p, x) {
		v.accept(x)
		return
	}
	v.next, v.done = Draw(residual(p, q, len(logits)), pick.Uniform()), true
}

func (v *verdict) accept(id int32) {
	v.accepted++
	v.guide = v.guide.After(id)
	if v.guide.Ended() { // what was proposed behind it has no place any more
		v.proposal.Tokens, v.done = v.proposal.Tokens[:v.accepted-1], true
		v.accepted, v.next = v.accepted-1, id
	}
}

// residual changes p to max(0, p-q), renormalised. Where rounding leaves nothing of it, p stays.
func residual(p, q []Candidate, vocab int) []Candidate {
	taken := make([]float64, vocab)
	for _, c := range q {
		taken[c.Token] = c.Prob
	}
	sum := 0.0
	for _, c := range p {
		sum += max(0, c.Prob-taken[c.Token])
	}
	if !(sum > 0) {
		return p
	}
	kept := p[:0]
	for _, c := range p {
		if r := c.Prob - taken[c.Token]; r > 0 {
			kept = append(kept, Candidate{c.Token, r / sum})
		}
	}
	return kept
}

func probability(d []Candidate, token int32) float64 {
	for _, c := range d {
		if c.Token == token {
			return c.Prob
		}
	}
	return 0
}
