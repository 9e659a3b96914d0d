package pipeline

import (
	"errors"
	"fmt"
	"path/filepath"

	"mito/engine/arch"
	"mito/engine/checkpoint"
	"mito/engine/model"
	"mito/engine/runs"
	"mito/engine/tokenizer"
)

// Start is a float model whose weights a run begins with.
type Start struct {
	Dir       string
	Config    arch.Config
	Tokenizer tokenizer.Tokenizer
	Hash      string // SHA-256 of its weights file

	weights *checkpoint.File
}

// OpenStart reads a model folder, or the model of a run folder. INT8 students are refused: a run needs float weights.
func OpenStart(dir string) (*Start, error) {
	f, err := checkpoint.Open(runs.ResolveModel(dir))
	if err != nil {
		return nil, err
	}
	if q, err := f.Quantization(); err != nil || q != nil {
		return nil, errors.Join(err, fmt.Errorf("%s holds an INT8 student; a run begins with float weights", dir))
	}
	if f.Tokenizer == "" {
		return nil, fmt.Errorf("%s has no tokenizer.json, so nothing can be written for it", dir)
	}
	s := &Start{Dir: dir, weights: f.Weights}
	if s.Tokenizer, err = tokenizer.Load(f.Tokenizer); err != nil {
		return nil, err
	}
	if s.Config, err = arch.Parse(f.Config); err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	s.Hash, err = checkpoint.FileSHA256(filepath.Join(f.Dir, checkpoint.WeightsName))
	return s, err
}

// hash is that of the weights; "" for none.
func (s *Start) hash() string {
	if s == nil {
		return ""
	}
	return s.Hash
}

// initialize gives a model the weights that its run begins with.
func (o *FitOptions) initialize(m *model.Model, w *Workload) error {
	s := o.Start
	if s == nil {
		return m.Initialize(o.Train.Seed, o.Init)
	}
	if s.Tokenizer.Hash() != w.Tokenizer.Hash() {
		return fmt.Errorf("%s has another tokenizer than %s: its weights mean other tokens; use its tokenizer.json", s.Dir, w.Name)
	}
	if !o.Config.Equal(s.Config) {
		return fmt.Errorf("%s has another architecture than the run that is to begin with its weights", s.Dir)
	}
	return m.Read(s.weights)
}
