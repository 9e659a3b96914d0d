package bench

import (
	"context"
	"errors"
	"fmt"

	"mito/backend/cpu"
	"mito/engine/compress/lora"
	"mito/engine/data"
	"mito/engine/model"
	"mito/engine/train"
)

// addLora compares steps that train adapters of rank 4 with steps that train the whole model by AdamW: adapters of every layer,
// and of the last with what the layers below compute kept. Random tokens say nothing of quality; mito lora does.
func addLora(m *meter, c class) error {
	whole, err := newTraining(m.ctx, c, m.o.Threads, train.AdamW, 1)
	if err != nil {
		return err
	}
	m.keep(whole)
	base := m.hidden(Result{Name: fmt.Sprintf("lora/%s, whole model", c.name), Unit: unitTokens, Threads: m.o.Threads}, whole.tokens, nil)
	for _, kept := range []bool{false, true} {
		lc := lora.Config{Rank: 4, Alpha: 8, Targets: lora.DefaultTargets()}
		name := fmt.Sprintf("lora/%s, rank 4 of every layer, ", c.name)
		if kept {
			name, lc.Layers = fmt.Sprintf("lora/%s, rank 4 of the last layer and a kept prefix, ", c.name), []int{c.config.Layers - 1}
		}
		t, err := newAdapting(m.ctx, c, m.o.Threads, lc, kept)
		if err != nil {
			return err
		}
		m.keep(t)
		p := m.hidden(Result{Name: name + "training", Unit: unitTokens, Threads: m.o.Threads}, t.tokens, nil)
		m.combine(Result{Name: name + "steps against those of the whole model", Unit: unitTimes, Threads: m.o.Threads}, p, base, divide)
		m.fixed(Result{Name: name + "share of the parameters that is trained", Unit: unitShare}, t.share)
	}
	return nil
}

// adapting is a training of adapters.
type adapting struct {
	*training
	labels *train.Labels
	prefix *lora.Prefix
	share  float64 // of the parameters that is trained
}

// prefixed is the labels' objective behind a kept prefix.
type prefixed struct {
	*train.Labels
	*lora.Prefix
}

func (p *prefixed) Close() error { return errors.Join(p.Labels.Close(), p.Prefix.Close()) }
func (p *prefixed) From() int    { return p.Layer() }
func (p *prefixed) Prepare(a *model.Activations, m train.Micro) error {
	return errors.Join(p.Labels.Prepare(a, m), p.Fill(a, m.Step, m.Row, m.Rows))
}

// prefixRows is how many rows of training data there are where a prefix is kept: all are found after a few steps.
const prefixRows = 16

func newAdapting(ctx context.Context, c class, threads int, lc lora.Config, kept bool) (_ *adapting, err error) {
	t := &adapting{training: &training{ctx: ctx, timed: &timed{Backend: cpu.New(threads)}, perStep: trainBatch * c.config.Context}}
	defer func() {
		if err != nil {
			err = errors.Join(err, t.Close())
		}
	}()
	modules, err := lc.Modules(c.config)
	if err != nil {
		return nil, err
	}
	t.share = float64(lc.Params(modules)) / float64(c.config.Params())
	t.model, err = model.Build(t.timed, c.config, model.Options{
		Grads: true, Trained: func(string) bool { return false }, Product: lc.Products(modules),
	})
	if err != nil {
		return nil, err
	}
	if err = t.model.Initialize(1, model.DefaultInit()); err != nil {
		return nil, err
	}
	tokens := make([]int32, prefixRows*c.config.Context+1)
	r := source("tokens")
	for i := range tokens {
		tokens[i] = r.Int32N(int32(c.config.VocabSize))
	}
	text, err := data.NewText(tokens, trainBatch, c.config.Context, 1)
	if err != nil {
		return nil, err
	}
	if text, err = text.Grid(c.config.Context); err != nil {
		return nil, err
	}
	o := train.Defaults()
	o.Steps, o.Schedule, o.Optimizer, o.LR = 1<<30, train.Constant, train.AdamW, 1e-4
	t.labels = train.NewLabels(t.timed, text, o)
	var objective train.Objective = t.labels
	if kept {
		if t.prefix, err = lora.NewPrefix(t.model, text, lora.First(modules), lora.PrefixOptions{Budget: 1 << 30}); err != nil {
			return nil, err
		}
		objective = &prefixed{t.labels, t.prefix}
	}
	if t.trainer, err = train.New(t.model, text, objective, o); err != nil {
		return nil, err
	}
	for range 2 * prefixRows { // until the rows are kept
		if _, err = t.trainer.Step(true); err != nil || !kept {
			return t, err
		}
	}
	return t, nil
}

// Close frees the memory.
func (t *adapting) Close() error {
	var err error
	if t.prefix != nil {
		err = t.prefix.Close()
	}
	return errors.Join(err, t.labels.Close(), t.training.Close())
}
