package pipeline

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"path/filepath"

	"mito/backend"
	"mito/engine/arch"
	"mito/engine/checkpoint"
	"mito/engine/compress/lora"
	"mito/engine/data"
	"mito/engine/distill"
	"mito/engine/model"
	"mito/engine/runs"
	"mito/engine/task"
	"mito/engine/train"
)

// PrefixName is the file of a kept prefix in the folder of a run.
const PrefixName = "prefix.cache"

// AdaptOptions describe the training of one adapter into a run folder.
type AdaptOptions struct {
	Name   string // for people, such as "adapter"
	Dir    string
	Resume bool // continue what is in Dir; without it Dir must not hold a run

	Lora  lora.Config
	Train train.Options
	Rows  int        // sequences of a batch
	Split task.Split // trained on
	Judge task.Split // evaluated on

	// Prefix keeps what the layers below the first that adapts compute: bytes at most, 0 for nothing. The rows of a text begin
	// at multiples of its context then, so that they come again.
	Prefix     int64
	PrefixDisk bool // keep it in the run folder, for runs that are resumed, instead of in memory

	Start AdaptStart
}

// AdaptStart is how the factors begin. It is a part of what a run is: a resumed run must have the same.
type AdaptStart struct {
	// Align is the number of batches, the first ones, by whose gradient A is aligned, see lora.Config.Align; 0 draws it.
	Align int `json:"align,omitempty"`
	// Gamma is how many times as large A is, see lora.Init; 0 means 1.
	Gamma float64 `json:"gamma,omitempty"`
}

// Validate refuses what no run can begin with. Errors: *train.OptionError.
func (s AdaptStart) Validate() error {
	if s.Align < 0 {
		return &train.OptionError{Field: "align", Got: s.Align, Want: "0 (off) or more batches"}
	}
	if !(s.Gamma >= 0) || math.IsInf(s.Gamma, 0) {
		return &train.OptionError{Field: "gamma", Got: s.Gamma, Want: "a positive number, or 0 for 1"}
	}
	return nil
}

func (s AdaptStart) gamma() float64 {
	if s.Gamma == 0 {
		return 1
	}
	return s.Gamma
}

// AdaptTraining is how adapters are trained where no flag says otherwise: AdamW, whose steps suit the small factors, at a rate
// several times that of whole models.
func AdaptTraining() train.Options {
	o := train.Defaults()
	o.Optimizer, o.Steps, o.LR = train.AdamW, 1000, 5e-3
	return o
}

// Adapted is the result of an adaption.
type Adapted struct {
	Dir     string // of the adapter
	Adapter *lora.Adapter
	Before  data.Loss // of the base, on the split that judged
	After   data.Loss
	Steps   int
	Prefix  lora.PrefixStats
}

// Adapt trains an adapter of a base on a workload. When ctx is done it saves, so that Resume continues, and returns ctx's
// error. Errors: *lora.ConfigError, those of Fit.
func Adapt(ctx context.Context, b backend.Backend, base *Base, w *Workload, o AdaptOptions, p Progress) (_ *Adapted, err error) {
	if err := errors.Join(o.Start.Validate(), CheckOutput(o.Dir, o.Resume)); err != nil {
		return nil, err
	}
	modules, err := o.Lora.Modules(base.Floats.Config)
	if err != nil {
		return nil, err
	}
	if err := distill.CheckTokenizers(base.Tokenizer.Hash(), w.Tokenizer.Hash()); err != nil {
		return nil, err
	}
	source, err := o.source(w)
	if err != nil {
		return nil, err
	}
	eval, err := w.Eval(o.Judge, fitRows(w.Context))
	if err != nil {
		return nil, err
	}
	m, err := adapting(b, base, &o, modules)
	if err != nil {
		return nil, err
	}
	defer closing(m, &err)
	fo := FitOptions{Name: o.Name, Dir: o.Dir, Resume: o.Resume, Config: base.Floats.Config, Train: o.Train, Rows: o.Rows, Split: o.Split, Judge: o.Judge}
	if err := fo.check(m, w, source, nil); err != nil {
		return nil, err
	}
	if o.Prefix > 0 && o.Train.Dropout > 0 {
		return nil, errors.New("a prefix that is kept cannot have dropout: leave one of them out")
	}
	lock, err := runs.Claim(o.Dir, o.Resume)
	if err != nil {
		return nil, err
	}
	defer closing(closer(lock.Release), &err)
	objective, err := newAdaptObjective(m, base, modules, source, &o)
	if err != nil {
		return nil, err
	}
	defer closing(objective, &err)
	t, err := train.New(m, source, objective, o.Train)
	if err != nil {
		return nil, err
	}
	defer closing(t, &err)
	t.Origin = train.Origin{Judge: eval.Hash(), From: base.Hash}

	f := &fit{
		FitOptions: fo, w: w, t: t, p: p, config: fo.Config, out: filepath.Join(o.Dir, lora.RunDir),
		adapter: &adaption{base: base, config: o.Lora, modules: modules, params: o.Lora.Params(modules)},
	}
	if f.eval, err = newEvaluator(m, eval); err != nil {
		return nil, err
	}
	defer closing(f.eval, &err)
	begun, err := f.begun()
	if err != nil {
		return nil, err
	}
	if !begun {
		if err := o.align(ctx, m, base, modules, source); err != nil {
			return nil, err
		}
	}
	a := &Adapted{Dir: f.out}
	if a.Before, err = f.eval.loss(ctx); err != nil { // B is zero so far
		return nil, err
	}
	if err := f.resume(); err != nil {
		return nil, err
	}
	if err := f.open(); err != nil {
		return nil, err
	}
	defer closing(f, &err)
	fitted, err := f.run(ctx)
	if err != nil {
		return nil, err
	}
	a.After, a.Steps, a.Prefix = fitted.Loss, fitted.Steps, objective.stats()
	a.Adapter, err = lora.Read(a.Dir, base.Floats.Config)
	return a, err
}

// source gives the batches.
func (o *AdaptOptions) source(w *Workload) (data.Source, error) {
	source, err := w.Source(o.Split, o.Rows, o.Train.Seed)
	if text, ok := source.(*data.Text); ok && err == nil && o.Prefix > 0 {
		begin, _ := w.Tokenizer.Template()
		return text.Grid(w.Context - len(begin))
	}
	return source, err
}

// adapting builds a frozen model with fresh adapters.
func adapting(b backend.Backend, base *Base, o *AdaptOptions, modules []arch.Module) (*model.Model, error) {
	m, err := model.Build(b, base.Floats.Config, model.Options{
		Grads: true, Trained: func(string) bool { return false }, Product: o.Lora.Products(modules),
	})
	if err != nil {
		return nil, err
	}
	if err := errors.Join(m.Load(base.Floats), m.InitializeAdded(o.Train.Seed, lora.Init(o.Start.gamma()))); err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return m, nil
}

// adaptObjective is the labels', with what an adapter's run is tied to and, where there is one, the prefix that is kept.
type adaptObjective struct {
	*train.Labels
	hash   string
	prefix *lora.Prefix
}

// prefixObjective is an adaptObjective whose passes begin behind the prefix.
type prefixObjective struct{ *adaptObjective }

func newAdaptObjective(m *model.Model, base *Base, modules []arch.Module, source data.Source, o *AdaptOptions) (adaptRun, error) {
	start := o.Start
	if start.Gamma == 1 {
		start.Gamma = 0 // says the same
	}
	text, err := json.Marshal(struct {
		lora.Config
		AdaptStart
	}{o.Lora, start})
	if err != nil {
		return nil, err
	}
	labels := train.NewLabels(m.Backend(), source, o.Train)
	sum := sha256.Sum256(append(text, labels.Hash()...))
	a := &adaptObjective{Labels: labels, hash: "lora " + hex.EncodeToString(sum[:])}
	first := lora.First(modules)
	if o.Prefix <= 0 || first == 0 {
		return a, nil
	}
	po := lora.PrefixOptions{Budget: o.Prefix, Base: base.Hash}
	if o.PrefixDisk {
		po.Path = filepath.Join(o.Dir, PrefixName)
	}
	if a.prefix, err = lora.NewPrefix(m, source, first, po); err != nil {
		return nil, errors.Join(err, labels.Close())
	}
	return &prefixObjective{a}, nil
}

// adaptRun is an objective of either kind.
type adaptRun interface {
	train.Objective
	Close() error
	stats() lora.PrefixStats
}

// Hash implements train.Objective.
func (a *adaptObjective) Hash() string { return a.hash }

func (a *adaptObjective) stats() (s lora.PrefixStats) {
	if a.prefix != nil {
		s = a.prefix.Stats()
	}
	return s
}

// Close frees the memory.
func (a *adaptObjective) Close() error {
	err := a.Labels.Close()
	if a.prefix != nil {
		err = errors.Join(err, a.prefix.Close())
	}
	return err
}

// From implements train.Beginner.
func (a *prefixObjective) From() int { return a.prefix.Layer() }

// Prepare implements train.Objective.
func (a *prefixObjective) Prepare(acts *model.Activations, m train.Micro) error {
	return errors.Join(a.Labels.Prepare(acts, m), a.prefix.Fill(acts, m.Step, m.Row, m.Rows))
}

// adaption is what a fitting stores of an adapter instead of a model.
type adaption struct {
	base    *Base
	config  lora.Config
	modules []arch.Module
	params  int64
}

// adapterState is the config.json beside the state of a run: no model that can be opened.
type adapterState struct {
	ModelType string      `json:"model_type"`
	Adapter   lora.Config `json:"adapter"`
}

func (d *adaption) store(f *fit, dir string, state *checkpoint.State) error {
	values := map[string][]float32{}
	var tensors []checkpoint.Tensor
	err := f.t.Shipping(func() error {
		for _, p := range f.t.Model.Params.Added {
			v := make([]float32, p.Size())
			if err := f.t.Model.Backend().Download(v, p.Value); err != nil {
				return err
			}
			values[p.Name] = v
			tensors = append(tensors, checkpoint.FromF32(p.Name, p.Shape, v))
		}
		return nil
	})
	if err != nil {
		return err
	}
	if state != nil {
		return checkpoint.Save(dir, &checkpoint.Contents{Config: adapterState{checkpoint.ModelType, d.config}, Tensors: tensors, State: state})
	}
	a, err := d.config.FromTensors(d.modules, d.base.Hash, values)
	if err != nil {
		return err
	}
	if err := a.Save(dir, d.base.Dir, nil); err != nil {
		return fmt.Errorf("saving %s: %w", dir, err)
	}
	return nil
}
