package decode

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"slices"

	"mito/kernels/vec"
)

// Sampling says how tokens are drawn, in the arithmetic of engine/student/SPEC.md, §7, so that a device draws the same text from
// the same logits. The zero value is greedy. Filters apply in the order of the fields, each to what the one before has left,
// renormalised. Temperature, TopP and MinP count as float32.
type Sampling struct {
	Temperature float64 // logits are divided by it; 0 takes the largest logit, and the other fields do nothing
	TopK        int     // keep the K most probable tokens; 0 keeps all
	TopP        float64 // keep the fewest of the most probable tokens whose probabilities reach P (arXiv:1904.09751); 0 and 1 keep all
	MinP        float64 // keep tokens of at least P times the largest probability (arXiv:2407.01082); 0 keeps all
	Seed        uint64  // its halves are joined by exclusive or
}

// OptionError reports an option with an impossible value.
type OptionError struct {
	Option string
	Got    any
	Want   string
}

func (e *OptionError) Error() string {
	return fmt.Sprintf("%s is %v, want %s", e.Option, e.Got, e.Want)
}

// Validate refuses values out of range; the error is an *OptionError.
func (o Sampling) Validate() error {
	share := func(v float64) bool { return v >= 0 && v <= 1 }
	for _, f := range []struct {
		ok     bool
		option string
		got    any
		want   string
	}{
		{o.Temperature >= 0 && o.Temperature <= math.MaxFloat32, "temperature", o.Temperature, "0 (greedy) or a positive number"},
		{o.TopK >= 0, "top-k", o.TopK, "0 (all) or a positive number"},
		{share(o.TopP), "top-p", o.TopP, "0 to 1"},
		{share(o.MinP), "min-p", o.MinP, "0 to 1"},
	} {
		if !f.ok {
			return &OptionError{Option: f.option, Got: f.got, Want: f.want}
		}
	}
	return nil
}

// ErrNothingAllowed is returned when a mask, or logits of -Inf, leave no token.
var ErrNothingAllowed = errors.New("no token is allowed")

// Sampler draws tokens from logits. Its state is one number, so that draws can be repeated. It belongs to one goroutine.
type Sampler struct {
	o       Sampling
	state   uint32
	allowed []bool
	kept    []weighted
	dist    []Candidate
}

// weighted is a token with its weight, one for the most probable.
type weighted struct {
	token  int32
	weight uint32
}

// one is the largest weight; shares of it are cut to whole numbers.
const one = 1 << 24

// Candidate is a token that filters have left, with its probability.
type Candidate struct {
	Token int32
	Prob  float64
}

// NewSampler returns a sampler; equal options make equal draws. Errors: *OptionError.
func NewSampler(o Sampling) (*Sampler, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	return &Sampler{o: o, state: uint32(o.Seed) ^ uint32(o.Seed>>32)}, nil
}

// Greedy says that the largest logit is always taken.
func (s *Sampler) Greedy() bool { return float32(s.o.Temperature) == 0 }

// Restrict lets only tokens t with allowed[t] be drawn from now on, renormalised; tokens beyond its length are not
// allowed. Nil allows all. The slice is kept.
func (s *Sampler) Restrict(allowed []bool) { s.allowed = allowed }

// State and SetState save and restore the generator.
func (s *Sampler) State() uint32         { return s.state }
func (s *Sampler) SetState(state uint32) { s.state = state }

// random is the stated generator: a Weyl sequence, mixed.
func (s *Sampler) random() uint32 {
	s.state += 0x9e3779b9
	z := s.state
	z = (z ^ z>>16) * 0x85ebca6b
	z = (z ^ z>>13) * 0xc2b2ae35
	return z ^ z>>16
}

// Uniform draws from [0,1).
func (s *Sampler) Uniform() float64 { return float64(s.random()) * 0x1p-32 }

// Next draws a token. Errors: ErrNotFinite for a logit of NaN or +Inf (-Inf is a token that cannot come),
// ErrNothingAllowed.
func (s *Sampler) Next(logits []float32) (int32, error) {
	if s.Greedy() {
		return Largest(logits, s.allowed)
	}
	if err := s.weigh(logits); err != nil {
		return 0, err
	}
	at := scaled(s.random(), total(s.kept))
	for _, c := range s.kept {
		if uint64(c.weight) > at {
			return c.token, nil
		}
		at -= uint64(c.weight)
	}
	return 0, ErrNothingAllowed // at is below the total
}

// scaled is random·sum/2^32, cut to a whole number.
func scaled(random uint32, sum uint64) uint64 {
	hi, lo := bits.Mul64(uint64(random), sum)
	return hi<<32 | lo>>32
}

// Draw returns the token whose share of [0,1) holds u. The candidates are not empty and their probabilities add to
// about 1.
func Draw(kept []Candidate, u float64) int32 {
	sum := 0.0
	for _, c := range kept {
		if sum += c.Prob; u < sum {
			return c.Token
		}
	}
	// Rounding left the sum a little below 1.
	return kept[len(kept)-1].Token
}

// Distribution returns the tokens that Next draws from, by token, each with a positive probability; they add to 1. The slice is
// valid until the next call. Errors: as of Next.
func (s *Sampler) Distribution(logits []float32) ([]Candidate, error) {
	s.dist = s.dist[:0]
	if s.Greedy() {
		best, err := Largest(logits, s.allowed)
		if err != nil {
			return nil, err
		}
		s.dist = append(s.dist, Candidate{best, 1})
		return s.dist, nil
	}
	if err := s.weigh(logits); err != nil {
		return nil, err
	}
	scale := 1 / float64(total(s.kept))
	for _, c := range s.kept {
		s.dist = append(s.dist, Candidate{c.token, float64(c.weight) * scale})
	}
	return s.dist, nil
}

// weigh makes s.kept the tokens that may be drawn, by token, with weights above 0.
func (s *Sampler) weigh(logits []float32) error {
	best, err := Largest(logits, s.allowed)
	if err != nil {
		return err
	}
	s.kept = s.kept[:0]
	top, temperature := logits[best], float32(s.o.Temperature)
	for i, v := range logits {
		if !allows(s.allowed, i) {
			continue
		}
		if w := uint32(vec.Exp1((v-top)/temperature) * one); w > 0 {
			s.kept = append(s.kept, weighted{int32(i), w})
		}
	}
	s.filter()
	return nil
}

// filter drops candidates by TopK, TopP and MinP.
func (s *Sampler) filter() {
	topP, minP := float32(s.o.TopP), uint32(float32(s.o.MinP)*one)
	nucleus := topP > 0 && topP < 1
	if s.o.TopK > 0 && s.o.TopK < len(s.kept) || nucleus {
		slices.SortStableFunc(s.kept, func(a, b weighted) int { return cmp.Compare(b.weight, a.weight) })
		if s.o.TopK > 0 && s.o.TopK < len(s.kept) {
			s.kept = s.kept[:s.o.TopK]
		}
		if nucleus {
			hi, lo := bits.Mul64(total(s.kept), uint64(topP*one))
			goal, sum := hi<<40|lo>>24, uint64(0)
			for i, c := range s.kept {
				if sum += uint64(c.weight); sum >= goal {
					s.kept = s.kept[:i+1]
					break
				}
			}
		}
		slices.SortFunc(s.kept, func(a, b weighted) int { return cmp.Compare(a.token, b.token) })
	}
	if minP > 0 {
		s.kept = slices.DeleteFunc(s.kept, func(c weighted) bool { return c.weight < minP })
	}
}

func total(kept []weighted) uint64 {
	sum := uint64(0)
	for _, c := range kept {
		sum += uint64(c.weight)
	}
	return sum
}

func allows(allowed []bool, token int) bool {
	return allowed == nil || token < len(allowed) && allowed[token]
}

// Largest returns the first of the largest of the logits that a mask allows (nil for all). Errors: ErrNotFinite when any logit is NaN or +Inf,
// ErrNothingAllowed.
func Largest(logits []float32, allowed []bool) (int32, error) {
	best := -1
	for i, v := range logits {
		if v != v || v > math.MaxFloat32 {
			return 0, ErrLogits
		}
		if (best < 0 || v > logits[best]) && v >= -math.MaxFloat32 && allows(allowed, i) {
			best = i
		}
	}
	if best < 0 {
		return 0, ErrNothingAllowed
	}
	return int32(best), nil
}
