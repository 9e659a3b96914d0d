package decode

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"mito/engine/session"
)

// Draft is a Speculator that asks a smaller model, the draft (Leviathan et al., arXiv:2211.17192). What it proposes is drawn
// as the target draws: with the same temperature and filters, greedily without a temperature.
type Draft struct {
	r       Runtime
	session Session
	vocab   int // of the target
	most    int // tokens of a proposal
	texts   map[int]*drafted
	step    []int32
}

// drafted is a text as the draft follows it. The session holds a beginning of tokens, perhaps with guesses behind it that
// Settle rolls back.
type drafted struct {
	tokens []int32
	pick   *Sampler
}

// DraftError reports a draft that cannot speak for a target.
type DraftError struct{ What string }

func (e *DraftError) Error() string {
	return fmt.Sprintf("the draft %s: train it with the tokenizer of the model that it drafts for", e.What)
}

// NewDraft returns a speculator for texts of target, as many side by side as batch, that proposes up to most tokens. It does
// not close the draft. Errors: *DraftError for another tokenizer, those of NewSession.
func NewDraft(draft, target Runtime, batch, most int) (*Draft, error) {
	switch a, b := draft.Tokenizer(), target.Tokenizer(); {
	case a == nil || b == nil:
		return nil, ErrNoTokenizer
	case a.Hash() != b.Hash():
		return nil, &DraftError{fmt.Sprintf("has another tokenizer (%.12s… and %.12s…)", a.Hash(), b.Hash())}
	}
	own, err := draft.NewSession(max(1, batch))
	if err != nil {
		return nil, err
	}
	return &Draft{r: draft, session: own, vocab: target.VocabSize(), most: most, texts: map[int]*drafted{}, step: make([]int32, max(1, batch))}, nil
}

// Begin implements Speculator. The draft reads the text when it is asked.
func (s *Draft) Begin(seq int, tokens []int32, pick *Sampler) error {
	s.texts[seq] = &drafted{tokens: slices.Clone(tokens), pick: pick}
	return s.session.Truncate(seq, 0)
}

// Propose implements Speculator. A text that is longer than the draft's context gets no proposal.
func (s *Draft) Propose(ctx context.Context, proposals []Proposal) error {
	for i := range proposals {
		p := &proposals[i]
		t := s.texts[p.Seq]
		if s.limit(p) < 1 {
			continue
		}
		if _, err := Feed(ctx, s.session, p.Seq, t.tokens[s.session.Len(p.Seq):len(t.tokens)-1]); err != nil {
			return err
		}
	}
	guides := make([]Guide, len(proposals))
	for i := range proposals {
		guides[i] = proposals[i].Guide
	}
	for n := 0; ; n++ {
		busy := false
		for i := range s.step {
			s.step[i] = -1
		}
		for i := range proposals {
			p := &proposals[i]
			if len(p.Tokens) < n || n >= s.limit(p) || guides[i].Ended() {
				continue
			}
			busy = true
			text := s.texts[p.Seq].tokens
			if s.step[p.Seq] = text[len(text)-1]; n > 0 {
				s.step[p.Seq] = p.Tokens[n-1]
			}
		}
		if !busy {
			return nil
		}
		logits, err := s.session.Step(s.step)
		if err != nil {
			return err
		}
		for i := range proposals {
			if p := &proposals[i]; s.step[p.Seq] >= 0 {
				if err := s.draw(p, &guides[i], logits[p.Seq]); err != nil {
					return err
				}
			}
		}
	}
}

// limit is the most tokens of a proposal: what is asked for, and what the draft's context has room for.
func (s *Draft) limit(p *Proposal) int {
	return min(p.Limit, s.most, s.r.Context()-len(s.texts[p.Seq].tokens)+1)
}

// draw adds a token to a proposal. The draft may have more logits than the target.
func (s *Draft) draw(p *Proposal, guide *Guide, logits []float32) error {
	pick := s.texts[p.Seq].pick
	if guide.masks != nil {
		mask, err := guide.Mask()
		if err != nil {
			return err
		}
		pick.Restrict(mask)
	}
	dist, err := pick.Distribution(logits[:min(len(logits), s.vocab)])
	if err != nil {
		return err
	}
	if pick.Greedy() {
		p.Tokens = append(p.Tokens, dist[0].Token)
	} else {
		p.Dists = append(p.Dists, slices.Clone(dist))
		p.Tokens = append(p.Tokens, Draw(dist, pick.Uniform()))
	}
	*guide = guide.After(p.Tokens[len(p.Tokens)-1])
	return nil
}

// Settle implements Speculator.
func (s *Draft) Settle(seq, accepted int, tokens []int32) error {
	t := s.texts[seq]
	keep := min(len(t.tokens)+accepted, s.session.Len(seq))
	t.tokens = append(t.tokens, tokens...)
	err := s.session.Truncate(seq, keep)
	if errors.Is(err, session.ErrEvicted) {
		return s.session.Truncate(seq, 0) // Propose reads the text again
	}
	return err
}

// Close implements Speculator; the draft's runtime stays open.
func (s *Draft) Close() error { return nil }
