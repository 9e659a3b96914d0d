package quant

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"mito/engine/arch"
	"mito/engine/checkpoint"
	"mito/engine/export/hf"
	"mito/engine/student"
)

// ErrNotQuantized is returned by Load for a folder that holds float weights.
var ErrNotQuantized = errors.New("not an INT8 student")

// config is config.json: the model's shape and, beside it, what calibration has seen.
type config struct {
	arch.Config
	SpecVersion int                `json:"spec_version"`
	Calibration *CalibrationRecord `json:"mito_calibration,omitempty"`
	Pruning     json.RawMessage    `json:"mito_pruning,omitempty"`
	Open        string             `json:"mito_open"` // for people who try another program on the folder
}

// open says what other programs need of a folder whose form is mito's own.
const open = "this folder is for mito and its devices; for transformers with compressed-tensors, or onnxruntime: mito export hf (or onnx) --model THIS --out OUT"

// Contents returns what a checkpoint folder of the student holds: INT8 weights and float32 scales, gains and biases, and
// the quantization_config. Matrices that the report gives fewer than 8 bits are stored in codes, those of a report with Blocks that
// are smaller in blocks are stored so. The caller may add a tokenizer before checkpoint.Save. report may be nil. Errors: as of
// Weights.Validate; checkpoint.ErrRange for weights that are no codes of the report's bits.
func Contents(w *student.Weights, report *Report) (*checkpoint.Contents, error) {
	if err := w.Validate(); err != nil {
		return nil, err
	}
	c := &checkpoint.Contents{Quantization: checkpoint.NewInt8()}
	cfg := config{Config: w.Config, SpecVersion: arch.SpecVersion, Open: open}
	cfg.ModelType = checkpoint.ModelType
	if report != nil {
		cfg.Calibration, cfg.Pruning = report.Calibration, report.Pruning
	}
	c.Config = cfg
	blocks := blocksOf(w, report)
	if len(blocks) > 0 {
		c.Quantization.Sparsity = checkpoint.NewBlocks(sparsityOf(w, blocks), blocks)
	}
	codes := map[int][]string{}
	err := w.Visit(func(name string, m *student.Matrix, v *[]float32) error {
		if m == nil {
			c.Tensors = append(c.Tensors, checkpoint.FromF32(name, []int{len(*v)}, *v))
			return nil
		}
		store, bits := checkpoint.QuantizedTensors, report.bits(name)
		switch {
		case slices.Contains(blocks, name):
			store = checkpoint.BlockTensors
		case bits != wholeBits:
			codes[bits] = append(codes[bits], name)
			store = func(module string, rows, cols int, weights []int8, scales []float32) ([]checkpoint.Tensor, error) {
				return checkpoint.CodeTensors(module, rows, cols, bits, weights, scales)
			}
		}
		ts, err := store(name, m.Rows, m.Cols, m.Q, m.Scale)
		if err != nil {
			return err
		}
		if m.Bias != nil {
			ts = append(ts, checkpoint.FromF32(name+".bias", []int{m.Rows}, m.Bias))
		}
		c.Tensors = append(c.Tensors, ts...)
		return nil
	})
	for bits, names := range codes {
		c.Quantization.AddCodes(bits, names)
	}
	return c, err
}

// Save writes the student to a checkpoint folder, without a tokenizer. report may be nil. Errors: as of Contents and
// checkpoint.Save.
func Save(dir string, w *student.Weights, report *Report) error {
	c, err := Contents(w, report)
	if err != nil {
		return err
	}
	return checkpoint.Save(dir, c)
}

// Load reads a student from a folder. Errors: ErrNotQuantized for float weights, *checkpoint.FormatError,
// *arch.FieldError, *student.WeightError, and those of the file system.
func Load(dir string) (*student.Weights, error) {
	f, err := checkpoint.Open(dir)
	if err != nil {
		return nil, err
	}
	return Read(f)
}

// Read reads a student from an opened folder. Errors: as of Load.
func Read(f *checkpoint.Folder) (*student.Weights, error) {
	q, err := f.Quantization()
	if err != nil {
		return nil, err
	}
	if q == nil {
		return nil, fmt.Errorf("quant: %s: %w: config.json has no quantization_config", f.Dir, ErrNotQuantized)
	}
	if err := q.CheckInt8(); err != nil {
		return nil, fmt.Errorf("quant: %s: %w", f.Dir, err)
	}
	if err := checkVersion(f.Config); err != nil {
		return nil, fmt.Errorf("quant: %s: %w", f.Dir, err)
	}
	c, file, err := hf.ReadInt8(f)
	if err != nil {
		return nil, fmt.Errorf("quant: %s: %w", f.Dir, err)
	}
	// Sizes come from the tensors, which are as large as the file says; Validate compares them with the configuration.
	w := &student.Weights{Config: c, Layers: make([]student.Layer, c.Layers)}
	if q.InBlocks() && c.Params() > maxExpansion*file.Bytes() {
		return nil, fmt.Errorf("quant: %s: %d weights are said to be in %d bytes of blocks: %w", f.Dir, c.Params(), file.Bytes(), checkpoint.ErrRange)
	}
	if err := fill(w, file, q.InBlocks(), q.Codes()); err != nil {
		return nil, fmt.Errorf("quant: %s: %w", f.Dir, err)
	}
	if err := w.Validate(); err != nil {
		return nil, fmt.Errorf("quant: %s: %w", f.Dir, err)
	}
	return w, nil
}

// checkVersion refuses students that were quantised for other arithmetic than this. Folders of other architectures hold weights
// only.
func checkVersion(raw json.RawMessage) error {
	v := struct {
		Model string `json:"model_type"`
		Spec  int    `json:"spec_version"`
	}{Spec: 1}
	if err := json.Unmarshal(raw, &v); err != nil {
		return &checkpoint.FormatError{Path: checkpoint.ConfigName, Err: checkpoint.ErrSyntax, Detail: err.Error()}
	}
	if v.Model == checkpoint.ModelType && v.Spec != arch.SpecVersion {
		return &arch.FieldError{Field: "spec_version", Got: v.Spec, Want: fmt.Sprintf("%d: the student's arithmetic has changed, quantise the float model again", arch.SpecVersion)}
	}
	return nil
}

// fill takes every tensor of the configuration from the file, which must hold nothing else.
func fill(w *student.Weights, f *checkpoint.File, blocks bool, codes map[string]int) error {
	var names []string
	modules := map[string]arch.Module{}
	for _, m := range w.Config.Modules() {
		modules[m.Name] = m
	}
	err := w.Visit(func(name string, m *student.Matrix, v *[]float32) (err error) {
		if m == nil {
			names = append(names, name)
			*v, err = vector(f, name)
			return err
		}
		switch {
		case blocks && f.HasBlocks(name):
			m.Rows, m.Cols = modules[name].Rows, modules[name].Cols
			names = append(names, checkpoint.BlockNames(name)...)
			m.Q, m.Scale, err = f.Blocks(name, m.Rows, m.Cols)
		case codes[name] != 0:
			m.Rows, m.Cols = modules[name].Rows, modules[name].Cols
			names = append(names, checkpoint.CodeNames(name)...)
			m.Q, m.Scale, err = f.Codes(name, m.Rows, m.Cols, codes[name])
		default:
			names = append(names, name+".weight", name+".weight_scale")
			err = whole(m, f, name)
		}
		if err != nil {
			return err
		}
		if f.Has(name + ".bias") {
			names = append(names, name+".bias")
			m.Bias, err = vector(f, name+".bias")
		}
		return err
	})
	if err != nil {
		return err
	}
	return f.Expect(names...)
}

// whole reads a matrix with all its weights.
func whole(m *student.Matrix, f *checkpoint.File, name string) error {
	t, err := f.Tensor(name + ".weight")
	if err != nil {
		return err
	}
	if len(t.Shape) != 2 {
		return fmt.Errorf("%s.weight: shape %v, want two dimensions: %w", name, t.Shape, checkpoint.ErrShape)
	}
	m.Rows, m.Cols = t.Shape[0], t.Shape[1]
	m.Q, m.Scale, err = f.Quantized(name, m.Rows, m.Cols)
	return err
}

func vector(f *checkpoint.File, name string) ([]float32, error) {
	t, err := f.Tensor(name)
	if err != nil {
		return nil, err
	}
	return t.F32()
}
