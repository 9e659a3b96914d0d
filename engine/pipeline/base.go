package pipeline

import (
	"context"
	"fmt"

	"mito/engine/checkpoint"
	"mito/engine/compress/lora"
	"mito/engine/compress/prune"
	"mito/engine/compress/quant"
	"mito/engine/export/hf"
	"mito/engine/model"
	"mito/engine/runs"
	"mito/engine/session/adapters"
	"mito/engine/student"
	"mito/engine/tokenizer"
)

// Base is a model that adapters are made for.
type Base struct {
	Dir        string
	Hash       string           // SHA-256 of its weights file
	Floats     *model.Weights   // of an INT8 base expanded
	Int8       *student.Weights // nil for float weights
	Tokenizer  tokenizer.Tokenizer
	Generation *checkpoint.GenerationConfig

	merged  *mergedRecord // what its config.json says was merged
	pruning prune.Records // and pruned
}

// OpenBase reads a model folder, or the model of a run folder, float or INT8. With quantized a float model's weights are
// rounded to INT8 first, as mito quantize rounds them. Errors: those of the readers, ctx's.
func OpenBase(ctx context.Context, dir string, quantized bool) (*Base, error) {
	f, err := checkpoint.Open(runs.ResolveModel(dir))
	if err != nil {
		return nil, err
	}
	if f.Tokenizer == "" {
		return nil, fmt.Errorf("%s has no tokenizer.json, so nothing can be written for it", dir)
	}
	b := &Base{Dir: f.Dir, Generation: f.Generation}
	if b.merged, err = readMerged(f); err != nil {
		return nil, err
	}
	if b.pruning, err = prune.ReadRecords(f.Config); err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	if b.Tokenizer, err = tokenizer.Load(f.Tokenizer); err != nil {
		return nil, err
	}
	if b.Hash, err = f.WeightsSHA256(); err != nil {
		return nil, err
	}
	q, err := f.Quantization()
	if err != nil {
		return nil, err
	}
	if q != nil {
		b.Int8, err = quant.Read(f)
	} else if b.Floats, err = model.ReadWeights(f); err == nil && quantized {
		b.Int8, _, err = quant.Quantize(ctx, b.Floats.Config, b.Floats.Tensors, quant.Options{})
	}
	if err != nil {
		return nil, err
	}
	if b.Int8 != nil {
		b.Floats = lora.Expand(b.Int8)
	}
	return b, nil
}

// AdapterDir is an adapter on disk and what it is called.
type AdapterDir struct{ Name, Dir string }

// OpenAdapters reads adapters for the model of a folder. Errors: *lora.BaseError for one of another model, those of lora.Read.
func OpenAdapters(dir string, list []AdapterDir) ([]adapters.Adapter, error) {
	if len(list) == 0 {
		return nil, nil
	}
	f, err := checkpoint.Open(runs.ResolveModel(dir))
	if err != nil {
		return nil, err
	}
	c, err := hf.Config(f.Config)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	hash, err := f.WeightsSHA256()
	if err != nil {
		return nil, err
	}
	var out []adapters.Adapter
	for _, at := range list {
		a, err := lora.Read(at.Dir, c)
		if err != nil {
			return nil, err
		}
		if err := a.CheckBase(at.Dir, hash); err != nil {
			return nil, err
		}
		out = append(out, a.Runtime(at.Name))
	}
	return out, nil
}
