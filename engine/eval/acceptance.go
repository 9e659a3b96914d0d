package eval

import (
	"context"
	"fmt"
	"math"

	"mito/engine/data"
	"mito/engine/decode"
)

// Acceptance is how much of what a draft guesses its target accepts, over positions of held-out texts.
type Acceptance struct {
	Sampled float64 `json:"sampled"` // at temperature 1: the mean over positions of Σ min(p, q) (Leviathan et al., arXiv:2211.17192, theorem 3.5)
	Greedy  float64 `json:"greedy"`  // without a temperature: the share of positions where both take the same token
	Tokens  int     `json:"tokens"`
}

// PerPass is the tokens that a pass of the target gives when a draft guesses n ahead and each guess is accepted with probability a.
func PerPass(a float64, n int) float64 {
	if a >= 1 {
		return float64(n + 1)
	}
	return (1 - math.Pow(a, float64(n+1))) / (1 - a)
}

func (a Acceptance) String() string {
	return fmt.Sprintf("of its guesses the target accepts %.1f%% at temperature 1 (%.2f tokens a pass with 4 guesses), %.1f%% without (%.2f)",
		100*a.Sampled, PerPass(a.Sampled, 4), 100*a.Greedy, PerPass(a.Greedy, 4))
}

// acceptanceTokens are enough: the standard error of a share is below half of a hundredth.
const acceptanceTokens = 20_000

// Accepted measures how much of a draft's guesses a target accepts on held-out rows, up to 20,000 tokens of them. The two share
// their tokens. Errors: as Loss.
func Accepted(ctx context.Context, target, draft decode.Runtime, e data.Eval) (a Acceptance, err error) {
	if _, time := e.Shape(); time > min(target.Context(), draft.Context()) {
		return a, fmt.Errorf("the texts have up to %d tokens, the contexts are %d and %d: %w", time, target.Context(), draft.Context(), decode.ErrContextFull)
	}
	t, err := target.NewSession(1)
	if err != nil {
		return a, err
	}
	d, err := draft.NewSession(1)
	if err != nil {
		return a, err
	}
	p := acceptance{vocab: min(target.VocabSize(), draft.VocabSize())}
	var b data.Batch
	for step := range e.Batches() {
		if err := e.Fill(&b, step); err != nil {
			return a, err
		}
		for row := range b.Rows {
			if p.n >= acceptanceTokens {
				break
			}
			p.kept, p.at = p.kept[:0], 0
			if err := score(ctx, t, &b, row, keeping{&p}); err != nil {
				return a, err
			}
			if err := score(ctx, d, &b, row, &p); err != nil {
				return a, err
			}
		}
	}
	if p.n == 0 {
		return a, ErrTooFewRows
	}
	return Acceptance{p.sampled / float64(p.n), p.greedy / float64(p.n), p.n}, nil
}

// acceptance compares the logits of a draft with those of its target, which were kept.
type acceptance struct {
	vocab           int
	kept            []float32 // [positions,vocab]
	at, n           int
	sampled, greedy float64
}

type keeping struct{ *acceptance }

func (k keeping) visit(_ float64, _ int32, logits []float32) error {
	k.kept = append(k.kept, logits[:k.vocab]...)
	return nil
}

func (a *acceptance) visit(_ float64, _ int32, logits []float32) error {
	target, logits := a.kept[a.at*a.vocab:][:a.vocab], logits[:a.vocab]
	a.at++
	p, err := softened(target, 1)
	if err != nil {
		return err
	}
	q, err := softened(logits, 1)
	if err != nil {
		return err
	}
	for i := range target {
		a.sampled += math.Exp(min(p.log(target[i]), q.log(logits[i])))
	}
	x, err := decode.Largest(target, nil)
	if err != nil {
		return err
	}
	y, err := decode.Largest(logits, nil)
	if err != nil {
		return err
	}
	if a.n++; x == y {
		a.greedy++
	}
	return nil
}
