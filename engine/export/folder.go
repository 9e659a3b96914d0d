package export

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"mito/engine/arch"
	"mito/engine/checkpoint"
	"mito/engine/compress/quant"
	"mito/engine/decode"
	"mito/engine/export/hf"
	"mito/engine/model"
)

// huggingFace is a folder for transformers: float weights, or INT8 ones for compressed-tensors.
var huggingFace = Format{
	Name: "hf", About: "a folder for Hugging Face's transformers; of an INT8 student, with compressed-tensors",
	Write: writeFolder, Open: decode.Open,
}

// writeFolder writes a folder as an architecture of transformers where there is one.
func writeFolder(_ context.Context, from *Source, out string, o Options) (*Result, error) {
	if o.NoTokenizer {
		from = &Source{Folder: from.Folder}
	}
	contents, c, err := folder(from, o)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", from.Dir, err)
	}
	if from.Generation != nil {
		contents.Generation = from.Generation
	}
	r := &Result{Format: "hf", Dir: out, Architecture: fmt.Sprint(contents.Config.(map[string]any)["model_type"])}
	if r.Architecture == arch.ModelType {
		r.Note = Note(c)
	}
	if err := Into(out, func() error { return checkpoint.Save(out, contents) }); err != nil {
		return nil, err
	}
	return r, r.Measure()
}

// Note tells people what a folder needs whose architecture transformers does not have; "" where it has it.
func Note(c arch.Config) string {
	why := hf.Why(c, nil)
	if why == "" {
		return ""
	}
	note := "transformers has no architecture with " + why + ": the folder carries " + checkpoint.ModelingName + ", and opens with trust_remote_code=True"
	if twin, _, ok := hf.FullAttention(c, nil); ok && hf.Why(twin, nil) == "" {
		note += fmt.Sprintf("; mito export hf --full-attention makes a twin that needs no code and computes the same on up to %d tokens", twin.Context)
	}
	return note
}

// errNoWindow refuses a twin of a model that is one already.
var errNoWindow = errors.New("--full-attention: the model has no windows, it looks at everything already")

// folder is what the folder holds, and the configuration that it was written for.
func folder(from *Source, o Options) (*checkpoint.Contents, arch.Config, error) {
	q, err := from.Quantization()
	if err != nil {
		return nil, arch.Config{}, err
	}
	if q == nil {
		w, err := model.ReadWeights(from.Folder)
		if err != nil {
			return nil, arch.Config{}, err
		}
		c, tensors := w.Config, Tensors(w)
		if o.FullAttention {
			var ok bool
			if c, tensors, ok = hf.FullAttention(c, tensors); !ok {
				return nil, c, errNoWindow
			}
		}
		contents, err := hf.Contents(c, tensors, from.Tok)
		return contents, c, err
	}
	w, err := quant.Read(from.Folder)
	if err != nil {
		return nil, arch.Config{}, err
	}
	own, err := quant.Contents(w, nil)
	if err != nil {
		return nil, arch.Config{}, err
	}
	c, tensors := w.Config, own.Tensors
	if o.FullAttention {
		var ok bool
		if c, tensors, ok = hf.FullAttention(c, tensors); !ok {
			return nil, c, errNoWindow
		}
	}
	contents, err := hf.Int8Contents(c, tensors, from.Tok)
	if err != nil {
		return nil, c, err
	}
	var said struct {
		Calibration json.RawMessage `json:"mito_calibration"`
		Pruning     json.RawMessage `json:"mito_pruning"`
	}
	if err := json.Unmarshal(from.Config, &said); err == nil && len(said.Calibration) > 0 {
		contents.Config.(map[string]any)["mito_calibration"] = said.Calibration
	}
	if q.Sparsity != nil || len(said.Pruning) > 0 { // blocks are mito's own: the zeros are written
		contents.Quantization.Sparsity = checkpoint.NewDense(quant.Sparsity(w))
	}
	return contents, c, nil
}

// Tensors lists the weights of a model in the order of its file.
func Tensors(w *model.Weights) []checkpoint.Tensor {
	var list []checkpoint.Tensor
	for _, t := range w.Config.Tensors() {
		list = append(list, checkpoint.FromF32(t.Name, t.Shape, w.Tensors[t.Name]))
	}
	return list
}
