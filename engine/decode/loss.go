package decode

import (
	"errors"
	"fmt"
	"math"
	"sync"

	"mito/engine/data"
)

// Loss evaluates a runtime over a held-out source: the weighted sum of -ln p(target) in float64, with the weights and
// bytes of the source. The rows of a batch are split over the runtime's threads and added in their order, so the result
// does not depend on the number of threads. Errors: *PositionError, ErrContextFull, ErrToken, ErrNotFinite, those of the
// source.
func Loss(r Runtime, e data.Eval) (data.Loss, error) {
	total := data.Loss{Bytes: e.Bytes()}
	scorers := make([]*scorer, max(1, r.Threads()))
	for i := range scorers {
		s, err := r.NewSession(1)
		if err != nil {
			return data.Loss{}, err
		}
		scorers[i] = &scorer{session: s}
	}
	var b data.Batch
	var rows []rowLoss
	for step := range e.Batches() {
		if err := e.Fill(&b, step); err != nil {
			return data.Loss{}, err
		}
		if len(rows) < b.Rows {
			rows = make([]rowLoss, b.Rows)
		}
		var wg sync.WaitGroup
		for i, s := range scorers {
			wg.Go(func() {
				for row := i; row < b.Rows; row += len(scorers) {
					rows[row] = s.score(&b, row)
				}
			})
		}
		wg.Wait()
		for i, row := range rows[:b.Rows] {
			if row.err != nil {
				return data.Loss{}, fmt.Errorf("decode: loss: batch %d, row %d: %w", step, i, row.err)
			}
			total.Nats += row.nats
			total.Weight += row.weight
		}
	}
	return total, nil
}

type rowLoss struct {
	nats, weight float64
	err          error
}

// scorer evaluates rows one after another.
type scorer struct{ session Session }

// score computes one row of a batch. Tokens before the first target that counts are only read, those behind the last are
// left out.
func (s *scorer) score(b *data.Batch, row int) (l rowLoss) {
	at := row * b.Time
	inputs, targets, weights := b.Inputs[at:][:b.Time], b.Targets[at:][:b.Time], b.Weights[at:][:b.Time]
	first, end := 0, b.Time
	for end > 0 && weights[end-1] == 0 {
		end--
	}
	for first < end && weights[first] == 0 {
		first++
	}
	if first == end {
		return l
	}
	for i, p := range b.Positions[at:][:end] {
		if int(p) != i {
			l.err = &PositionError{Index: i, Position: int(p)}
			return l
		}
	}
	s.session.Reset()
	if _, l.err = s.session.Prefill(0, inputs[:first]); l.err != nil {
		return l
	}
	l.err = s.session.Score(0, inputs[first:end], func(i int, logits []float32) error {
		w := float64(weights[first+i])
		if w == 0 {
			return nil
		}
		nats, err := crossEntropy(logits, targets[first+i])
		l.nats += w * nats
		l.weight += w
		return err
	})
	return l
}

// PositionError reports a batch whose positions do not count from 0: a session cannot decode that.
type PositionError struct{ Index, Position int }

func (e *PositionError) Error() string {
	return fmt.Sprintf("decode: token %d is at position %d, want positions that count from 0", e.Index, e.Position)
}

// crossEntropy returns -ln softmax(logits)[target] in float64.
func crossEntropy(logits []float32, target int32) (float64, error) {
	if target < 0 || int(target) >= len(logits) {
		return 0, fmt.Errorf("decode: target %d, the vocabulary has %d: %w", target, len(logits), ErrToken)
	}
	top := math.Inf(-1)
	for _, v := range logits {
		top = math.Max(top, float64(v)) // NaN stays
	}
	if math.IsNaN(top) || math.IsInf(top, 0) {
		return 0, errLogits
	}
	sum := 0.0
	for _, v := range logits {
		sum += math.Exp(float64(v) - top)
	}
	return top + math.Log(sum) - float64(logits[target]), nil
}

var errLogits = errors.Join(errors.New("decode: the model's logits are NaN or infinite"), ErrNotFinite)
