package model

import (
	"encoding/json"
	"errors"
	"math"
	"path/filepath"
	"slices"
	"testing"

	"mito/backend"
	"mito/engine/arch"
	"mito/engine/checkpoint"
	"mito/kernels/kerneltest"
)

// save writes a folder of a configuration and tensors.
func save(t *testing.T, c arch.Config, tensors []checkpoint.Tensor) *checkpoint.Folder {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "model")
	check(t, checkpoint.Save(dir, &checkpoint.Contents{Config: c, Tensors: tensors}))
	f, err := checkpoint.Open(dir)
	check(t, err)
	return f
}

func TestRoundTrip(t *testing.T) {
	eachBackend(t, func(t *testing.T, b backend.Backend) {
		for _, v := range variants {
			m := newModel(t, b, v.config())
			tensors, err := m.Tensors(m.Params.Value)
			check(t, err)
			f := save(t, m.Config, tensors)

			host, err := m.Host()
			check(t, err)
			w, err := ReadWeights(f)
			check(t, err)
			if !w.Config.Equal(m.Config) {
				t.Errorf("%s: configuration %+v came back as %+v", v.name, m.Config, w.Config)
			}
			if len(w.Tensors) != len(m.Params.List) {
				t.Errorf("%s: %d tensors came back, want %d", v.name, len(w.Tensors), len(m.Params.List))
			}
			for name, want := range host.Tensors {
				if err := kerneltest.Bits(w.Tensors[name], want); err != nil {
					t.Errorf("%s: %s: %v", v.name, name, err)
				}
			}

			opened, err := Open(b, f, true)
			check(t, err)
			data := newBatch(m.Config, 1, 16)
			_, want, _ := data.train(t, m, 1)
			_, got, _ := data.train(t, opened, 1)
			if err := kerneltest.Bits(got, want); err != nil {
				t.Errorf("%s: logits of the opened model: %v", v.name, err)
			}
			check(t, opened.Close())
		}
	})
}

// A flat tensor beside the parameters, such as a moment of the optimiser, travels under a prefix.
func TestReadTrained(t *testing.T) {
	b := openCPU(t, 1)
	m := newModel(t, b, small())
	data := newBatch(m.Config, 1, 8)
	data.train(t, m, 1)
	tensors, err := m.Tensors(m.Params.Grad)
	check(t, err)
	for i := range tensors {
		tensors[i].Name = "first." + tensors[i].Name
	}
	f := save(t, m.Config, tensors).Weights
	want := make([]float32, m.Params.Length())
	check(t, b.Download(want, m.Params.Grad))
	check(t, m.ZeroGrad())
	check(t, m.ReadTrained(f, "first.", m.Params.Grad))
	got := make([]float32, len(want))
	check(t, b.Download(got, m.Params.Grad))
	if err := kerneltest.Bits(got, want); err != nil {
		t.Error(err)
	}
	if err := m.ReadTrained(f, "second.", m.Params.Grad); !errors.Is(err, checkpoint.ErrMissing) {
		t.Errorf("another prefix: %v, want ErrMissing", err)
	}
}

// What does not fit the configuration is refused, by ReadWeights and by Open alike.
func TestRefusals(t *testing.T) {
	b := openCPU(t, 1)
	m := newModel(t, b, small())
	good, err := m.Tensors(m.Params.Value)
	check(t, err)
	for _, c := range []struct {
		name  string
		spoil func(c *arch.Config, t []checkpoint.Tensor) []checkpoint.Tensor
		want  error
	}{
		{"a tensor missing", func(_ *arch.Config, t []checkpoint.Tensor) []checkpoint.Tensor { return t[1:] }, checkpoint.ErrMissing},
		{"a tensor too many", func(_ *arch.Config, t []checkpoint.Tensor) []checkpoint.Tensor {
			return append(t, checkpoint.FromF32("lm_head.weight", []int{1}, []float32{1}))
		}, checkpoint.ErrUnexpected},
		{"a transposed tensor", func(_ *arch.Config, t []checkpoint.Tensor) []checkpoint.Tensor {
			t[0].Shape = []int{t[0].Shape[1], t[0].Shape[0]}
			return t
		}, checkpoint.ErrShape},
		{"integers", func(_ *arch.Config, t []checkpoint.Tensor) []checkpoint.Tensor {
			t[0] = checkpoint.FromI32(t[0].Name, t[0].Shape, make([]int32, t[0].Len()))
			return t
		}, checkpoint.ErrDType},
		{"a larger configuration", func(c *arch.Config, t []checkpoint.Tensor) []checkpoint.Tensor { c.HiddenSize++; return t }, checkpoint.ErrShape},
		{"a configuration larger than the machine", func(c *arch.Config, t []checkpoint.Tensor) []checkpoint.Tensor {
			c.VocabSize, c.HiddenSize, c.IntermediateSize = 1<<20, 1<<16, 1<<16
			return t
		}, checkpoint.ErrShape},
		{"more layers", func(c *arch.Config, t []checkpoint.Tensor) []checkpoint.Tensor { c.Layers++; return t }, checkpoint.ErrMissing},
		{"fewer layers", func(c *arch.Config, t []checkpoint.Tensor) []checkpoint.Tensor { c.Layers--; return t }, checkpoint.ErrUnexpected},
		{"untied", func(c *arch.Config, t []checkpoint.Tensor) []checkpoint.Tensor { c.TieEmbeddings = false; return t }, checkpoint.ErrMissing},
	} {
		config := m.Config
		f := save(t, config, c.spoil(&config, slices.Clone(good)))
		f.Config, err = json.Marshal(config)
		check(t, err)
		if _, err := ReadWeights(f); !errors.Is(err, c.want) {
			t.Errorf("%s: ReadWeights says %v, want %v", c.name, err, c.want)
		}
		if _, err := Open(b, f, false); !errors.Is(err, c.want) {
			t.Errorf("%s: Open says %v, want %v", c.name, err, c.want)
		}
	}

	// Save refuses values that are not finite; a file from elsewhere may hold them.
	f := save(t, m.Config, good)
	for i := range f.Weights.Tensors {
		values, err := f.Weights.Tensors[i].F32()
		check(t, err)
		values[len(values)-1] = float32(math.NaN())
		copy(f.Weights.Tensors[i].Data, checkpoint.FromF32("", f.Weights.Tensors[i].Shape, values).Data)
		break
	}
	if _, err := ReadWeights(f); !errors.Is(err, checkpoint.ErrNotFinite) {
		t.Errorf("NaN: %v, want ErrNotFinite", err)
	}
	if _, err := Open(b, f, false); !errors.Is(err, checkpoint.ErrNotFinite) {
		t.Errorf("NaN: %v, want ErrNotFinite", err)
	}
}
