package pipeline

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"

	"mito/backend"
	"mito/engine/data"
	"mito/engine/dist"
	"mito/engine/model"
	"mito/engine/runs"
	"mito/engine/train"
)

// ErrCacheOfRanks refuses a cache of teachers' outputs in a run of several ranks, each of which sees a part of a batch only.
var ErrCacheOfRanks = errors.New("several ranks cannot keep a cache of the teachers' outputs: each asks the teachers about its own rows")

// follows says that another rank keeps the folder of the run.
func (o *FitOptions) follows() bool { return o.Ranks != nil && o.Ranks.Rank() > 0 }

// checkFolder refuses a folder for a run, where this process keeps it.
func (o *FitOptions) checkFolder() error {
	if o.Ranks != nil && o.Cache {
		return ErrCacheOfRanks
	}
	if o.follows() {
		return nil
	}
	return CheckOutput(o.Dir, o.Resume)
}

// claim makes the folder this process's, where it keeps it.
func (o *FitOptions) claim() (closer, error) {
	if o.follows() {
		return func() error { return nil }, nil
	}
	lock, err := runs.Claim(o.Dir, o.Resume)
	if err != nil {
		return nil, err
	}
	return lock.Release, nil
}

// backend is what the model is built on.
func (o *FitOptions) backend(b backend.Backend) backend.Backend {
	if o.Ranks == nil {
		return b
	}
	return o.Ranks.Backend(b)
}

// trainer makes the trainer of this process, alone or in its group.
func (o *FitOptions) trainer(m *model.Model, source data.Source, objective train.Objective) (*train.Trainer, error) {
	if o.Ranks == nil {
		return train.New(m, source, objective, o.Train)
	}
	o.Ranks.Train(m.Gradients())
	return train.NewIn(o.Ranks, m, source, objective, o.Train)
}

// same compares with the other ranks what makes the run.
func (f *fit) same(source data.Source, eval data.Eval, objective train.Objective) error {
	if f.Ranks == nil {
		return nil
	}
	shape, err := json.Marshal(f.config)
	if err != nil {
		return err
	}
	settings := f.Train
	settings.Seed = 0
	options, err := json.Marshal(struct {
		Train  train.Options
		Init   model.Init
		Sparse any
	}{settings, f.Init, f.Sparse})
	if err != nil {
		return err
	}
	learns := "the labels"
	if objective != nil {
		learns = objective.Hash()
	}
	return f.Ranks.Same([]dist.Fact{
		{Name: "the seed", Value: fmt.Sprint(f.Train.Seed)},
		{Name: "the model", Value: string(shape)},
		{Name: "the tokenizer", Value: f.w.Tokenizer.Hash()},
		{Name: "the corpus", Value: source.Hash()},
		{Name: "the held-out part", Value: eval.Hash()},
		{Name: "what is learned", Value: learns},
		{Name: "the beginning", Value: fmt.Sprintf("%+v", f.t.Origin)},
		{Name: "the settings", Value: string(options)},
		{Name: "the arithmetic", Value: train.Arithmetic(f.t.Model.Backend().Info())},
	})
}

// share has ranks share the batches of an evaluation; nil for this process alone.
func (e *evaluator) share(ranks *dist.Ranks) {
	if ranks != nil {
		e.ranks = ranks
	}
}

// together evaluates with the other ranks and adds up the losses in the order of the batches, as one process does. Batch i is rank
// i mod R's.
func (e *evaluator) together(ctx context.Context, add func([]float32)) error {
	rank, size, n, count := e.ranks.Rank(), e.ranks.Size(), len(e.host), int(e.eval.Batches())
	mine := []byte{0} // and what it came to
	var failed error
	for i := rank; i < count; i += size {
		if failed = e.losses(ctx, int64(i)); failed != nil {
			mine = []byte{1}
			break
		}
		for _, l := range e.host {
			mine = binary.LittleEndian.AppendUint32(mine, math.Float32bits(l))
		}
	}
	all, err := e.ranks.Exchange(mine)
	if err != nil || failed != nil {
		return errors.Join(failed, err)
	}
	for from, b := range all {
		if len(b) == 0 || b[0] != 0 {
			return train.ErrStopped
		}
		if batches := (count - from + size - 1) / size; len(b) != 1+4*n*batches {
			return fmt.Errorf("rank %d evaluated %d bytes of losses, want %d", from, len(b)-1, 4*n*batches)
		}
	}
	losses := make([]float32, n)
	for i := range count {
		b := all[i%size][1+4*n*(i/size):]
		for j := range losses {
			losses[j] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*j:]))
		}
		add(losses)
	}
	return nil
}
