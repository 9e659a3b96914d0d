package eval

import (
	"context"
	"fmt"
	"math"

	"mito/engine/data"
	"mito/engine/decode"
)

// Loss evaluates a runtime over a held-out source: the weighted sum of -ln p(target) in float64, with the weights and
// bytes of the source. The rows of a batch are split over the runtime's threads and added in their order, so the result
// does not depend on the number of threads. It stops soon after ctx ends. Errors: *PositionError, decode.ErrContextFull,
// decode.ErrToken, decode.ErrNotFinite, those of ctx and of the source.
func Loss(ctx context.Context, r decode.Runtime, e data.Eval) (data.Loss, error) {
	rows, time := e.Shape()
	if time > r.Context() {
		return data.Loss{}, fmt.Errorf("the texts have up to %d tokens, the model's context is %d: %w", time, r.Context(), decode.ErrContextFull)
	}
	// No more threads than rows have anything to do, and each needs a cache.
	t := lossTask{ctx: ctx, scorers: make(chan decode.Session, max(1, min(r.Threads(), rows)))}
	for range cap(t.scorers) {
		s, err := r.NewSession(1)
		if err != nil {
			return data.Loss{}, err
		}
		t.scorers <- s
	}
	total := data.Loss{Bytes: e.Bytes()}
	for step := range e.Batches() {
		if err := ctx.Err(); err != nil {
			return data.Loss{}, err
		}
		if err := e.Fill(&t.batch, step); err != nil {
			return data.Loss{}, err
		}
		if len(t.rows) < t.batch.Rows {
			t.rows = make([]rowLoss, t.batch.Rows)
		}
		r.Run(t.batch.Rows, 1, &t)
		if err := ctx.Err(); err != nil {
			return data.Loss{}, err
		}
		for i, row := range t.rows[:t.batch.Rows] {
			if row.err != nil {
				return data.Loss{}, fmt.Errorf("loss of batch %d, row %d: %w", step, i, row.err)
			}
			total.Nats += row.nats
			total.Weight += row.weight
		}
	}
	return total, nil
}

// lossTask evaluates the rows of a batch.
type lossTask struct {
	ctx     context.Context
	batch   data.Batch
	rows    []rowLoss
	scorers chan decode.Session // one for each thread
}

// Do evaluates rows lo to hi.
func (t *lossTask) Do(lo, hi int) {
	s := <-t.scorers
	for row := lo; row < hi; row++ {
		t.rows[row] = score(t.ctx, s, &t.batch, row)
	}
	t.scorers <- s
}

type rowLoss struct {
	nats, weight float64
	err          error
}

// score computes one row of a batch. Tokens before the first target that counts are only read, those behind the last are
// left out.
func score(ctx context.Context, s decode.Session, b *data.Batch, row int) (l rowLoss) {
	if l.err = ctx.Err(); l.err != nil {
		return l
	}
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
	s.Reset()
	if _, l.err = decode.Feed(ctx, s, 0, inputs[:first]); l.err != nil {
		return l
	}
	l.err = s.Score(0, inputs[first:end], func(i int, logits []float32) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		w := float64(weights[first+i])
		if w == 0 {
			return nil
		}
		nats, err := crossEntropy(logits, targets[first+i])
		l.nats += float64(w * nats)
		l.weight += w
		return err
	})
	return l
}

// PositionError reports a batch whose positions do not count from 0: a session cannot decode that.
type PositionError struct{ Index, Position int }

func (e *PositionError) Error() string {
	return fmt.Sprintf("token %d is at position %d, want positions that count from 0", e.Index, e.Position)
}

// crossEntropy returns -ln softmax(logits)[target] in float64.
func crossEntropy(logits []float32, target int32) (float64, error) {
	if target < 0 || int(target) >= len(logits) {
		return 0, fmt.Errorf("target %d, the vocabulary has %d: %w", target, len(logits), decode.ErrToken)
	}
	most := float32(math.Inf(-1))
	for _, v := range logits {
		if v > most || v != v { // a NaN stays: nothing is larger
			most = v
		}
	}
	top := float64(most)
	if math.IsNaN(top) || math.IsInf(top, 0) {
		return 0, decode.ErrLogits
	}
	sum := 0.0
	for _, v := range logits {
		sum += math.Exp(float64(v) - top)
	}
	return top + math.Log(sum) - float64(logits[target]), nil
}
