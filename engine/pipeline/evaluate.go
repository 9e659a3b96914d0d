package pipeline

import (
	"context"

	"mito/backend"
	"mito/engine/data"
	"mito/engine/model"
)

// evalRows is the number of sequences that the runtime evaluates or plays at once.
const evalRows = 64

// fitRows is the number of sequences that an evaluation inside a training run computes at once. No result depends on it, but
// a run that is stopped waits for them, and they take memory beside the training's: some thousand tokens are enough to keep a
// machine busy, and little enough to wait for.
func fitRows(context int) int { return max(1, min(evalRows, 4096/max(1, context))) }

// evaluator computes the loss of a model on its backend over a split.
type evaluator struct {
	m     *model.Model
	eval  data.Eval
	acts  *model.Activations
	batch data.Batch
	host  []float32
}

func newEvaluator(m *model.Model, eval data.Eval) (*evaluator, error) {
	rows, time := eval.Shape()
	acts, err := m.NewActivations(rows, time, false)
	if err != nil {
		return nil, err
	}
	return &evaluator{m: m, eval: eval, acts: acts, host: make([]float32, rows*time)}, nil
}

func (e *evaluator) Close() error { return e.acts.Close() }

// loss walks the split once. Errors: ctx's, those of the backend and of the split.
func (e *evaluator) loss(ctx context.Context) (data.Loss, error) {
	b, a := e.m.Backend(), e.acts
	total := data.Loss{Weight: e.eval.Weight(), Bytes: e.eval.Bytes()}
	for i := range e.eval.Batches() {
		if err := ctx.Err(); err != nil {
			return data.Loss{}, err
		}
		if err := e.eval.Fill(&e.batch, i); err != nil {
			return data.Loss{}, err
		}
		if err := backend.First(
			b.Upload(a.Inputs, e.batch.Inputs), b.Upload(a.Targets, e.batch.Targets),
			b.Upload(a.Weights, e.batch.Weights), b.Upload(a.Positions, e.batch.Positions),
			e.m.Forward(a),
			b.CrossEntropy(a.Loss, nil, a.Logits, a.Targets, a.Weights, backend.CrossEntropyArgs{}),
			b.Download(e.host, a.Loss),
		); err != nil {
			return data.Loss{}, err
		}
		for _, l := range e.host {
			total.Nats += float64(l)
		}
	}
	return total, nil
}
