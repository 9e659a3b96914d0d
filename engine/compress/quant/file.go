package quant

import (
	"errors"
	"fmt"

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
	Calibration *CalibrationRecord `json:"mito_calibration,omitempty"`
}

// Contents returns what a checkpoint folder of the student holds: INT8 weights and float32 scales, gains and biases, and
// the quantization_config. The caller may add a tokenizer before checkpoint.Save. report may be nil. Errors: as of
// Weights.Validate.
func Contents(w *student.Weights, report *Report) (*checkpoint.Contents, error) {
	if err := w.Validate(); err != nil {
		return nil, err
	}
	c := &checkpoint.Contents{Quantization: checkpoint.NewInt8()}
	cfg := config{Config: w.Config}
	cfg.ModelType = checkpoint.ModelType
	if report != nil {
		cfg.Calibration = report.Calibration
	}
	c.Config = cfg
	err := w.Visit(func(name string, m *student.Matrix, v *[]float32) error {
		if m == nil {
			c.Tensors = append(c.Tensors, checkpoint.FromF32(name, []int{len(*v)}, *v))
			return nil
		}
		ts, err := checkpoint.QuantizedTensors(name, m.Rows, m.Cols, m.Q, m.Scale)
		if err != nil {
			return err
		}
		if m.Bias != nil {
			ts = append(ts, checkpoint.FromF32(name+".bias", []int{m.Rows}, m.Bias))
		}
		c.Tensors = append(c.Tensors, ts...)
		return nil
	})
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
	c, file, err := hf.ReadInt8(f)
	if err != nil {
		return nil, fmt.Errorf("quant: %s: %w", f.Dir, err)
	}
	// Sizes come from the tensors, which are as large as the file says; Validate compares them with the configuration.
	w := &student.Weights{Config: c, Layers: make([]student.Layer, c.Layers)}
	if err := fill(w, file); err != nil {
		return nil, fmt.Errorf("quant: %s: %w", f.Dir, err)
	}
	if err := w.Validate(); err != nil {
		return nil, fmt.Errorf("quant: %s: %w", f.Dir, err)
	}
	return w, nil
}

// fill takes every tensor of the configuration from the file, which must hold nothing else.
func fill(w *student.Weights, f *checkpoint.File) error {
	var names []string
	err := w.Visit(func(name string, m *student.Matrix, v *[]float32) (err error) {
		if m == nil {
			names = append(names, name)
			*v, err = vector(f, name)
			return err
		}
		names = append(names, name+".weight", name+".weight_scale")
		t, err := f.Tensor(name + ".weight")
		if err != nil {
			return err
		}
		if len(t.Shape) != 2 {
			return fmt.Errorf("%s.weight: shape %v, want two dimensions: %w", name, t.Shape, checkpoint.ErrShape)
		}
		m.Rows, m.Cols = t.Shape[0], t.Shape[1]
		if m.Q, m.Scale, err = f.Quantized(name, m.Rows, m.Cols); err != nil {
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

func vector(f *checkpoint.File, name string) ([]float32, error) {
	t, err := f.Tensor(name)
	if err != nil {
		return nil, err
	}
	return t.F32()
}

// FileSize predicts the size of model.safetensors: a byte for each INT8 weight, four for each scale, gain and bias, and in
// the header about 70 bytes and the name for each tensor.
func FileSize(w *student.Weights) int {
	const perTensor, fixed = 70, 8 + 32
	n := fixed + w.Bytes()
	_ = w.Visit(func(name string, m *student.Matrix, _ *[]float32) error {
		n += perTensor + len(name)
		if m != nil {
			n += perTensor + len(name) + len(".weight") + len(".weight_scale")
			if m.Bias != nil {
				n += perTensor + len(name) + len(".bias")
			}
		}
		return nil
	})
	return n
}
