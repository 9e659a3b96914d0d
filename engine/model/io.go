package model

import (
	"errors"
	"fmt"

	"gorgonia.org/tensor"

	"mito/backend"
	"mito/engine/arch"
	"mito/engine/checkpoint"
	"mito/engine/export/hf"
)

// Weights is a model's configuration with its parameters in ordinary memory, by name.
type Weights struct {
	Config  arch.Config
	Tensors map[string][]float32
}

// ReadWeights reads a checkpoint folder, mito's or another program's (see package hf), without a backend. Every tensor of
// the configuration must be there with its shape, and nothing else; values must be finite.
func ReadWeights(f *checkpoint.Folder) (*Weights, error) {
	c, file, err := hf.Read(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.Dir, err)
	}
	ps := parameters(c)
	if err := file.Expect(ps.Names()...); err != nil {
		return nil, fmt.Errorf("%s: %w", f.Dir, err)
	}
	w := &Weights{Config: c, Tensors: map[string][]float32{}}
	err = read(ps.List, file, "", func(p *Param, values []float32) error {
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
	return OpenWith(b, f, Options{Grads: grads})
}

// OpenWith builds a model on a backend as the options say, from a checkpoint folder. What products add to it is zero.
func OpenWith(b backend.Backend, f *checkpoint.Folder, o Options) (*Model, error) {
	c, file, err := hf.Read(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.Dir, err)
	}
	// Before memory is reserved, so that a configuration that lies about its size costs nothing.
	if err := parameters(c).fits(file); err != nil {
		return nil, fmt.Errorf("%s: %w", f.Dir, err)
	}
	m, err := Build(b, c, o)
	if err != nil {
		return nil, err
	}
	if err := m.Read(file); err != nil {
		return nil, fmt.Errorf("%s: %w", f.Dir, errors.Join(err, m.Close()))
	}
	return m, nil
}

// Read loads the parameters from named tensors. Every parameter must be there with its shape, and nothing else.
func (m *Model) Read(f *checkpoint.File) error {
	if err := f.Expect(m.Params.Names()...); err != nil {
		return err
	}
	values := map[*Param][]float32{}
	if err := read(m.Params.List, f, "", func(p *Param, v []float32) error {
		values[p] = v
		return nil
	}); err != nil {
		return err
	}
	return m.set(m.Params.List, func(p *Param) ([]float32, error) { return values[p], nil })
}

// Load gives the model's own parameters the values of weights in ordinary memory, which have its configuration.
func (m *Model) Load(w *Weights) error {
	return m.set(m.Params.List, func(p *Param) ([]float32, error) {
		if v := w.Tensors[p.Name]; len(v) == p.Size() {
			return v, nil
		}
		return nil, fmt.Errorf("model: %s has %d values, want %d", p.Name, len(w.Tensors[p.Name]), p.Size())
	})
}

// ReadTrained loads tensors whose names are prefix and a trained parameter's name into a flat tensor with the layout of
// what is trained: the parameters, an average of them, or a moment of the optimiser.
func (m *Model) ReadTrained(f *checkpoint.File, prefix string, flat *tensor.Dense) error {
	host := make([]float32, m.Params.length)
	if err := read(m.Params.Trained(), f, prefix, func(p *Param, values []float32) error {
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

func read(list []*Param, f *checkpoint.File, prefix string, use func(*Param, []float32) error) error {
	for _, p := range list {
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

// Tensors copies the model's own parameters into named tensors, as they ship. What is trained comes from a flat tensor with
// its layout, the parameters or an average of them; what a product holds in a form of its own is left out.
func (m *Model) Tensors(flat *tensor.Dense) ([]checkpoint.Tensor, error) {
	trained, frozen, err := m.download(flat)
	if err != nil {
		return nil, err
	}
	var out []checkpoint.Tensor
	for _, p := range m.Params.List {
		if !p.held {
			out = append(out, checkpoint.FromF32(p.Name, p.Shape, p.of(trained, frozen)))
		}
	}
	return out, nil
}

// Trained copies a flat tensor with the layout of what is trained into named tensors, for the state of a run.
func (m *Model) Trained(flat *tensor.Dense) ([]checkpoint.Tensor, error) {
	host := make([]float32, m.Params.length)
	if err := m.b.Download(host, flat); err != nil {
		return nil, err
	}
	var out []checkpoint.Tensor
	for _, p := range m.Params.Trained() {
		out = append(out, checkpoint.FromF32(p.Name, p.Shape, host[p.offset:][:p.Size()]))
	}
	return out, nil
}

// Host copies the model's own parameters into ordinary memory.
func (m *Model) Host() (*Weights, error) {
	trained, frozen, err := m.download(m.Params.Value)
	if err != nil {
		return nil, err
	}
	w := &Weights{Config: m.Config, Tensors: map[string][]float32{}}
	for _, p := range m.Params.List {
		if !p.held {
			w.Tensors[p.Name] = p.of(trained, frozen)
		}
	}
	return w, nil
}

// download copies a flat tensor of what is trained, and what is frozen.
func (m *Model) download(flat *tensor.Dense) (trained, frozen []float32, err error) {
	trained, frozen = make([]float32, m.Params.length), make([]float32, m.Params.frozen)
	if flat != nil {
		err = m.b.Download(trained, flat)
	}
	if err == nil && m.Params.Frozen != nil {
		err = m.b.Download(frozen, m.Params.Frozen)
	}
	return trained, frozen, err
}

// of finds the parameter in copies of the flat tensors.
func (p *Param) of(trained, frozen []float32) []float32 {
	if p.Frozen {
		trained = frozen
	}
	return trained[p.offset:][:p.Size()]
}
