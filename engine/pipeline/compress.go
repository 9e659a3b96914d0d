package pipeline

import (
	"fmt"

	"mito/engine/checkpoint"
	"mito/engine/compress/quant"
	"mito/engine/model"
	"mito/engine/student"
	"mito/engine/tokenizer"
)

// Quantize makes the INT8 student of a float model folder and writes it, with the tokenizer, to dir. It returns what
// was saved, read back.
func Quantize(from, dir string, o quant.Options) (*student.Weights, *quant.Report, error) {
	if err := checkpoint.CheckOutput(dir); err != nil {
		return nil, nil, err
	}
	f, err := checkpoint.Open(from)
	if err != nil {
		return nil, nil, err
	}
	if q, err := f.Quantization(); err != nil {
		return nil, nil, err
	} else if q != nil {
		return nil, nil, fmt.Errorf("quantize: %s is quantised already", from)
	}
	floats, err := model.ReadWeights(f)
	if err != nil {
		return nil, nil, err
	}
	w, r, err := quant.Quantize(student.Config(floats.Config), floats.Tensors, o)
	if err != nil {
		return nil, nil, err
	}
	contents, err := quant.Contents(w, r)
	if err != nil {
		return nil, nil, err
	}
	contents.Generation = f.Generation
	if f.Tokenizer != "" {
		tok, err := tokenizer.Load(f.Tokenizer)
		if err != nil {
			return nil, nil, err
		}
		contents.SaveTokenizer = tok.Save
	}
	if err := checkpoint.Save(dir, contents); err != nil {
		return nil, nil, fmt.Errorf("saving %s: %w", dir, err)
	}
	w, err = quant.Load(dir)
	return w, r, err
}
