package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"mito/backend"
	"mito/backend/cpu"
	"mito/engine/arch"
	"mito/engine/compress/lora"
	"mito/engine/data"
	"mito/engine/distill"
	"mito/engine/model"
	"mito/engine/tokenizer"
	"mito/engine/train"
)

// text is a corpus in characters, its last tenth held out.
type text struct {
	tok         tokenizer.Tokenizer
	train, held []int32
}

// openText reads a corpus. With tok its characters are those of another text.
func openText(path string, tok tokenizer.Tokenizer) (*text, error) {
	c, err := data.LoadCorpus(path)
	if err != nil {
		return nil, err
	}
	t := &text{tok: tok}
	if tok == nil {
		if t.tok, err = tokenizer.NewChars(c.Text); err != nil {
			return nil, err
		}
	}
	train, held, err := data.Split(c.Text, 0.1)
	if err != nil {
		return nil, err
	}
	if t.train, err = t.tok.Encode(train.Text); err == nil {
		t.held, err = t.tok.Encode(held.Text)
	}
	return t, err
}

// contender is a training that takes turns with others, step by step, so that all meet the same machine: the ratio of their
// times holds where their times do not.
type contender struct {
	ctx     context.Context
	b       backend.Backend
	model   *model.Model
	trainer *train.Trainer
	closers []interface{ Close() error }
	held    data.Eval
	entry   entry
	spent   time.Duration        // on steps
	fastest time.Duration        // step
	before  func(step int) error // a part of the step; nil for none
}

// entry says what a contender trains.
type entry struct {
	text       *text
	config     arch.Config
	rows, time int
	start      *model.Weights // nil for fresh ones
	init       model.Init
	build      model.Options
	o          train.Options
	grid       bool // rows begin at multiples of time
	// objective makes that of the training, and what is to be closed after it; nil for the labels.
	objective func(c *contender, source data.Source) (train.Objective, error)

	adapter *lora.Config // what is trained beside a frozen start, with its modules; nil for the whole model
	modules []arch.Module
}

// enter builds a contender, on one thread: losses do not depend on it, and times of several threads on a busy machine say little.
func enter(ctx context.Context, e entry) (_ *contender, err error) {
	c := &contender{ctx: ctx, b: cpu.New(1), entry: e}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.Close())
		}
	}()
	e.build.Grads = true
	if c.model, err = model.Build(c.b, e.config, e.build); err != nil {
		return nil, err
	}
	if e.start != nil {
		err = errors.Join(c.model.Load(e.start), c.model.InitializeAdded(e.o.Seed, e.init))
	} else {
		err = c.model.Initialize(e.o.Seed, e.init)
	}
	if err != nil {
		return nil, err
	}
	source, err := data.NewText(e.text.train, e.rows, e.time, e.o.Seed)
	if err != nil {
		return nil, err
	}
	if e.grid {
		if source, err = source.Grid(e.time); err != nil {
			return nil, err
		}
	}
	if c.held, err = data.NewTextEval(e.text.tok, e.text.held, 16, e.time); err != nil {
		return nil, err
	}
	var objective train.Objective
	if e.objective != nil {
		if objective, err = e.objective(c, source); err != nil {
			return nil, err
		}
	}
	c.trainer, err = train.New(c.model, source, objective, e.o)
	return c, err
}

// keep closes something after the training.
func (c *contender) keep(x interface{ Close() error }) { c.closers = append(c.closers, x) }

// Close frees the memory.
func (c *contender) Close() (err error) {
	if c.trainer != nil {
		err = c.trainer.Close()
	}
	for i := len(c.closers) - 1; i >= 0; i-- {
		err = errors.Join(err, c.closers[i].Close())
	}
	if c.model != nil {
		err = errors.Join(err, c.model.Close())
	}
	return errors.Join(err, c.b.Close())
}

// race trains contenders in turns, a step each until all are done.
func race(ctx context.Context, steps []int, list ...*contender) error {
	for done := 0; ; done++ {
		more := false
		for i, c := range list {
			if done >= steps[i] {
				continue
			}
			more = true
			if err := ctx.Err(); err != nil {
				return err
			}
			start := time.Now()
			if c.before != nil {
				if err := c.before(done); err != nil {
					return err
				}
			}
			if _, err := c.trainer.Step(done+1 == steps[i]); err != nil {
				return err
			}
			d := time.Since(start)
			if c.spent += d; c.fastest == 0 || d < c.fastest {
				c.fastest = d
			}
		}
		if !more {
			return nil
		}
	}
}

// loss is the mean over the held-out text, in nats a token, of the weights as they ship.
func (c *contender) loss() (nats float64, err error) {
	err = c.trainer.Shipping(func() error {
		nats, err = heldLoss(c.ctx, c.model, c.held)
		return err
	})
	return nats, err
}

// heldLoss walks a held-out text once.
func heldLoss(ctx context.Context, m *model.Model, e data.Eval) (float64, error) {
	rows, time := e.Shape()
	a, err := m.NewActivations(rows, time, false)
	if err != nil {
		return 0, err
	}
	b, batch, host, sum := m.Backend(), data.Batch{}, make([]float32, rows*time), 0.0
	for i := range e.Batches() {
		if err = errors.Join(ctx.Err(), e.Fill(&batch, i)); err != nil {
			break
		}
		if err = backend.First(
			b.Upload(a.Inputs, batch.Inputs), b.Upload(a.Targets, batch.Targets), b.Upload(a.Weights, batch.Weights), b.Upload(a.Positions, batch.Positions),
			m.Forward(a), b.CrossEntropy(a.Loss, nil, a.Logits, a.Targets, a.Weights, backend.CrossEntropyArgs{}), b.Download(host, a.Loss),
		); err != nil {
			break
		}
		for _, l := range host {
			sum += float64(l)
		}
	}
	return sum / e.Weight(), errors.Join(err, a.Close())
}

// The base of the experiments: nanoGPT's recipe for characters on a CPU, 0.8 M parameters, 2,000 steps of 12x64.
const labRows, labTime, labSteps = 12, 64, 2000

func labConfig(vocab int) arch.Config {
	c := arch.Edge(vocab, labTime, 4, 128, 4, 4)
	c.QKNorm = true
	return c
}

// labInit is the recipe's.
func labInit() model.Init { return model.Init{Std: 0.02, FanIn: 0.57, ResidualZero: true} }

// taughtBy makes the objective of a training that learns from the base too.
func taughtBy(base *model.Weights, o train.Options) func(*contender, data.Source) (train.Objective, error) {
	return func(c *contender, source data.Source) (train.Objective, error) {
		teacher, err := model.New(c.b, base.Config, false)
		if err != nil {
			return nil, err
		}
		c.keep(teacher)
		if err := teacher.Load(base); err != nil {
			return nil, err
		}
		d, err := distill.New(c.model, train.NewLabels(c.b, source, o), []*model.Model{teacher}, nil, distill.Defaults())
		if err == nil {
			c.keep(d)
		}
		return d, err
	}
}

// lab runs the experiments on texts that follow the ratios of a technique, where there are the texts.
func (m *meter) lab(texts bool, plan func(*meter) error) error {
	if !texts {
		return nil
	}
	return plan(m)
}

// steps is a number of steps of the experiments, scaled with that of the base.
func (m *meter) steps(of int) int { return max(8, of*m.o.Steps/labSteps) }

// note tells that an experiment goes on.
func (m *meter) note(name string) {
	if m.o.Progress != nil {
		m.o.Progress(0, 0, name)
	}
}

// labBase trains the model that is adapted or converted, once a run.
func (m *meter) labBase() (*text, *model.Weights, float64, error) {
	if m.base != nil {
		return m.corpus, m.base, m.baseLoss, nil
	}
	var err error
	if m.corpus, err = openText(m.o.Corpus, nil); err != nil {
		return nil, nil, 0, err
	}
	o := train.Defaults()
	o.Steps = m.steps(labSteps)
	m.note(fmt.Sprintf("base, %d steps", o.Steps))
	c, err := enter(m.ctx, entry{
		text: m.corpus, config: labConfig(m.corpus.tok.VocabSize()), rows: labRows, time: labTime, init: labInit(), o: o,
	})
	if err != nil {
		return nil, nil, 0, err
	}
	defer c.Close()
	if err := race(m.ctx, []int{o.Steps}, c); err != nil {
		return nil, nil, 0, err
	}
	if m.baseLoss, err = c.loss(); err == nil {
		m.base, err = c.model.Host()
	}
	return m.corpus, m.base, m.baseLoss, err
}

// value adds a row that an experiment found.
func (m *meter) value(name, unit string, values ...float64) {
	m.rows = append(m.rows, func() Result {
		r := Result{Name: name, Unit: unit, Experiment: true}
		r.summarize(values)
		return r
	})
}
