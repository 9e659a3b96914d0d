package pipeline

import (
	"fmt"

	"mito/engine/arch"
	"mito/engine/checkpoint"
	"mito/engine/export/hf"
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
	if s.Config, s.weights, err = hf.Read(f); err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
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
