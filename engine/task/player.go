package task

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
)

// Player answers prompts. Score hands it every game in flight at once, so that
// a model can run them as one batch.
type Player interface {
	// Choose returns one choice per prompt. legal[i] lists the legal answers to
	// prompts[i], never empty; the answer must be one of them. Choose must not
	// keep or change its arguments.
	Choose(prompts []string, legal [][]string) ([]Choice, error)
}

// Rater is a player that also says how likely it holds answers to be.
type Rater interface {
	Player
	// Rate returns for each prompt the probabilities of answers, each of one
	// character, among each other: they add up to 1. The caller must not change
	// them.
	Rate(prompts, answers []string) ([][]float64, error)
}

// Choice is a player's answer to one prompt.
type Choice struct {
	// Answer is the move to play, one of the legal answers.
	Answer string
	// OwnLegal says whether the player's own first choice, before illegal
	// answers were masked out, was legal.
	OwnLegal bool
}

// PlayerError reports a player that broke the contract of Choose.
type PlayerError struct {
	Task, Prompt, Reason string
}

func (e *PlayerError) Error() string {
	if e.Prompt == "" {
		return fmt.Sprintf("task: %s: player: %s", e.Task, e.Reason)
	}
	return fmt.Sprintf("task: %s: player: prompt %q: %s", e.Task, e.Prompt, e.Reason)
}

// ask calls the player and checks its answers. It returns the choices and the
// number whose own first choice was legal.
func ask(task string, p Player, prompts []string, legal [][]string) ([]Choice, int, error) {
	choices, err := p.Choose(prompts, legal)
	if err != nil {
		return nil, 0, fmt.Errorf("task: %s: player: %w", task, err)
	}
	if len(choices) != len(prompts) {
		return nil, 0, &PlayerError{Task: task, Reason: fmt.Sprintf("%d choices for %d prompts", len(choices), len(prompts))}
	}
	own := 0
	for i, c := range choices {
		if !slices.Contains(legal[i], c.Answer) {
			return nil, 0, &PlayerError{Task: task, Prompt: prompts[i],
				Reason: fmt.Sprintf("answer %q is not one of the legal answers %q", c.Answer, legal[i])}
		}
		if c.OwnLegal {
			own++
		}
	}
	return choices, own, nil
}

// errNoLegal is returned by the players of this package when asked to choose
// from nothing.
var errNoLegal = errors.New("task: no legal answer to choose from")

type randomPlayer struct{ rng *rand.Rand }

// RandomPlayer returns the baseline that draws uniformly from the legal
// answers. It is the same for the same seed and order of prompts, and not safe
// for concurrent use. It looks at the legal answers only, so OwnLegal is always
// true and says nothing.
func RandomPlayer(seed uint64) Player {
	return &randomPlayer{rng: rand.New(rand.NewPCG(seed, 0x72616e646f6d))}
}

func (r *randomPlayer) Choose(prompts []string, legal [][]string) ([]Choice, error) {
	out := make([]Choice, len(prompts))
	for i := range prompts {
		if i >= len(legal) || len(legal[i]) == 0 {
			return nil, errNoLegal
		}
		out[i] = Choice{Answer: legal[i][r.rng.IntN(len(legal[i]))], OwnLegal: true}
	}
	return out, nil
}

type solverPlayer struct{ t Task }

// SolverPlayer returns the player that gives the first of the answers that t's
// solver finds best: the ceiling to compare a model with. It is safe for
// concurrent use.
func SolverPlayer(t Task) Player { return solverPlayer{t} }

func (s solverPlayer) Choose(prompts []string, legal [][]string) ([]Choice, error) {
	out := make([]Choice, len(prompts))
	errs := make([]error, len(prompts))
	err := parallel(context.Background(), len(prompts), func(lo, hi int) {
		for i := lo; i < hi; i++ {
			best, err := s.t.Solve(prompts[i])
			if err != nil {
				errs[i] = err
				return
			}
			out[i] = Choice{Answer: best[0], OwnLegal: slices.Contains(legal[i], best[0])}
		}
	})
	return out, errors.Join(append(errs, err)...)
}
