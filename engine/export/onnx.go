package export

import (
	"context"
	"errors"
	"fmt"
	"io"

	"mito/engine/compress/quant"
	"mito/engine/decode"
	"mito/engine/export/onnx"
	"mito/engine/files"
	"mito/engine/student"
)

// onnxFile is a graph for onnxruntime.
var onnxFile = Format{
	Name: "onnx", About: "a graph for onnxruntime, with the cache of keys and values as inputs and outputs; of an INT8 student, INT8 keeps its codes",
	Types: []string{"F32", "INT8"},
	Write: func(_ context.Context, from *Source, out string, o Options) (*Result, error) {
		var codes map[string]onnx.Codes
		if o.Type == "INT8" {
			var err error
			if codes, err = studentCodes(from); err != nil {
				return nil, err
			}
		}
		return writeFile("onnx", from, out, o, func(w io.Writer, p *Plain) (string, error) {
			return "onnx", onnx.Write(w, p.Config, p.Tensors, codes, p.Tokenizer)
		})
	},
	Open: func(out string, d decode.Options) (decode.Runtime, error) {
		data, err := files.ReadLimited(out, MaxFile)
		if err != nil {
			return nil, err
		}
		c, tensors, tok, err := onnx.Read(data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", out, err)
		}
		return (&Plain{Config: c, Tensors: tensors, Tokenizer: tok}).runtime(d)
	},
	Reference: reference,
}

// errFloatCodes refuses INT8 of a float model.
var errFloatCodes = errors.New("--type INT8 keeps the codes of an INT8 student, and this model is float: mito quantize makes one")

// studentCodes are the matrices of an INT8 student.
func studentCodes(from *Source) (map[string]onnx.Codes, error) {
	q, err := from.Quantization()
	if err != nil {
		return nil, err
	}
	if q == nil {
		return nil, fmt.Errorf("%s: %w", from.Dir, errFloatCodes)
	}
	w, err := quant.Read(from.Folder)
	if err != nil {
		return nil, err
	}
	codes := map[string]onnx.Codes{}
	return codes, w.Visit(func(name string, m *student.Matrix, _ *[]float32) error {
		if m != nil {
			codes[name] = onnx.Codes{Q: m.Q, Scale: m.Scale}
		}
		return nil
	})
}
