package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"mito/backend"
	"mito/backend/cpu"
	"mito/engine/data"
	"mito/engine/model"
	"mito/engine/train"
)

// trainBatch is the number of sequences of a training step, each as long as the context.
const trainBatch = 8

// planTrain adds training of each class with one thread and with several, what more threads bring, and where the time
// goes.
func planTrain(m *meter) error {
	for _, c := range classes() {
		if err := addTraining(m, c); err != nil {
			return err
		}
	}
	return nil
}

func addTraining(m *meter, c class) error {
	var probes []*probe
	var runs []*training
	for _, threads := range []int{1, m.o.Threads} {
		t, err := newTraining(m.ctx, c, threads, train.AdamW, 1)
		if err != nil {
			return err
		}
		m.keep(t)
		runs = append(runs, t)
		limit := fmaLimit(threads)
		probes = append(probes, m.add(
			Result{Name: fmt.Sprintf("train/%s, batch %dx%d, AdamW", c.name, trainBatch, c.config.Context), Unit: unitTokens, Threads: threads, LimitName: limitFMA},
			t.tokens, func() (float64, error) {
				gflops, err := limit()
				return gflops * 1e9 / c.trainFLOPs(c.config.Context), err
			}))
	}
	m.combine(Result{Name: fmt.Sprintf("train/%s, %d threads against 1", c.name, m.o.Threads), Unit: unitTimes, Threads: m.o.Threads},
		probes[1], probes[0], divide)
	muon, err := newTraining(m.ctx, c, m.o.Threads, train.Muon, 1)
	if err != nil {
		return err
	}
	m.keep(muon)
	m.add(Result{Name: fmt.Sprintf("train/%s, batch %dx%d, Muon", c.name, trainBatch, c.config.Context), Unit: unitTokens, Threads: m.o.Threads}, muon.tokens, nil)
	for i, t := range runs {
		for g := range groups {
			m.rows = append(m.rows, func() Result {
				r := Result{Name: fmt.Sprintf("train/%s, time in %s", c.name, groupNames[g]), Unit: unitShare, Threads: probes[i].result.Threads}
				r.summarize(t.shares[g])
				return r
			})
		}
	}
	return nil
}

// training is a run that can be continued step by step.
type training struct {
	ctx     context.Context // a measurement takes seconds, and has no other way to be told
	timed   *timed
	model   *model.Model
	trainer *train.Trainer
	perStep int
	shares  [groups][]float64 // of each measurement
}

// newTraining starts a run on random tokens in micro batches.
func newTraining(ctx context.Context, c class, threads int, optimizer string, micro int) (_ *training, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	t := &training{ctx: ctx, timed: &timed{Backend: cpu.New(threads)}, perStep: trainBatch * c.config.Context}
	defer func() {
		if err != nil {
			err = errors.Join(err, t.Close())
		}
	}()
	if t.model, err = model.New(t.timed, c.config, true); err != nil {
		return nil, err
	}
	if err = t.model.Initialize(1, model.DefaultInit()); err != nil {
		return nil, err
	}
	tokens := make([]int32, 1<<16)
	r := source("tokens")
	for i := range tokens {
		tokens[i] = r.Int32N(int32(c.config.VocabSize))
	}
	text, err := data.NewText(tokens, trainBatch, c.config.Context, 1)
	if err != nil {
		return nil, err
	}
	o := train.Defaults()
	o.Steps, o.Schedule, o.Optimizer, o.MicroBatches = 1<<30, train.Constant, optimizer, micro
	o.WeightDecay, o.ClipNorm = 0.1, 1
	o.LR, o.MuonLR = 1e-4, 1e-3 // random tokens: there is nothing to learn, and nothing may diverge
	if t.trainer, err = train.New(t.model, text, nil, o); err != nil {
		return nil, err
	}
	_, err = t.trainer.Step(true) // touches all memory
	return t, err
}

func (t *training) Close() error {
	var err error
	if t.trainer != nil {
		err = t.trainer.Close()
	}
	if t.model != nil {
		err = errors.Join(err, t.model.Close())
	}
	return errors.Join(err, t.timed.Close())
}

// trainTime is how long a measurement of training takes at least, and trainSteps how many steps.
const (
	trainTime  = 300 * time.Millisecond
	trainSteps = 3
)

// tokens measures the fastest of some steps in tokens per second, and notes where the time of all of them went.
func (t *training) tokens() (float64, error) {
	t.timed.spent = [groups]time.Duration{}
	began, best := time.Now(), time.Duration(1<<63-1)
	for n := 0; n < trainSteps || time.Since(began) < trainTime; n++ {
		if err := t.ctx.Err(); err != nil {
			return 0, err
		}
		start := time.Now()
		if _, err := t.trainer.Step(false); err != nil {
			return 0, err
		}
		best = min(best, time.Since(start))
	}
	all := time.Since(began)
	t.timed.spent[groupOther] = all
	for g, d := range t.timed.spent[:groupOther] {
		t.timed.spent[groupOther] -= d
		t.shares[g] = append(t.shares[g], d.Seconds()/all.Seconds())
	}
	t.shares[groupOther] = append(t.shares[groupOther], t.timed.spent[groupOther].Seconds()/all.Seconds())
	return float64(t.perStep) / best.Seconds(), nil
}

var _ backend.Backend = (*timed)(nil)
