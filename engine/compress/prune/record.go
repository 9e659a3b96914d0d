package prune

import (
	"encoding/json"
	"errors"
	"fmt"

	"mito/engine/arch"
	"mito/engine/compress/quant"
	"mito/engine/files"
	"mito/engine/model"
)

// ConfigKey is the key of config.json that holds a model's prunings.
const ConfigKey = "mito_pruning"

// Record is what config.json says of one pruning.
type Record struct {
	Options
	Schedule string `json:"schedule"` // OneShot or Cubic
	// Reached is the share of zeros in the matrices that were masked, or of the parameters that a structured kind removed.
	Reached     float64                  `json:"reached"`
	Calibration *quant.CalibrationRecord `json:"calibration,omitempty"` // of the data that scores have seen
}

// Records are the prunings of a model, the first first.
type Records []Record

// AddTo returns config.json, one JSON object in whatever form, with the records in it.
func (rs Records) AddTo(config any) (any, error) {
	text, err := files.EncodeJSON(config)
	if err != nil {
		return nil, err
	}
	object := map[string]json.RawMessage{}
	if err := files.DecodeJSON(text, &object); err != nil {
		return nil, err
	}
	object[ConfigKey], err = json.Marshal(rs)
	return object, err
}

// ReadRecords finds the prunings of a model in its config.json; none is not an error. Errors: *files.FormatError,
// *train.OptionError.
func ReadRecords(config []byte) (Records, error) {
	var c struct {
		Pruning Records `json:"mito_pruning"`
	}
	if err := files.DecodeJSON(config, &c); err != nil {
		return nil, err
	}
	for i, r := range c.Pruning {
		if err := r.Validate(); err != nil {
			return nil, fmt.Errorf("%s[%d]: %w", ConfigKey, i, err)
		}
	}
	return c.Pruning, nil
}

// Blocks says that the model was pruned in the blocks of kernels/sparse.
func (rs Records) Blocks() bool {
	for _, r := range rs {
		if r.Kind == Block4x8 {
			return true
		}
	}
	return false
}

// Masks say by the names of matrices' tensors which weights live: 1, and which are zero and stay so: 0.
type Masks map[string][]float32

// ErrOtherModel is wrapped by errors about masks that are not those of a model.
var ErrOtherModel = errors.New("the mask is that of another model")

// MasksOf finds the masks of a pruned model: the exact zeros of the matrices that its records name and that it still has.
func MasksOf(rs Records, w *model.Weights) Masks {
	masks := Masks{}
	for _, r := range rs {
		if !r.Kind.Masks() {
			continue
		}
		found, _ := targets(w.Config, r.Modules)
		for _, m := range found {
			name := m.Weight().Name
			masks[name] = alive(w.Tensors[name])
		}
	}
	return masks
}

// alive is 1 where a weight is not zero.
func alive(w []float32) []float32 {
	mask := make([]float32, len(w))
	for i, v := range w {
		if v != 0 {
			mask[i] = 1
		}
	}
	return mask
}

// Alive is the mask of a matrix in which all weights live.
func Alive(m arch.Module) []float32 {
	mask := make([]float32, m.Rows*m.Cols)
	for i := range mask {
		mask[i] = 1
	}
	return mask
}

// Masked says by name which tensors have a mask.
func (ms Masks) Masked(tensor string) bool { return ms[tensor] != nil }

// Sparsity is the share of dead weights in the matrices that have a mask.
func (ms Masks) Sparsity() float64 {
	var dead, all float64
	for _, mask := range ms {
		for _, v := range mask {
			dead += float64(1 - v)
		}
		all += float64(len(mask))
	}
	if all == 0 {
		return 0
	}
	return dead / all
}

// Live is the number of weights that masks leave of a model's parameters.
func (ms Masks) Live(params int64) int64 {
	for _, mask := range ms {
		for _, v := range mask {
			if v == 0 {
				params--
			}
		}
	}
	return params
}

// RevivedError reports a weight that a mask says is zero and that is not.
type RevivedError struct {
	Tensor string
	Index  int
	Value  float32
}

func (e *RevivedError) Error() string {
	return fmt.Sprintf("prune: %s: element %d was pruned and is %v now", e.Tensor, e.Index, e.Value)
}

// Check says whether weights obey masks, as after training or a merge. Errors: *RevivedError, ErrOtherModel.
func (ms Masks) Check(tensors map[string][]float32) error {
	return ms.each(tensors, func(name string, i int, v *float32) error {
		if *v != 0 {
			return &RevivedError{Tensor: name, Index: i, Value: *v}
		}
		return nil
	})
}

func otherModel(name string, weights, mask int) error {
	return fmt.Errorf("prune: %s has %d weights, and %d were given: %w", name, weights, mask, ErrOtherModel)
}

// Apply sets the dead weights to zero, as after a merge that gave them values. Errors: ErrOtherModel.
func (ms Masks) Apply(tensors map[string][]float32) error {
	return ms.each(tensors, func(_ string, _ int, v *float32) error {
		*v = 0
		return nil
	})
}

func (ms Masks) each(tensors map[string][]float32, dead func(name string, i int, v *float32) error) error {
	for name, mask := range ms {
		w := tensors[name]
		if len(w) != len(mask) {
			return otherModel(name, len(w), len(mask))
		}
		for i := range mask {
			if mask[i] == 0 {
				if err := dead(name, i, &w[i]); err != nil {
					return err
				}
			}
		}
	}
	return nil
}
