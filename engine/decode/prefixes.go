package decode

import (
	"errors"
	"slices"

	"mito/engine/session"
)

// prefixSlots is how many earlier prompts are kept at most.
const prefixSlots = 16

// prefixes keeps the keys and values of prompts in sequences of their own, behind those of texts. Pages that several hold count
// once, so that a kept prompt costs what no text holds any more.
type prefixes struct {
	bytes int // that all sequences may hold beyond those of the texts under way
	slots []prefix
	now   int
}

type prefix struct {
	seq     int
	tokens  []int32 // nil for a free slot
	adapter string
	used    int // when it was used last
}

func newPrefixes(first, bytes int) prefixes {
	p := prefixes{bytes: bytes}
	if bytes > 0 {
		for i := range prefixSlots {
			p.slots = append(p.slots, prefix{seq: first + i})
		}
	}
	return p
}

// common is the length of the beginning that a and b share.
func common(a, b []int32) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

// share makes an empty sequence begin as far as any other does that holds the same tokens, and returns how many those are.
func (g *Generator) share(seq int, tokens []int32, adapter string) (int, error) {
	type source struct{ seq, n int }
	var found []source
	for _, t := range g.texts {
		if t != nil && t.seq != seq && t.o.Adapter == adapter {
			held := t.tokens[t.from:][:min(g.session.Len(t.seq), len(t.tokens)-t.from)]
			found = append(found, source{t.seq, common(held, tokens)})
		}
	}
	g.kept.now++
	for i := range g.kept.slots {
		if p := &g.kept.slots[i]; p.tokens != nil && p.adapter == adapter {
			found = append(found, source{p.seq, common(p.tokens, tokens)})
		}
	}
	slices.SortStableFunc(found, func(a, b source) int { return b.n - a.n })
	for _, f := range found {
		if f.n == 0 {
			break
		}
		if err := g.session.Fork(seq, f.seq); err != nil {
			return 0, err
		}
		if err := g.session.Truncate(seq, f.n); errors.Is(err, session.ErrEvicted) { // a window has passed on
			if err := g.session.Truncate(seq, 0); err != nil {
				return 0, err
			}
			continue
		} else if err != nil {
			return 0, err
		}
		for i := range g.kept.slots {
			if p := &g.kept.slots[i]; p.seq == f.seq {
				p.used = g.kept.now
			}
		}
		return f.n, nil
	}
	return 0, nil
}

// keep keeps the prompt that a sequence holds, and gives up those that were not used for longest until what is kept fits.
func (g *Generator) keep(seq int, tokens []int32, adapter string) error {
	k := &g.kept
	if len(k.slots) == 0 || len(tokens) == 0 {
		return nil
	}
	oldest := &k.slots[0]
	for i := range k.slots {
		p := &k.slots[i]
		if p.tokens != nil && p.adapter == adapter && common(p.tokens, tokens) == len(tokens) {
			return nil // a longer one begins so
		}
		if p.tokens == nil && oldest.tokens != nil || (p.tokens == nil) == (oldest.tokens == nil) && p.used < oldest.used {
			oldest = p
		}
	}
	for i := range k.slots { // one that this one continues takes no slot of its own
		if p := &k.slots[i]; p.tokens != nil && p.adapter == adapter && common(p.tokens, tokens) == len(p.tokens) {
			oldest = p
		}
	}
	if err := g.session.Fork(oldest.seq, seq); err != nil {
		return err
	}
	oldest.tokens, oldest.adapter, oldest.used = slices.Clone(tokens), adapter, k.now
	return g.fit()
}

// fit gives up kept prompts until all keys and values that are kept fit.
func (g *Generator) fit() error {
	k := &g.kept
	for {
		oldest := -1
		bytes := 0
		for i := range k.slots {
			if p := &k.slots[i]; p.tokens != nil {
				bytes += g.session.HeldBytes(p.seq)
				if oldest < 0 || p.used < k.slots[oldest].used {
					oldest = i
				}
			}
		}
		if oldest < 0 || bytes <= k.bytes {
			return nil
		}
		if err := g.session.Truncate(k.slots[oldest].seq, 0); err != nil {
			return err
		}
		k.slots[oldest].tokens = nil
	}
}
