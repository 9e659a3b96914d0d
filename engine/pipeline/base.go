package pipeline

import (
	"context"
	"fmt"
	"path/filepath"

	"mito/engine/checkpoint"
	"mito/engine/compress/lora"
	"mito/engine/compress/quant"
	"mito/engine/model"
	"mito/engine/runs"
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
	if b.Tokenizer, err = tokenizer.Load(f.Tokenizer); err != nil {
		return nil, err
	}
	if b.Hash, err = checkpoint.FileSHA256(filepath.Join(f.Dir, checkpoint.WeightsName)); err != nil {
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
