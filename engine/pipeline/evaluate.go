package pipeline

import (
	"context"

	"mito/backend"
	"mito/engine/data"
	"mito/engine/model"
	"mito/engine/train"
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
	ranks train.Group // that share the batches; nil for this process alone
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

// loss walks the split once, and where ranks share it, each walks a part. Errors: ctx's, train.ErrStopped where another rank was told
// to stop, those of the backend and of the split.
func (e *evaluator) loss(ctx context.Context) (data.Loss, error) {
	total := data.Loss{Weight: e.eval.Weight(), Bytes: e.eval.Bytes()}
	add := func(losses []float32) {
		for _, l := range losses {
			total.Nats += float64(l)
		}
	}
	if e.ranks != nil {
		err := e.together(ctx, add)
		return total, err
	}
	for i := range e.eval.Batches() {
		if err := e.losses(ctx, i); err != nil {
			return data.Loss{}, err
		}
		add(e.host)
	}
	return total, nil
}

// losses sets e.host to the losses of a batch of the split.
func (e *evaluator) losses(ctx context.Context, i int64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := e.eval.Fill(&e.batch, i); err != nil {
		return err
	}
	b, a := e.m.Backend(), e.acts
	return backend.First(
		b.Upload(a.Inputs, e.batch.Inputs), b.Upload(a.Targets, e.batch.Targets),
		b.Upload(a.Weights, e.batch.Weights), b.Upload(a.Positions, e.batch.Positions),
		e.m.Forward(a),
		b.CrossEntropy(a.Loss, nil, a.Logits, a.Targets, a.Weights, backend.CrossEntropyArgs{}),
		b.Download(e.host, a.Loss),
	)
}
