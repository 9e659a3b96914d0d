package decode

import (
	"context"
	"slices"
	"time"
)

// Auto is a Speculator that chooses between others, their depths and plain decoding by what a token costs with each, which it
// measures as it goes; a pass counts as the fastest of late that verified as many guesses, so that other programs which take the
// processor now and then do not decide. It tries what is not the best only as far as the time that was lost by trying stays below a
// share of all time, so that it does not fall behind plain decoding where speculation cannot pay. With a temperature the tokens that are
// drawn depend on which was chosen, and so on timing: their distribution does not.
type Auto struct {
	specs []Named
	arms  []arm // the first is plain decoding
	now   func() time.Time

	chosen      int
	timed       bool
	began, seen time.Time // of the pass under way: Propose, and the last Settle
	guesses     int       // that the pass verified
	tokens      int       // that the pass gave
	total, lost float64   // seconds
}

// Named is a speculator with the name that reports give it.
type Named struct {
	Name string
	Speculator
}

// arm is a speculator at a depth; depth 0 is plain decoding.
type arm struct {
	spec, depth int
	passes      int
	kinds       []kind  // of passes, by the guesses that they verified
	got         float64 // tokens of the passes, the last counting most
	cost        float64 // seconds a token
	age         int     // passes of all arms since this was tried
}

// kind is what is known of the passes that verified the same number of guesses.
type kind struct {
	passes int
	took   [autoLately]float64 // seconds of the last of them
	share  float64             // passes, the last counting most
}

// fastest is what a pass takes when no other program disturbs it.
func (k *kind) fastest() float64 {
	if k.passes == 0 {
		return 0
	}
	return slices.Min(k.took[:min(k.passes, autoLately)])
}

const (
	autoShare    = 0.01 // of all time that may be lost by trying
	autoWeight   = 0.1  // of what is known of an arm that a new pass makes forgotten
	autoTimed    = 8    // of so many passes of plain decoding one is timed, once it is known: a clock may cost a hundredth of a fast student's pass
	autoLately   = 8    // passes with as many guesses, of which the fastest counts
	autoPlain    = 4    // passes of plain decoding before anything else is tried
	autoPatience = 64   // passes after which an arm that was not the best may be tried again
	autoTrial    = 4    // passes that an arm is judged by at first: one may be bad luck
	autoGrant    = 4    // tokens of plain decoding that trying may lose beyond its share, so that short texts try too
)

// NewAuto returns a speculator over others, each tried at the depths 2, 4, 8, … up to most; those that are named first are tried first.
func NewAuto(most int, specs ...Named) *Auto {
	s := &Auto{specs: specs, arms: make([]arm, 1), now: time.Now}
	for i := range specs {
		for depth := 2; depth < 2*most; depth *= 2 {
			s.arms = append(s.arms, arm{spec: i, depth: min(depth, most)})
		}
	}
	return s
}

// Begin implements Speculator.
func (s *Auto) Begin(seq int, tokens []int32, pick *Sampler) error {
	for _, n := range s.specs {
		if err := n.Begin(seq, tokens, pick); err != nil {
			return err
		}
	}
	return nil
}

// Propose implements Speculator.
func (s *Auto) Propose(ctx context.Context, proposals []Proposal) error {
	s.learn()
	s.chosen, s.guesses, s.tokens = s.choose(), 0, 0
	a := &s.arms[s.chosen]
	if s.timed = a.depth > 0 || a.passes < autoTimed || a.passes%autoTimed == 0; s.timed {
		s.began = s.now()
	}
	if a.depth == 0 {
		return nil
	}
	limited := make([]Proposal, len(proposals))
	for i, p := range proposals {
		limited[i] = Proposal{Seq: p.Seq, Limit: min(p.Limit, a.depth), Guide: p.Guide}
	}
	if err := s.specs[a.spec].Propose(ctx, limited); err != nil {
		return err
	}
	for i := range proposals {
		proposals[i].Tokens, proposals[i].Dists = limited[i].Tokens, limited[i].Dists
		s.guesses += len(limited[i].Tokens)
	}
	return nil
}

// Settle implements Speculator.
func (s *Auto) Settle(seq, accepted int, tokens []int32) error {
	s.tokens += len(tokens)
	if s.timed {
		s.seen = s.now()
	}
	for i, n := range s.specs {
		own := 0
		if a := s.arms[s.chosen]; a.depth > 0 && a.spec == i {
			own = accepted
		}
		if err := n.Settle(seq, own, tokens); err != nil {
			return err
		}
	}
	return nil
}

// learn takes what the pass before cost.
func (s *Auto) learn() {
	if s.tokens == 0 {
		return
	}
	best := s.arms[s.best()].cost
	a := &s.arms[s.chosen]
	a.passes++
	took := a.cost * float64(s.tokens)
	if s.timed {
		took = a.see(s.guesses, s.tokens, s.seen.Sub(s.began).Seconds())
	}
	for i := range s.arms {
		s.arms[i].age++
	}
	a.age = 0
	s.total += took
	if s.chosen > 0 && best > 0 {
		s.lost += max(0, took-best*float64(s.tokens))
	}
}

// see takes a pass that took so many seconds, and returns how many it would have taken undisturbed.
func (a *arm) see(guesses, tokens int, took float64) float64 {
	for len(a.kinds) <= guesses {
		a.kinds = append(a.kinds, kind{})
	}
	this := &a.kinds[guesses]
	this.took[this.passes%autoLately] = took
	this.passes++
	this.share += 1 / (1 - autoWeight)
	spent := 0.0
	for i := range a.kinds {
		k := &a.kinds[i]
		k.share *= 1 - autoWeight
		spent += k.share * k.fastest()
	}
	a.got = (1-autoWeight)*a.got + float64(tokens)
	a.cost = spent / a.got // passes that gave little count as little
	return this.fastest()
}

// best is the arm with the least cost of those that were tried.
func (s *Auto) best() int {
	best := 0
	for i, a := range s.arms {
		if a.passes > 0 && a.cost < s.arms[best].cost {
			best = i
		}
	}
	return best
}

// choose takes the best arm, or one that was not tried for long where trying may cost something.
func (s *Auto) choose() int {
	if s.arms[0].passes < autoPlain {
		return 0
	}
	best := s.best()
	if s.lost > autoShare*s.total+autoGrant*s.arms[0].cost {
		return best
	}
	for i, a := range s.arms { // in their order
		if a.passes < autoTrial {
			return i
		}
	}
	oldest := best
	for i, a := range s.arms {
		if i != best && a.age > autoPatience && (oldest == best || a.age > s.arms[oldest].age) {
			oldest = i
		}
	}
	return oldest
}

// Choice says what an Auto has come to.
type Choice struct {
	Kind     string  `json:"kind"` // "none" for plain decoding
	Depth    int     `json:"depth"`
	TokS     float64 `json:"tok_s"`       // with it
	PlainToS float64 `json:"plain_tok_s"` // of plain decoding
}

// Choice is the best so far.
func (s *Auto) Choice() Choice {
	s.learn()
	s.tokens = 0
	a := s.arms[s.best()]
	c := Choice{Kind: "none", Depth: a.depth}
	if a.depth > 0 {
		c.Kind = s.specs[a.spec].Name
	}
	if a.cost > 0 {
		c.TokS = 1 / a.cost
	}
	if plain := s.arms[0].cost; plain > 0 {
		c.PlainToS = 1 / plain
	}
	return c
}

// Close implements Speculator.
func (s *Auto) Close() (err error) {
	for _, n := range s.specs {
		if e := n.Close(); err == nil {
			err = e
		}
	}
	return err
}
