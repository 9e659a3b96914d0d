package export

import (
	"context"
	"fmt"
	"io"
	"strings"

	"mito/engine/arch"
	"mito/engine/checkpoint"
	"mito/engine/compress/quant"
	"mito/engine/decode"
	"mito/engine/export/gguf"
	"mito/engine/export/hf"
	"mito/engine/files"
	"mito/engine/model"
	"mito/engine/student"
	"mito/engine/tokenizer"
)

// Plain is a model as the formats of other runtimes take it: float weights, those of an INT8 student being its codes times
// their scales.
type Plain struct {
	Config    arch.Config
	Tensors   []checkpoint.Tensor // mito's, F32
	Tokenizer tokenizer.Tokenizer // nil for none
}

// plain reads the model of a source as the options want it.
func plain(from *Source, o Options) (*Plain, error) {
	q, err := from.Quantization()
	if err != nil {
		return nil, err
	}
	p := &Plain{Tokenizer: from.Tok}
	if o.NoTokenizer {
		p.Tokenizer = nil
	}
	if q != nil {
		w, err := quant.Read(from.Folder)
		if err != nil {
			return nil, err
		}
		p.Config, p.Tensors = w.Config, widened(w)
	} else {
		w, err := model.ReadWeights(from.Folder)
		if err != nil {
			return nil, err
		}
		p.Config, p.Tensors = w.Config, Tensors(w)
	}
	if o.FullAttention {
		var ok bool
		if p.Config, p.Tensors, ok = hf.FullAttention(p.Config, p.Tensors); !ok {
			return nil, errNoWindow
		}
	}
	return p, nil
}

// widened are the weights of an INT8 student as floats: each code times the scale of its row.
func widened(w *student.Weights) []checkpoint.Tensor {
	values := map[string][]float32{}
	_ = w.Visit(func(name string, m *student.Matrix, v *[]float32) error {
		if m == nil {
			values[name] = *v
			return nil
		}
		f := make([]float32, len(m.Q))
		for i, q := range m.Q {
			f[i] = float32(q) * m.Scale[i/m.Cols]
		}
		values[name+".weight"] = f
		if m.Bias != nil {
			values[name+".bias"] = m.Bias
		}
		return nil
	})
	return Tensors(&model.Weights{Config: w.Config, Tensors: values})
}

// runtime computes with the model as it is given to a format.
func (p *Plain) runtime(d decode.Options) (decode.Runtime, error) {
	w := &model.Weights{Config: p.Config, Tensors: map[string][]float32{}}
	for i := range p.Tensors {
		t := &p.Tensors[i]
		v, err := t.F32()
		if err != nil {
			return nil, err
		}
		w.Tensors[t.Name] = v
	}
	return decode.NewFloat32(w, p.Tokenizer, d)
}

// reference is Format.Reference of formats that take a Plain.
func reference(from *Source, o Options, d decode.Options) (decode.Runtime, error) {
	p, err := plain(from, o)
	if err != nil {
		return nil, err
	}
	return p.runtime(d)
}

// MaxFile bounds a file of a model that is read whole.
const MaxFile = 64 << 30

// writeFile writes one file where nothing lies.
func writeFile(name string, from *Source, out string, o Options, write func(w io.Writer, p *Plain) (architecture string, err error)) (*Result, error) {
	p, err := plain(from, o)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", from.Dir, err)
	}
	r := &Result{Format: name, Dir: out}
	if err := Into(out, func() error {
		return files.SaveFile(out, func(w io.Writer) error {
			r.Architecture, err = write(w, p)
			return err
		})
	}); err != nil {
		return nil, err
	}
	return r, r.Measure()
}

// ggufFile is a file of llama.cpp.
var ggufFile = Format{
	Name: "gguf", About: "a file for llama.cpp, with the tokenizer inside",
	Types: []string{"F32", "F16", "Q8_0", "Q4_0"},
	Write: func(_ context.Context, from *Source, out string, o Options) (*Result, error) {
		t, err := gguf.ParseType(o.Type)
		if err != nil {
			return nil, err
		}
		var note string
		r, err := writeFile("gguf", from, out, o, func(w io.Writer, p *Plain) (string, error) {
			notes, err := gguf.Notes(p.Tokenizer)
			if err != nil {
				return "", err
			}
			note = strings.Join(notes, "\n")
			kind, err := gguf.Architecture(p.Config)
			if err != nil {
				return "", err
			}
			return kind, gguf.Write(w, p.Config, p.Tensors, p.Tokenizer, gguf.Options{Type: t, Name: "mito"})
		})
		if err == nil {
			r.Note = note
		}
		return r, err
	},
	Open: func(out string, d decode.Options) (decode.Runtime, error) {
		p, err := ReadGGUF(out)
		if err != nil {
			return nil, err
		}
		return p.runtime(d)
	},
	Reference: reference,
	Rounding:  func(o Options) float64 { return roundings[o.Type] },
}

// roundings are what a type's rounding may do to a logit, as a share of the largest: some three times what was seen. An error
// of layout does more; a subtle one in a small part of a model is found by F32, where not a bit may differ.
var roundings = map[string]float64{"F16": 0.005, "Q8_0": 0.05, "Q4_0": 0.5}

// ReadGGUF reads a file of llama.cpp. See gguf.Read for an error about the tokenizer alone.
func ReadGGUF(path string) (*Plain, error) {
	data, err := files.ReadLimited(path, MaxFile)
	if err != nil {
		return nil, err
	}
	if err := notPickle(path, data); err != nil {
		return nil, err
	}
	c, tensors, tok, err := gguf.Read(data)
	if err != nil && !gguf.IsTokenizer(err) {
		return nil, files.WithPath(fmt.Errorf("%s: %w", path, err), path)
	}
	return &Plain{Config: c, Tensors: tensors, Tokenizer: tok}, err
}

// notPickle refuses what torch.save writes, and any zip archive.
func notPickle(path string, data []byte) error {
	pickle := len(data) > 2 && data[0] == 0x80 && data[1] >= 2 && data[1] <= 5
	if pickle || len(data) > 4 && string(data[:4]) == "PK\x03\x04" {
		return &files.FormatError{Path: path, Err: files.ErrSyntax, Detail: "it is a pickle of Python, which can run any program when it is opened, so mito does not read it; " +
			"open it in transformers, where you trust it, and save it with save_pretrained, which writes safetensors: mito reads that folder"}
	}
	return nil
}
