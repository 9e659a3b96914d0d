package pipeline

import (
	"fmt"

	"mito/engine/arch"
	"mito/engine/checkpoint"
	"mito/engine/compress/prune"
	"mito/engine/export/hf"
	"mito/engine/model"
	"mito/engine/runs"
	"mito/engine/tokenizer"
	"mito/engine/train"
)

// Start is a float model whose weights a run begins with.
type Start struct {
	Dir       string
	Config    arch.Config
	Tokenizer tokenizer.Tokenizer
	Hash      string // SHA-256 of its weights file

	// Of a pruned model: what config.json says of it, and the weights that stay zero.
	Pruning prune.Records
	Masks   prune.Masks

	weights *model.Weights  // nil for fresh ones
	pruned  string          // hash of what pruned it on the way to this run
	gradual *gradual        // prunes it in the run, or nil
	sparse  *prune.Training // trains it sparse, or nil
}

// OpenStart reads a model folder, or the model of a run folder. What was pruned of it stays pruned in the run. INT8 students
// are refused: a run needs float weights.
func OpenStart(dir string) (*Start, error) {
	f, err := checkpoint.Open(runs.ResolveModel(dir))
	if err != nil {
		return nil, err
	}
	if err := checkFloat(f, dir, "a run begins with float weights"); err != nil {
		return nil, err
	}
	if f.Tokenizer == "" {
		return nil, fmt.Errorf("%s has no tokenizer.json, so nothing can be written for it", dir)
	}
	s := &Start{Dir: dir}
	if s.Tokenizer, err = tokenizer.Load(f.Tokenizer); err != nil {
		return nil, err
	}
	if s.weights, err = model.ReadWeights(f); err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	s.Config = s.weights.Config
	if s.Pruning, err = prune.ReadRecords(f.Config); err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	s.Masks = prune.MasksOf(s.Pruning, s.weights)
	s.Hash, err = f.WeightsSHA256()
	return s, err
}

// checkFloat refuses quantised weights, mito's own and those of other schemes; why ends the sentence.
func checkFloat(f *checkpoint.Folder, dir, why string) error {
	q, err := f.Quantization()
	switch {
	case err != nil || q == nil:
		return err
	case q.CheckInt8() != nil:
		return fmt.Errorf("%s is quantised by a scheme that mito does not read: %w; %s", dir, q.CheckInt8(), why)
	}
	return fmt.Errorf("%s holds an INT8 student; %s", dir, why)
}

// options say how the model of the run is built.
func (s *Start) options() model.Options {
	o := model.Options{Grads: true}
	if s != nil && len(s.Masks) > 0 {
		o.Masked = s.Masks.Masked
	}
	return o
}

// origin is what ties a run to its beginning.
func (s *Start) origin(judge string) train.Origin {
	if s == nil {
		return train.Origin{Judge: judge}
	}
	return train.Origin{Judge: judge, From: s.Hash, Pruning: s.pruned}
}

// contents are those of the folder of a model of the run; s may be nil.
func (s *Start) contents(c arch.Config, tensors []checkpoint.Tensor, w *Workload) (*checkpoint.Contents, error) {
	out, err := hf.Contents(c, tensors, w.Tokenizer)
	if err != nil || s == nil || len(s.Pruning) == 0 {
		return out, err
	}
	out.Config, err = s.Pruning.AddTo(out.Config)
	return out, err
}

// thin makes of what a run begins with one that is trained sparse. Errors: *train.OptionError.
func (o *FitOptions) thin() error {
	if o.Sparse == nil {
		return nil
	}
	if err := o.Sparse.Validate(); err != nil {
		return err
	}
	found, err := o.Sparse.Targets(o.Config)
	if err != nil {
		return err
	}
	s := &Start{Config: o.Config}
	if o.Start != nil {
		if len(o.Start.Masks) > 0 {
			return &train.OptionError{Field: "sparse", Got: o.Sparse.Sparsity, Want: "left out: the model that the run begins with is pruned already"}
		}
		*s = *o.Start
	}
	s.sparse, s.Masks = o.Sparse, prune.Masks{}
	for _, m := range found {
		s.Masks[m.Weight().Name] = prune.Alive(m)
	}
	r := prune.Record{Options: o.Sparse.Options(), Schedule: o.Sparse.Method, Reached: o.Sparse.Sparsity}
	s.Pruning = append(s.Pruning[:len(s.Pruning):len(s.Pruning)], r)
	o.Start = s
	return s.seal(&r)
}

// initialize gives a model the weights that its run begins with.
func (o *FitOptions) initialize(m *model.Model, w *Workload) error {
	s := o.Start
	if s == nil || s.weights == nil {
		return m.Initialize(o.Train.Seed, o.Init)
	}
	if s.Tokenizer.Hash() != w.Tokenizer.Hash() {
		return fmt.Errorf("%s has another tokenizer than %s: its weights mean other tokens; use its tokenizer.json", s.Dir, w.Name)
	}
	if !o.Config.Equal(s.Config) {
		return fmt.Errorf("%s has another architecture than the run that is to begin with its weights", s.Dir)
	}
	return prune.Load(m, s.weights, s.Masks)
}
