package train

import (
	"errors"
	"fmt"
	"math"
)

// ErrDiverged is what the errors of a run that diverged wrap: *DivergedError and *LossError.
var ErrDiverged = errors.New("diverged")

// Unwrap makes the error an ErrDiverged.
func (e *DivergedError) Unwrap() error { return ErrDiverged }

// divergedNats is how far above that of a uniform guess a loss is when the run counts as diverged: right tokens then have,
// in the geometric mean, e^-10 (one 22,000th) of the probability that knowing nothing gives them. Models that have learnt
// little, or their training text by heart, stay a few nats from the guess; the rule is about cross-entropy, whatever
// objective was trained on, because objectives have scales of their own.
const divergedNats = 10

// LossError says that a run ended with finite weights that are far worse than none.
type LossError struct {
	Step    int
	Loss    float64 // cross-entropy of the evaluation, nats a token
	Uniform float64 // that of a model which finds every token equally likely, ln V
}

func (e *LossError) Error() string {
	return fmt.Sprintf("train: diverged by step %d: the evaluated loss is %.6g nats a token, guessing every token alike has %.3f; "+
		"start again with a lower learning rate, a longer warm-up or a clip norm", e.Step, e.Loss, e.Uniform)
}

// Unwrap makes the error an ErrDiverged.
func (e *LossError) Unwrap() error { return ErrDiverged }

// CheckLoss judges the evaluated cross-entropy, in nats a token, at the end of a run over a vocabulary of V tokens; the error
// is a *LossError.
func CheckLoss(step int, loss float64, vocab int) error {
	if uniform := math.Log(float64(vocab)); !(loss <= uniform+divergedNats) {
		return &LossError{Step: step, Loss: loss, Uniform: uniform}
	}
	return nil
}
