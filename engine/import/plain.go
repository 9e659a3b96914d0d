package importer

import (
	"context"

	"mito/engine/checkpoint"
	"mito/engine/export"
	"mito/engine/export/gguf"
	"mito/engine/model"
)

// fromPlain makes a model of what a format of another runtime held.
func fromPlain(p *export.Plain, o Options) (*Model, error) {
	w := &model.Weights{Config: p.Config, Tensors: map[string][]float32{}}
	for i := range p.Tensors {
		t := &p.Tensors[i]
		v, err := t.F32()
		if err != nil {
			return nil, err
		}
		w.Tensors[t.Name] = v
	}
	m := &Model{Weights: w, Tokenizer: p.Tokenizer}
	if o.NoTokenizer {
		m.Tokenizer = nil
	}
	if m.Tokenizer != nil && m.Tokenizer.EOS() >= 0 {
		m.Generation = &checkpoint.GenerationConfig{EOS: checkpoint.TokenIDs{m.Tokenizer.EOS()}}
	}
	return m, nil
}

// ggufFile is a file of llama.cpp.
var ggufFile = Format{
	Name: "gguf", About: "a file of llama.cpp with matrices of F32, F16, BF16, Q8_0 or Q4_0",
	Read: func(_ context.Context, path string, o Options) (*Model, error) {
		p, err := export.ReadGGUF(path)
		if err != nil && !(o.NoTokenizer && gguf.IsTokenizer(err)) {
			return nil, err
		}
		return fromPlain(p, o)
	},
}

// llama2cFile is a file of llama2.c.
var llama2cFile = Format{
	Name: "llama2c", About: "a .bin of llama2.c, version 0 (float32) or 2 (INT8), with the tokenizer.json beside it",
	Read: func(_ context.Context, path string, o Options) (*Model, error) {
		p, err := export.ReadLlama2c(path, o.NoTokenizer)
		if err != nil {
			return nil, err
		}
		return fromPlain(p, o)
	},
}
