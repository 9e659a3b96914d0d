package decode

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
)

// Sampling says how tokens are drawn. The zero value is greedy. Filters apply in the order of the fields, each to what the
// one before has left, renormalised.
type Sampling struct {
	Temperature float64 // logits are divided by it; 0 takes the largest logit, and the other fields do nothing
	TopK        int     // keep the K most probable tokens; 0 keeps all
	TopP        float64 // keep the fewest of the most probable tokens whose probabilities reach P (arXiv:1904.09751); 0 and 1 keep all
	MinP        float64 // keep tokens of at least P times the largest probability (arXiv:2407.01082); 0 keeps all
	Seed        uint64
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
		{o.Temperature >= 0 && !math.IsInf(o.Temperature, 0), "temperature", o.Temperature, "0 (greedy) or a positive number"},
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
	state   uint64
	allowed []bool
	kept    []Candidate
}

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
	return &Sampler{o: o, state: o.Seed}, nil
}

// Greedy says that the largest logit is always taken.
func (s *Sampler) Greedy() bool { return s.o.Temperature == 0 }

// Restrict lets only tokens t with allowed[t] be drawn from now on, renormalised; tokens beyond its length are not
// allowed. Nil allows all. The slice is kept.
func (s *Sampler) Restrict(allowed []bool) { s.allowed = allowed }

// State and SetState save and restore the generator: SplitMix64.
func (s *Sampler) State() uint64         { return s.state }
func (s *Sampler) SetState(state uint64) { s.state = state }

// Uniform draws from [0,1).
func (s *Sampler) Uniform() float64 {
	s.state += 0x9e3779b97f4a7c15
	z := s.state
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return float64((z^z>>31)>>11) * 0x1p-53
}

// Next draws a token. Errors: ErrNotFinite for a logit of NaN or +Inf (-Inf is a token that cannot come),
// ErrNothingAllowed.
func (s *Sampler) Next(logits []float32) (int32, error) {
	if s.o.Temperature == 0 {
		return Largest(logits, s.allowed)
	}
	kept, err := s.Distribution(logits)
	if err != nil {
		return 0, err
	}
	return Draw(kept, s.Uniform()), nil
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

// Distribution returns the tokens that Next draws from, each with a positive probability; they add to 1. With TopK or
// TopP they are ordered, the most probable first and the smaller token first where they are equal; otherwise by token. The
// slice is valid until the next call. Errors: as of Next.
func (s *Sampler) Distribution(logits []float32) ([]Candidate, error) {
	best, err := Largest(logits, s.allowed)
	if err != nil {
		return nil, err
	}
	s.kept = s.kept[:0]
	if s.o.Temperature == 0 {
		s.kept = append(s.kept, Candidate{best, 1})
		return s.kept, nil
	}
	top := float64(logits[best])
	for i, v := range logits {
		if !allows(s.allowed, i) {
			continue
		}
		if p := math.Exp((float64(v) - top) / s.o.Temperature); p > 0 {
			s.kept = append(s.kept, Candidate{int32(i), p})
		}
	}
	s.filter()
	scale := 1 / total(s.kept)
	for i := range s.kept {
		s.kept[i].Prob *= scale
	}
	return s.kept, nil
}

// filter drops candidates by TopK, TopP and MinP. The largest Prob is 1.
func (s *Sampler) filter() {
	nucleus := s.o.TopP > 0 && s.o.TopP < 1
	if s.o.TopK > 0 || nucleus {
		slices.SortStableFunc(s.kept, func(a, b Candidate) int { return cmp.Compare(b.Prob, a.Prob) })
	}
	if s.o.TopK > 0 && s.o.TopK < len(s.kept) {
		s.kept = s.kept[:s.o.TopK]
	}
	if nucleus {
		goal, sum := s.o.TopP*total(s.kept), 0.0
		for i, c := range s.kept {
			if sum += c.Prob; sum >= goal {
				s.kept = s.kept[:i+1]
				break
			}
		}
	}
	if s.o.MinP > 0 {
		s.kept = slices.DeleteFunc(s.kept, func(c Candidate) bool { return c.Prob < s.o.MinP })
	}
}

func total(kept []Candidate) float64 {
	sum := 0.0
	for _, c := range kept {
		sum += c.Prob
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
