package train

import (
	"fmt"
	"strings"

	"mito/engine/checkpoint"
	"mito/engine/model"
)

// maskPrefix stands before the name of a parameter in the state of a run, where its mask is.
const maskPrefix = "mask."

// masks copies the masks of the model's parameters for the state of the run, one byte a weight: an exact zero may be a weight
// that lives.
func (t *Trainer) masks() ([]checkpoint.Tensor, error) {
	var out []checkpoint.Tensor
	for _, p := range t.Model.Params.List {
		if p.Mask == nil {
			continue
		}
		host := make([]float32, p.Size())
		if err := t.b.Download(host, p.Mask); err != nil {
			return nil, err
		}
		bytes := make([]byte, len(host))
		for i, v := range host {
			bytes[i] = byte(v)
		}
		out = append(out, checkpoint.FromU8(maskPrefix+p.Name, p.Shape, bytes))
	}
	return out, nil
}

// savedMask is the mask of a parameter in the state of a run.
type savedMask struct {
	param *model.Param
	mask  []float32
}

// savedMasks reads the masks of a saved run. It must have those of the model's parameters and no others.
func (t *Trainer) savedMasks(f *checkpoint.File) ([]savedMask, error) {
	var list []savedMask
	for _, p := range t.Model.Params.List {
		if p.Mask == nil {
			continue
		}
		x, err := f.Get(maskPrefix+p.Name, checkpoint.U8, p.Shape...)
		if err != nil {
			return nil, fmt.Errorf("train: cannot resume: the saved run has no mask for %s: %w", p.Name, err)
		}
		m := savedMask{param: p, mask: make([]float32, p.Size())}
		for i, v := range x.Data {
			if v > 1 {
				return nil, fmt.Errorf("train: cannot resume: element %d of the mask of %s is %d, want 0 or 1: %w", i, p.Name, v, checkpoint.ErrRange)
			}
			m.mask[i] = float32(v)
		}
		list = append(list, m)
	}
	for i := range f.Tensors {
		if name, found := strings.CutPrefix(f.Tensors[i].Name, maskPrefix); found {
			if p := t.Model.Params.Lookup(name); p == nil || p.Mask == nil {
				return nil, fmt.Errorf("train: cannot resume: the saved run has a mask for %s, this one has none: %w", name, checkpoint.ErrUnexpected)
			}
		}
	}
	return list, nil
}
