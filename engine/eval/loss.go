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
	total := data.Loss{Bytes: e.Bytes()}
	err := overRows(ctx, r, e, func(int) rowVisitor { return &rowLoss{} }, func(_ int, v rowVisitor) {
		row := v.(*rowLoss)
		total.Nats += row.nats
		total.Weight += row.weight
	})
	if err != nil {
		return data.Loss{}, err
	}
	return total, nil
}

// rowVisitor sees the targets of one row that count, in order, with the logits that they are judged by.
type rowVisitor interface {
	visit(weight float64, target int32, logits []float32) error
}

type rowLoss struct{ nats, weight float64 }

func (l *rowLoss) visit(w float64, target int32, logits []float32) error {
	nats, err := crossEntropy(logits, target)
	l.nats += float64(w * nats)
	l.weight += w
	return err
}

// overRows sends every row of a held-out source through the model: start makes the visitor of a row of a batch, and done gets it
// when it has seen all, in the order of the rows. The rows of a batch are split over the runtime's threads. Errors: as Loss.
func overRows(ctx context.Context, r decode.Runtime, e data.Eval, start func(row int) rowVisitor, done func(row int, v rowVisitor)) error {
	rows, time := e.Shape()
	if time > r.Context() {
		return fmt.Errorf("the texts have up to %d tokens, the model's context is %d: %w", time, r.Context(), decode.ErrContextFull)
	}
	// No more threads than rows have anything to do, and each needs a cache.
	t := rowsTask{ctx: ctx, start: start, scorers: make(chan decode.Session, max(1, min(r.Threads(), rows)))}
	for range cap(t.scorers) {
		s, err := r.NewSession(1)
		if err != nil {
			return err
		}
		t.scorers <- s
	}
	for step := range e.Batches() {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := e.Fill(&t.batch, step); err != nil {
			return err
		}
		if n := t.batch.Rows; len(t.rows) < n {
			t.rows, t.errs = make([]rowVisitor, n), make([]error, n)
		}
		r.Run(t.batch.Rows, 1, &t)
		if err := ctx.Err(); err != nil {
			return err
		}
		for i, row := range t.rows[:t.batch.Rows] {
			if t.errs[i] != nil {
				return fmt.Errorf("loss of batch %d, row %d: %w", step, i, t.errs[i])
			}
			done(i, row)
		}
	}
	return nil
}

// rowsTask evaluates the rows of a batch.
type rowsTask struct {
	ctx     context.Context
	batch   data.Batch
	start   func(row int) rowVisitor
	rows    []rowVisitor
	errs    []error
	scorers chan decode.Session // one for each thread
}

// Do evaluates rows lo to hi.
func (t *rowsTask) Do(lo, hi int) {
	s := <-t.scorers
	for row := lo; row < hi; row++ {
		t.rows[row] = t.start(row)
		t.errs[row] = score(t.ctx, s, &t.batch, row, t.rows[row])
	}
	t.scorers <- s
}

// score computes one row of a batch. Tokens before the first target that counts are only read, those behind the last are
// left out.
func score(ctx context.Context, s decode.Session, b *data.Batch, row int, v rowVisitor) error {
	if err := ctx.Err(); err != nil {
		return err
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
		return nil
	}
	for i, p := range b.Positions[at:][:end] {
		if int(p) != i {
			return &PositionError{Index: i, Position: int(p)}
		}
	}
	s.Reset()
	if _, err := decode.Feed(ctx, s, 0, inputs[:first]); err != nil {
		return err
	}
	return s.Score(0, inputs[first:end], func(i int, logits []float32) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		w, target := float64(weights[first+i]), targets[first+i]
		if w == 0 {
			return nil
		}
		if err := known(target, logits); err != nil {
			return err
		}
		return v.visit(w, target, logits)
	})
}

// PositionError reports a batch whose positions do not count from 0: a session cannot decode that.
type PositionError struct{ Index, Position int }

func (e *PositionError) Error() string {
	return fmt.Sprintf("token %d is at position %d, want positions that count from 0", e.Index, e.Position)
}

// known refuses a target that has no logit.
func known(target int32, logits []float32) error {
	if target < 0 || int(target) >= len(logits) {
		return fmt.Errorf("target %d, the vocabulary has %d: %w", target, len(logits), decode.ErrToken)
	}
	return nil
}

// crossEntropy returns -ln softmax(logits)[target] in float64.
func crossEntropy(logits []float32, target int32) (float64, error) {
	if err := known(target, logits); err != nil {
		return 0, err
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
