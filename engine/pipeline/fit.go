package pipeline

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"

	"mito/backend"
	"mito/engine/arch"
	"mito/engine/checkpoint"
	"mito/engine/compress/prune"
	"mito/engine/compress/quant"
	"mito/engine/data"
	"mito/engine/dist"
	"mito/engine/distill"
	"mito/engine/files"
	"mito/engine/model"
	"mito/engine/report"
	"mito/engine/runs"
	"mito/engine/task"
	"mito/engine/tokenizer"
	"mito/engine/train"
)

// The models in the folder of a pipeline.
const (
	TeacherDir    = runs.TeacherDir
	StudentDir    = runs.StudentDir
	CompressedDir = runs.CompressedDir
)

// FitOptions describe the fitting of one model into a run folder.
type FitOptions struct {
	Name   string // for people, such as "teacher"
	Dir    string
	Resume bool // continue what is in Dir; without it Dir must not hold a run
	Extend bool // with Resume: the run may have been begun with fewer steps; see train.Trainer.Extend

	Config arch.Config
	Init   model.Init
	Start  *Start          // the model whose weights the run begins with; nil for fresh ones from Init
	Sparse *prune.Training // trains in blocks of which few live; nil for none
	Train  train.Options
	Rows   int        // sequences of a batch
	Split  task.Split // trained on
	Judge  task.Split // evaluated on

	// Reference is what Train.LossTokens compares losses with where that is train.Excess; nil for the teachers.
	Reference *Teacher

	// Distillation, where there are teachers.
	Teachers []*Teacher
	Distill  distill.Options
	Cache    bool // keep the teachers' outputs in the run folder, for runs on the same batches

	Aware *Aware // the last steps train the INT8 student, which is what is saved; nil for a float model

	// Ranks are the processes that fit the model together; nil for this one alone. Rank 0 alone has a folder.
	Ranks *dist.Ranks
}

// Teacher is a model that a student learns from.
type Teacher struct {
	Model     *model.Model
	Hash      string // of its weights file
	Tokenizer tokenizer.Tokenizer
}

// Close frees the teacher.
func (t *Teacher) Close() error { return t.Model.Close() }

// OpenTeacher loads a model folder, or the model of a run folder, as a teacher.
func OpenTeacher(b backend.Backend, dir string) (*Teacher, error) {
	f, err := checkpoint.Open(runs.ResolveModel(dir))
	if err != nil {
		return nil, fmt.Errorf("teacher: %w", err)
	}
	if err := checkFloat(f, dir, "a teacher needs its float weights"); err != nil {
		return nil, fmt.Errorf("teacher: %w", err)
	}
	if f.Tokenizer == "" {
		return nil, fmt.Errorf("teacher: %s has no tokenizer.json, so its tokens cannot be compared with the student's", dir)
	}
	tok, err := tokenizer.Load(f.Tokenizer)
	if err != nil {
		return nil, fmt.Errorf("teacher: %w", err)
	}
	hash, err := f.WeightsSHA256()
	if err != nil {
		return nil, fmt.Errorf("teacher: %w", err)
	}
	m, err := model.Open(b, f, false)
	if err != nil {
		return nil, fmt.Errorf("teacher: %w", err)
	}
	return &Teacher{Model: m, Hash: hash, Tokenizer: tok}, nil
}

// Fitted is the result of a fitting.
type Fitted struct {
	Dir    string    // model folder
	Loss   data.Loss // on the split that judged
	Steps  int
	Report *quant.Report // of the INT8 student, nil for a float model
}

// Fit trains a model on a workload. When ctx is done it saves, so that Resume continues, and returns ctx's error.
func Fit(ctx context.Context, b backend.Backend, w *Workload, o FitOptions, p Progress) (_ *Fitted, err error) {
	if err := o.checkFolder(); err != nil {
		return nil, err
	}
	if err := o.thin(); err != nil {
		return nil, err
	}
	source, err := w.Source(o.Split, o.Rows, o.Train.Seed)
	if err != nil {
		return nil, err
	}
	eval, err := w.Eval(o.Judge, fitRows(w.Context))
	if err != nil {
		return nil, err
	}
	rounding, err := o.aware()
	if err != nil {
		return nil, err
	}
	options := o.Start.options()
	if rounding != nil {
		options.Rounding = rounding
	}
	m, err := model.Build(o.backend(b), o.Config, options)
	if err != nil {
		return nil, err
	}
	defer closing(m, &err)
	if err := o.initialize(m, w); err != nil {
		return nil, err
	}
	text, err := o.text(w, source)
	if err != nil {
		return nil, err
	}
	if err := o.check(m, w, source, text); err != nil {
		return nil, err
	}
	// What cannot be trained at all has left nothing on the disk so far.
	lock, err := o.claim()
	if err != nil {
		return nil, err
	}
	defer closing(lock, &err)
	objective, release, err := o.objective(m, source, text)
	if err != nil {
		return nil, err
	}
	defer closing(release, &err)
	t, err := o.trainer(m, source, objective)
	if err != nil {
		return nil, err
	}
	defer closing(t, &err)
	t.Origin = o.Start.origin(eval.Hash())
	t.Origin.Rounding = rounding.name()
	if rounding != nil {
		t.Gradients = func() error { return rounding.Finish(m) }
	}

	f := &fit{FitOptions: o, aware: rounding, w: w, t: t, p: p, config: o.Config, out: filepath.Join(o.Dir, runs.ModelDir)}
	if err := f.same(source, eval, objective); err != nil {
		return nil, err
	}
	if err := f.resume(); err != nil {
		return nil, err
	}
	if err := f.open(); err != nil {
		return nil, err
	}
	defer closing(f, &err)
	if f.eval, err = newEvaluator(m, eval); err != nil {
		return nil, err
	}
	f.eval.share(o.Ranks)
	defer closing(f.eval, &err)
	return f.run(ctx)
}

// check refuses what the parts of a run would refuse later, when its folder is made.
func (o *FitOptions) check(m *model.Model, w *Workload, source data.Source, text *distill.Text) error {
	if err := o.Train.Validate(); err != nil {
		return err
	}
	rows, tokens := source.Shape()
	if err := o.Train.CheckRows(rows); err != nil {
		return err
	}
	if have := w.Tokenizer.VocabSize(); o.Config.VocabSize < have {
		return fmt.Errorf("vocab_size is %d, the tokenizer has %d tokens: give the model as many, or more", o.Config.VocabSize, have)
	}
	if o.Config.Context < tokens {
		return fmt.Errorf("max_position_embeddings is %d, a row has %d tokens: give the model as many, or more", o.Config.Context, tokens)
	}
	if err := o.checkReference(w, tokens); err != nil {
		return err
	}
	if len(o.Teachers) == 0 {
		return nil
	}
	var teachers []*model.Model
	for _, t := range o.Teachers {
		teachers = append(teachers, t.Model)
	}
	return distill.Check(m, teachers, tokens, o.Distill, text)
}

// closing closes at the end of a function and keeps the first error.
func closing(c interface{ Close() error }, err *error) {
	if e := c.Close(); *err == nil {
		*err = e
	}
}

// closer closes by a function.
type closer func() error

func (c closer) Close() error { return c() }

// CheckOutput refuses a folder for a fitting or a pipeline before any work is done for it. It changes nothing.
func CheckOutput(dir string, resume bool) error { return runs.Check(dir, resume) }

// nothing has nothing to close.
type nothing struct{}

func (nothing) Close() error { return nil }

// both closes two things.
type both [2]interface{ Close() error }

func (b both) Close() error { return errors.Join(b[0].Close(), b[1].Close()) }

// fit is a fitting under way.
type fit struct {
	FitOptions
	w       *Workload
	t       *train.Trainer
	p       Progress
	config  arch.Config
	eval    *evaluator
	metrics metricsLog
	events  *report.Events
	loss    data.Loss
	note    string

	out     string    // where the result goes
	adapter *adaption // nil for a whole model
	aware   *aware    // nil for a float model
	report  *quant.Report
}

// metricsLog is metrics.jsonl.
type metricsLog interface {
	Append(step int64, values map[string]float64) error
	Sync() error
	Close() error
}

// resume goes on from the last checkpoint, if there is one.
func (f *fit) resume() error {
	if err := f.resumeHere(); err != nil {
		return err
	}
	return f.t.Share()
}

// begun says that the folder of the run holds a state that this process goes on from.
func (f *fit) begun() (bool, error) {
	if !f.Resume || f.follows() {
		return false, nil
	}
	last := filepath.Join(f.Dir, runs.LastDir)
	if err := files.Recover(last); err != nil {
		return false, err
	}
	_, err := os.Stat(last)
	return !errors.Is(err, os.ErrNotExist), nil
}

func (f *fit) resumeHere() error {
	if begun, err := f.begun(); !begun || err != nil {
		return err
	}
	folder, err := checkpoint.Open(filepath.Join(f.Dir, runs.LastDir))
	if err != nil {
		return err
	}
	saved, err := folder.State()
	if err != nil {
		return err
	}
	if f.Extend && f.aware == nil { // the rounding would begin at another step
		return f.t.Extend(saved)
	}
	return f.t.Resume(saved)
}

// open opens the logs at the step that the run stands at.
func (f *fit) open() (err error) {
	if f.follows() {
		return nil
	}
	at := int64(f.t.Steps())
	if at == 0 {
		at = -1
	}
	if f.metrics, err = report.OpenMetrics(filepath.Join(f.Dir, runs.MetricsName), at); err != nil {
		return err
	}
	if f.events, err = report.OpenEvents(f.Dir, at); err != nil {
		return errors.Join(err, f.metrics.Close())
	}
	return nil
}

// Close closes the logs.
func (f *fit) Close() error {
	if f.follows() {
		return nil
	}
	return errors.Join(f.metrics.Close(), f.events.Close())
}

func (f *fit) run(ctx context.Context) (*Fitted, error) {
	err := stage(f.p, f.Name, f.Train.Steps, func() (string, error) {
		err := f.t.Run(ctx, train.Hooks{
			Before: f.before(ctx), Step: f.step, Save: f.save, Eval: func(step int) (float64, error) { return f.evaluate(ctx, step) },
		})
		if err != nil {
			return "", err
		}
		if f.loss.Weight == 0 { // resumed after its last step
			if err := f.t.Shipping(func() (err error) {
				if err := f.refresh(); err != nil {
					return err
				}
				f.loss, err = f.eval.loss(ctx)
				return err
			}); err != nil {
				return "", err
			}
		}
		if err := train.CheckLoss(f.t.Steps(), f.loss.PerToken(), f.config.VocabSize); err != nil {
			return "", fmt.Errorf("%w; what came out is in %s, no model was made of it", err, filepath.Join(f.Dir, runs.LastDir))
		}
		if err := f.store(f.out, nil); err != nil {
			return "", fmt.Errorf("saving %s: %w", f.out, err)
		}
		return fmt.Sprintf("%d parameters, loss %.4f", f.params(), f.loss.PerToken()), nil
	})
	if err != nil {
		return nil, err
	}
	return &Fitted{Dir: f.out, Loss: f.loss, Steps: f.t.Steps(), Report: f.report}, nil
}

// params is the number of parameters of the result.
func (f *fit) params() int64 {
	if f.adapter != nil {
		return f.adapter.params
	}
	return int64(f.t.Model.Params.Count())
}

// store writes what the run ships, with the state of the training where there is one.
func (f *fit) store(dir string, state *checkpoint.State) error {
	if f.follows() {
		return nil
	}
	if f.adapter != nil {
		return f.adapter.store(f, dir, state)
	}
	if state == nil && f.ships() {
		return f.storeStudent(dir)
	}
	weights, err := f.t.Weights()
	if err != nil {
		return err
	}
	return f.write(dir, weights, state)
}

// write saves the model at dir as an architecture that transformers has, where one computes the same (see package hf). The
// state keeps mito's own form.
func (f *fit) write(dir string, weights []checkpoint.Tensor, state *checkpoint.State) error {
	c, err := f.Start.contents(f.config, weights, f.w)
	if err != nil {
		return err
	}
	c.State = state
	return checkpoint.Save(dir, c)
}

func (f *fit) step(r train.StepResult) error {
	f.note = fmt.Sprintf("loss %.4f", r.Loss)
	f.p.Update(r.Step, f.note)
	values := map[string]float64{
		"loss/train": r.Loss, "grad_norm": r.GradNorm, "lr": r.LR, "tokens": float64(r.Tokens), "tokens_s": r.TokensPS,
	}
	for name, part := range r.Parts { // loss/ce and loss/kd of a distillation
		values["loss/"+name] = part
	}
	return f.log(r.Step, values)
}

func (f *fit) log(step int, values map[string]float64) error {
	if f.follows() {
		return nil
	}
	return errors.Join(f.metrics.Append(int64(step), values), f.events.Append(int64(step), values))
}

func (f *fit) evaluate(ctx context.Context, step int) (float64, error) {
	if err := f.refresh(); err != nil {
		return 0, err
	}
	loss, err := f.eval.loss(ctx)
	if err != nil {
		return 0, err
	}
	f.loss = loss
	f.p.Update(step, fmt.Sprintf("%s, evaluated %.4f", f.note, loss.PerToken()))
	values := map[string]float64{"loss/eval": loss.PerToken()}
	if bpb := loss.BitsPerByte(); !math.IsNaN(bpb) {
		values["bits_per_byte/eval"] = bpb
	}
	return loss.PerToken(), f.log(step, values)
}

func (f *fit) save(best bool) error {
	if best {
		return f.explain(f.store(filepath.Join(f.Dir, runs.BestDir), nil))
	}
	state, err := f.t.State()
	if err != nil {
		return err
	}
	if f.follows() {
		return nil
	}
	if err := f.metrics.Sync(); err != nil {
		return err
	}
	return f.explain(f.store(filepath.Join(f.Dir, runs.LastDir), state))
}

// explain says what to do where a save was refused because the run has diverged: between two readings of the loss the
// weights may do so unseen.
func (f *fit) explain(err error) error {
	if errors.Is(err, checkpoint.ErrNotFinite) {
		return fmt.Errorf("diverged by step %d, and not saved: %w; start again with a lower learning rate, a longer warm-up or a clip norm", f.t.Steps(), err)
	}
	return err
}
