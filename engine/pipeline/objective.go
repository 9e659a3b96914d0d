package pipeline

import (
	"errors"
	"fmt"
	"path/filepath"

	"mito/engine/data"
	"mito/engine/distill"
	"mito/engine/model"
	"mito/engine/runs"
	"mito/engine/train"
)

// checkReference refuses a reference that is missing, or whose losses mean something else.
func (o *FitOptions) checkReference(w *Workload, tokens int) error {
	switch r := o.Reference; {
	case o.Train.LossTokens == train.Excess && r == nil && len(o.Teachers) == 0:
		return &train.OptionError{Field: "loss-tokens", Got: train.Excess, Want: "a reference to compare losses with: a trained model"}
	case o.Train.LossTokens == train.Excess && r == nil && len(o.Teachers) > 0 && !SameTokens(o.Teachers, w.Tokenizer):
		return &train.OptionError{Field: "loss-tokens", Got: train.Excess, Want: "a reference where the teachers have tokens of their own"}
	case o.Train.LossTokens == train.Excess && r == nil && o.Cache:
		return &train.OptionError{Field: "loss-tokens", Got: train.Excess, Want: "a reference with a cache, which keeps no losses of the teachers"}
	case r == nil:
		return nil
	case r.Model.Config.Context < tokens:
		return fmt.Errorf("the reference has a context of %d tokens, a row has %d: shorten the rows", r.Model.Config.Context, tokens)
	default:
		return distill.CheckTokenizers(r.Tokenizer.Hash(), w.Tokenizer.Hash())
	}
}

// objective is nil, which means plain cross-entropy, where there are no teachers and all targets count.
func (o *FitOptions) objective(m *model.Model, source data.Source, text *distill.Text) (train.Objective, interface{ Close() error }, error) {
	if len(o.Teachers) == 0 && o.Train.LossTokens == train.AllTargets {
		return nil, nothing{}, nil
	}
	labels := train.NewLabels(m.Backend(), source, o.Train)
	if len(o.Teachers) == 0 {
		return o.choice(m, labels, labels, nil)
	}
	d, release, err := o.distillation(m, source, labels, text)
	if err != nil {
		return nil, nil, err
	}
	return o.choice(m, d, release, d)
}

// choice has an objective learn from the targets that the options choose. taught is the reference where there is no other.
func (o *FitOptions) choice(m *model.Model, of train.Objective, release interface{ Close() error }, taught train.Reference) (
	train.Objective, interface{ Close() error }, error) {
	if o.Train.LossTokens == train.AllTargets {
		return of, release, nil
	}
	var ref train.Reference
	if o.Train.LossTokens == train.Excess {
		if ref = taught; o.Reference != nil {
			r := train.NewModelReference(o.Reference.Model, o.Reference.Hash)
			ref, release = r, both{r, release}
		}
	}
	c, err := train.NewChoice(m.Backend(), of, ref, o.Train)
	if err != nil {
		return nil, nil, errors.Join(err, release.Close())
	}
	return c, release, nil
}

func (o *FitOptions) distillation(m *model.Model, source data.Source, labels *train.Labels, text *distill.Text) (*distill.Objective, interface{ Close() error }, error) {
	key := distill.Key{
		Source: source.Hash(), Tokens: source.TokensPerStep(), Temperature: o.Distill.Temperature,
		TopK: min(o.Distill.TopK, o.Config.VocabSize),
	}
	var teachers []*model.Model
	for _, t := range o.Teachers {
		teachers = append(teachers, t.Model)
		key.Teachers = append(key.Teachers, t.Hash)
	}
	if !o.Cache {
		d, err := distill.NewOfText(m, labels, teachers, nil, o.Distill, text)
		return d, d, err
	}
	cache, err := distill.OpenCache(filepath.Join(o.Dir, runs.CacheName), key)
	if err != nil {
		return nil, nil, err
	}
	d, err := distill.NewOfText(m, labels, teachers, cache, o.Distill, text)
	if err != nil {
		return nil, nil, errors.Join(err, cache.Close())
	}
	return d, both{d, cache}, nil
}
