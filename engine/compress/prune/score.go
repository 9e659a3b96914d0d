package prune

import (
	"context"
	"errors"
	"fmt"

	"mito/backend"
	"mito/engine/arch"
	"mito/engine/compress/quant"
	"mito/engine/model"
)

// ErrNoCalibration says that a score that looks at data was given none.
var ErrNoCalibration = errors.New("no calibration data")

// scorer gives the scores of weights, element by element.
type scorer struct {
	score  Score
	w      *model.Weights
	inputs map[place][]float64  // Wanda: mean squares
	taylor map[string][]float64 // by tensor
}

// newScorer computes what the score needs beside the weights.
func newScorer(ctx context.Context, b backend.Backend, w *model.Weights, cal *Calibration, score Score) (s *scorer, err error) {
	s = &scorer{score: score, w: w}
	if err := cal.check(score); err != nil {
		return nil, err
	}
	switch score {
	case Wanda:
		s.inputs, err = moments(ctx, b, w, cal, false, func(int) bool { return true })
	case Taylor:
		s.taylor, err = sensitivities(ctx, b, w, cal)
	}
	return s, err
}

// check refuses a score without the data that it looks at.
func (c *Calibration) check(score Score) error {
	if score != Magnitude && (c == nil || c.Batch.Rows == 0) {
		return fmt.Errorf("prune: score %s: %w", score, ErrNoCalibration)
	}
	return nil
}

// Record says which data the scores have seen, and refuses data that the model will be judged by. It is nil for none. Errors:
// quant.ErrOverlap.
func (c *Calibration) Record(evaluation *quant.Samples) (*quant.CalibrationRecord, error) {
	if c == nil {
		return nil, nil
	}
	return (&quant.Calibration{Samples: c.Samples}).Record(evaluation)
}

// tensor returns the scores of a tensor of a module. Columns that no input is known for, such as those of a table that is
// looked up, count as if every input were 1.
func (s *scorer) tensor(m arch.Module, name string) []float64 {
	if s.score == Taylor {
		return s.taylor[name]
	}
	w := s.w.Tensors[name]
	out := make([]float64, len(w))
	square := s.inputs[place{m.Layer, m.Part.Input()}]
	if len(square) != m.Cols {
		square = nil
	}
	for i, v := range w {
		x := float64(v)
		out[i] = float64(x * x)
		if square != nil && name == m.Weight().Name {
			out[i] = float64(out[i] * square[i%m.Cols])
		}
	}
	return out
}
