package train

import (
	"errors"
	"fmt"
	"math"

	"mito/engine/model"
)

// ErrDiverged is what the errors of a run that diverged wrap: *DivergedError and *LossError.
var ErrDiverged = errors.New("diverged")

// DivergedError says that a run produced numbers that are not finite.
type DivergedError struct {
	Step     int
	Tensor   string // first tensor with a value that is not finite
	Loss     float64
	GradNorm float64
}

func (e *DivergedError) Error() string {
	return fmt.Sprintf("train: diverged at step %d (loss %g, gradient norm %g): %s holds NaN or Inf; "+
		"start again with a lower learning rate, a longer warm-up or a clip norm; the last checkpoint is from before",
		e.Step, e.Loss, e.GradNorm, e.Tensor)
}

func (t *Trainer) checkFinite(r StepResult) error {
	finite := func(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }
	if finite(r.Loss) && finite(r.GradNorm) {
		return nil
	}
	e := &DivergedError{Step: r.Step, Loss: r.Loss, GradNorm: r.GradNorm, Tensor: "the loss"}
	for _, flat := range []struct {
		what string
		get  func(p *model.Param) ([]float32, error)
	}{
		{"", func(p *model.Param) ([]float32, error) { return t.read(p, false) }},
		{"the gradient of ", func(p *model.Param) ([]float32, error) { return t.read(p, true) }},
	} {
		for _, p := range t.Model.Params.Trained() {
			values, err := flat.get(p)
			if err != nil {
				return errors.Join(e, err)
			}
			for _, v := range values {
				if !finite(float64(v)) {
					e.Tensor = flat.what + p.Name
					return e
				}
			}
		}
	}
	return e
}

func (t *Trainer) read(p *model.Param, grad bool) ([]float32, error) {
	values := make([]float32, p.Size())
	if grad {
		return values, t.b.Download(values, p.Grad)
	}
	return values, t.b.Download(values, p.Value)
}

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
