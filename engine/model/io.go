package model

import (
	"fmt"

	"gorgonia.org/tensor"

	"mito/backend"
	"mito/engine/arch"
	"mito/engine/checkpoint"
)

// Weights is a model's configuration with its parameters in ordinary memory, by name.
type Weights struct {
	Config  arch.Config
	Tensors map[string][]float32
}

// ReadWeights reads a checkpoint folder without a backend. Every tensor of the configuration must be there with its
// shape, and nothing else; values must be finite.
func ReadWeights(f *checkpoint.Folder) (*Weights, error) {
	c, err := arch.Parse(f.Config)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.Dir, err)
	}
	ps := parameters(c)
	if err := f.Weights.Expect(ps.Names()...); err != nil {
		return nil, fmt.Errorf("%s: %w", f.Dir, err)
	}
	w := &Weights{Config: c, Tensors: map[string][]float32{}}
	err = ps.read(f.Weights, "", func(p *Param, values []float32) error {
		w.Tensors[p.Name] = values
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.Dir, err)
	}
	return w, nil
}

// parameters are those of a configuration, without values.
func parameters(c arch.Config) *Params {
	ps := &Params{}
	ps.declare(c)
	return ps
}

// Open builds a model on a backend from a checkpoint folder.
func Open(b backend.Backend, f *checkpoint.Folder, grads bool) (*Model, error) {
	c, err := arch.Parse(f.Config)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.Dir, err)
	}
	// Before memory is reserved, so that a configuration that lies about its size costs nothing.
	if err := parameters(c).fits(f.Weights); err != nil {
		return nil, fmt.Errorf("%s: %w", f.Dir, err)
	}
	m, err := New(b, c, grads)
	if err != nil {
		return nil, err
	}
	if err := m.Read(f.Weights); err != nil {
		m.Close()
		return nil, fmt.Errorf("%s: %w", f.Dir, err)
	}
	return m, nil
}

// Read loads the parameters from named tensors. Every parameter must be there with its shape, and nothing else.
func (m *Model) Read(f *checkpoint.File) error {
	if err := f.Expect(m.Params.Names()...); err != nil {
		return err
	}
	return m.ReadPrefixed(f, "", m.Params.Value)
}

// ReadPrefixed loads tensors whose names are prefix and a parameter's name into a flat tensor with the layout of
// the parameters: an average of them, or a moment of the optimiser.
func (m *Model) ReadPrefixed(f *checkpoint.File, prefix string, flat *tensor.Dense) error {
	host := make([]float32, m.Params.length)
	if err := m.Params.read(f, prefix, func(p *Param, values []float32) error {
		copy(host[p.offset:], values)
		return nil
	}); err != nil {
		return err
	}
	return m.b.Upload(flat, host)
}

// fits checks the names and shapes of a file's tensors.
func (ps *Params) fits(f *checkpoint.File) error {
	if err := f.Expect(ps.Names()...); err != nil {
		return err
	}
	for _, p := range ps.List {
		if _, err := f.Get(p.Name, checkpoint.F32, p.Shape...); err != nil {
			return err
		}
	}
	return nil
}

func (ps *Params) read(f *checkpoint.File, prefix string, use func(*Param, []float32) error) error {
	for _, p := range ps.List {
		t, err := f.Get(prefix+p.Name, checkpoint.F32, p.Shape...)
		if err != nil {
			return err
		}
		if err := t.CheckFinite(); err != nil {
			return err
		}
		values, err := t.F32()
		if err != nil {
			return err
		}
		if err := use(p, values); err != nil {
			return err
		}
	}
	return nil
}

// Tensors copies a flat tensor with the layout of the parameters into named tensors, for a checkpoint.
func (m *Model) Tensors(flat *tensor.Dense) ([]checkpoint.Tensor, error) {
	host := make([]float32, m.Params.length)
	if err := m.b.Download(host, flat); err != nil {
		return nil, err
	}
	out := make([]checkpoint.Tensor, len(m.Params.List))
	for i, p := range m.Params.List {
		out[i] = checkpoint.FromF32(p.Name, p.Shape, host[p.offset:p.offset+p.Size()])
	}
	return out, nil
}

// Host copies the parameters into ordinary memory.
func (m *Model) Host() (*Weights, error) {
	host := make([]float32, m.Params.length)
	if err := m.b.Download(host, m.Params.Value); err != nil {
		return nil, err
	}
	w := &Weights{Config: m.Config, Tensors: map[string][]float32{}}
	for _, p := range m.Params.List {
		w.Tensors[p.Name] = host[p.offset : p.offset+p.Size()]
	}
	return w, nil
}
