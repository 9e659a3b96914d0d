// Package importer reads models in the forms of other programs. [Formats] lists them; each is one entry.
//
// What is read becomes a folder of mito's, written as [mito/engine/export/hf] writes those of train and distill. Folders of
// transformers need no import to be teachers, or to be evaluated, quantised and drawn text from: those commands read them as
// they are.
package importer

import (
	"context"
	"errors"
	"fmt"

	"mito/engine/arch"
	"mito/engine/checkpoint"
	"mito/engine/decode"
	"mito/engine/export"
	"mito/engine/export/hf"
	"mito/engine/model"
	"mito/engine/tokenizer"
)

// Format is a form that models are read from.
type Format struct {
	Name, About string
	Read        func(ctx context.Context, path string, o Options) (*Model, error)
}

// Options of an import.
type Options struct {
	NoTokenizer bool // leave the tokenizer out, which may be of a kind that mito does not read
}

// Formats lists the forms.
func Formats() []Format { return []Format{huggingFace, ggufFile, llama2cFile} }

// Find finds a form by its name.
func Find(name string) (Format, error) {
	var known []string
	for _, f := range Formats() {
		if f.Name == name {
			return f, nil
		}
		known = append(known, f.Name)
	}
	return Format{}, fmt.Errorf("unknown format %q; known: %v", name, known)
}

// Model is what was read.
type Model struct {
	*model.Weights
	Tokenizer  tokenizer.Tokenizer          // nil for none
	Generation *checkpoint.GenerationConfig // nil for none
}

// Save writes the model as a folder of mito's to out, where nothing lies. Errors: as of export.Into.
func (m *Model) Save(out string) (*export.Result, error) {
	contents, err := hf.Contents(m.Config, export.Tensors(m.Weights), m.Tokenizer)
	if err != nil {
		return nil, err
	}
	if m.Generation != nil {
		contents.Generation = m.Generation
	}
	if err := export.Into(out, func() error { return checkpoint.Save(out, contents) }); err != nil {
		return nil, err
	}
	r := &export.Result{Dir: out, Architecture: hf.ModelType(out), Note: export.Note(m.Config)}
	return r, r.Measure()
}

// Check compares the model with the folder that was made of it. Errors: as of export.Check.
func (m *Model) Check(out string, o decode.Options) (worst float64, err error) {
	a, err := decode.NewFloat32(m.Weights, m.Tokenizer, o)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, a.Close()) }()
	b, err := decode.Open(out, o)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	return export.Check(a, b, 0)
}

// huggingFace is a folder of transformers.
var huggingFace = Format{
	Name: "hf", About: "a folder of Hugging Face's transformers with float weights",
	Read: func(_ context.Context, path string, o Options) (*Model, error) {
		s, err := export.OpenWith(path, o.NoTokenizer)
		if err != nil {
			return nil, err
		}
		q, err := s.Quantization()
		switch {
		case err != nil:
			return nil, err
		case q != nil:
			return nil, &arch.FieldError{Field: "quantization_config", Got: q.QuantMethod, Want: "float weights; mito quantises them itself"}
		}
		w, err := model.ReadWeights(s.Folder)
		if err != nil {
			return nil, err
		}
		return &Model{Weights: w, Tokenizer: s.Tok, Generation: s.Generation}, nil
	},
}
