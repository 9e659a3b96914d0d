package hf

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"mito/engine/arch"
	"mito/engine/checkpoint"
	"mito/engine/files"
)

// hints are what mito writes under the key "mito" of a config.json: what the architecture's own keys cannot say. They are
// taken only where the weights agree, so that a folder that another program has changed since is read as it is.
type hints struct {
	AttentionBias *bool `json:"attention_bias,omitempty"` // false: the zeros of the architecture are no biases
	MLPBias       *bool `json:"mlp_bias,omitempty"`
	Window        int   `json:"sliding_window,omitempty"` // that the context fits in, so that the architecture needs none
	Tied          bool  `json:"tie_word_embeddings,omitempty"`
}

const hintsKey = "mito"

// Config reads the configuration of a config.json of any architecture that mito has. What its weights may yet change, see
// Read, is as the keys say. Errors: *arch.FieldError, *checkpoint.FormatError.
func Config(raw []byte) (arch.Config, error) {
	c, _, _, err := parse(raw)
	return c, err
}

func parse(raw []byte) (c arch.Config, f *family, h hints, err error) {
	k := &keys{}
	if err := files.DecodeJSON(raw, &k.raw); err != nil {
		return c, nil, h, files.WithPath(err, checkpoint.ConfigName)
	}
	kind := get(k, "", "model_type")
	if kind == arch.ModelType {
		h = get(k, h, hintsKey)
		if c, err = arch.Parse(raw); err == nil {
			err = k.err
		}
		return c, nil, h, err
	}
	if f = familyOf(kind); f == nil {
		k.fail("model_type", fmt.Sprintf("%q", kind), "one of "+strings.Join(Supported(), ", ")+", the architectures that mito has")
		return c, nil, h, k.err
	}
	c = arch.Config{ModelType: arch.ModelType, Norm: f.norm, Position: f.position, QKNorm: f.qkNorm, RoPETheta: 10000}
	f.read(f, k, &c)
	h = get(k, h, hintsKey)
	if k.err != nil {
		return c, nil, h, fmt.Errorf("%s, a folder of %s: %w", checkpoint.ConfigName, kind, k.err)
	}
	if h.Window >= c.Context && windows(&c) == noWindow {
		c.Window = h.Window
	}
	if err := c.Validate(); err != nil {
		return c, nil, h, fmt.Errorf("%s, a folder of %s: %w", checkpoint.ConfigName, kind, err)
	}
	return c, f, h, nil
}

// Read returns the configuration and the weights under mito's names of an opened folder of float weights, whoever wrote
// it. Weights of F16 and BF16 become F32, which is exact. For a folder of model_type mito the weights are the file as it
// is. Whether values are finite is for the caller. Errors: *arch.FieldError for what mito does not have,
// *checkpoint.FormatError for weights that do not fit the configuration.
func Read(d *checkpoint.Folder) (arch.Config, *checkpoint.File, error) {
	c, f, h, err := parse(d.Config)
	if err != nil {
		return c, nil, err
	}
	if f == nil {
		return c, d.Weights, nil
	}
	s := f.source(d.Weights)
	if err := s.hint(&c, h); err != nil {
		return c, nil, err
	}
	var tensors []checkpoint.Tensor
	for _, at := range f.slots(&c) {
		var t checkpoint.Tensor
		switch {
		case at.extra: // zeros, as hint has seen
			s.used[s.name(at.name)] = true
			continue
		case at.missing:
			t = checkpoint.FromF32(at.tensor.Name, at.tensor.Shape, make([]float32, at.tensor.Size()))
		default:
			if t, err = s.read(at); err != nil {
				return c, nil, err
			}
		}
		tensors = append(tensors, t)
	}
	if err := s.rest(&c); err != nil {
		return c, nil, err
	}
	file, err := checkpoint.NewFile(d.Weights.Path, tensors)
	return c, file, err
}

// hint takes the word of a hint that there are no biases where all of them are zero.
func (s *source) hint(c *arch.Config, h hints) error {
	for _, b := range []struct {
		hint *bool
		key  *bool
		of   []arch.Part
	}{
		{h.AttentionBias, &c.AttentionBias, []arch.Part{arch.Query, arch.Key, arch.Value, arch.Output}},
		{h.MLPBias, &c.MLPBias, []arch.Part{arch.Gate, arch.Up, arch.Down}},
	} {
		if b.hint == nil || *b.hint || !*b.key {
			continue
		}
		*b.key = false
		without, all := *c, true
		for _, at := range s.f.slots(&without) {
			if !at.extra || !slices.Contains(b.of, at.part) {
				continue
			}
			t, err := s.file.Tensor(s.name(at.name))
			if err != nil {
				return err
			}
			all = all && slices.Equal(t.Shape, at.shape()) && zeros(t) // another shape is refused when it is read
		}
		*b.key = !all
	}
	return nil
}

// ModelType is the model_type of a folder, "" where it cannot be read.
func ModelType(dir string) string {
	var c struct {
		ModelType string `json:"model_type"`
	}
	if files.ReadJSON(filepath.Join(dir, checkpoint.ConfigName), &c, 0) != nil {
		return ""
	}
	return c.ModelType
}
