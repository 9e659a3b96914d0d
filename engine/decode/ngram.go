package decode

import (
	"context"
	"slices"
)

// Lengths of the ends of a text that an NGram looks up, the longest first.
const (
	longestNGram  = 4
	shortestNGram = 2
)

// NGram is a Speculator without a model: it looks for an earlier place where the text, prompt included, stood as it ends now,
// and proposes what followed there (prompt lookup; Yang et al., arXiv:2304.04487). It costs next to nothing and is right where
// texts repeat themselves.
type NGram struct {
	most  int // tokens of a proposal
	texts map[int][]int32
}

// NewNGram returns a speculator that proposes up to most tokens.
func NewNGram(most int) *NGram { return &NGram{most: most, texts: map[int][]int32{}} }

// Begin implements Speculator.
func (s *NGram) Begin(seq int, tokens []int32, _ *Sampler) error {
	s.texts[seq] = append(s.texts[seq][:0], tokens...)
	return nil
}

// Propose implements Speculator. Its proposals are certain.
func (s *NGram) Propose(_ context.Context, proposals []Proposal) error {
	for i := range proposals {
		p := &proposals[i]
		p.Tokens = follow(s.texts[p.Seq], min(p.Limit, s.most))
	}
	return nil
}

// follow returns up to most tokens that followed the last earlier place where the longest end of the text stood.
func follow(text []int32, most int) []int32 {
	for n := min(longestNGram, len(text)-1); n >= shortestNGram; n-- {
		end := text[len(text)-n:]
		for at := len(text) - n - 1; at >= 0; at-- {
			if slices.Equal(text[at:at+n], end) {
				return text[at+n : min(at+n+most, len(text))]
			}
		}
	}
	return nil
}

// Settle implements Speculator.
func (s *NGram) Settle(seq, _ int, tokens []int32) error {
	s.texts[seq] = append(s.texts[seq], tokens...)
	return nil
}

// Close implements Speculator.
func (s *NGram) Close() error { return nil }
