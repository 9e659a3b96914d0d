package lora

import (
	"fmt"
	"slices"

	"mito/engine/arch"
	"mito/engine/model"
	"mito/engine/session/adapters"
)

// Adapter is what was trained, in ordinary memory.
type Adapter struct {
	Config
	Base  string // SHA-256 of the weights that it was trained on; "" where its file does not say
	Pairs []Pair // in the order of the model's modules
}

// Pair is the addition s·B·A to the weight of one module.
type Pair struct {
	Module arch.Module
	A, B   []float32 // [r,in], [out,r]
}

// Params is the number of trained values.
func (a *Adapter) Params() (n int64) {
	for _, p := range a.Pairs {
		n += int64(len(p.A) + len(p.B))
	}
	return n
}

// Bytes is the size of the tensors as float32.
func (a *Adapter) Bytes() int64 { return 4 * a.Params() }

// Lookup finds the pair of a module by name, or nil.
func (a *Adapter) Lookup(module string) *Pair {
	i := slices.IndexFunc(a.Pairs, func(p Pair) bool { return p.Module.Name == module })
	if i < 0 {
		return nil
	}
	return &a.Pairs[i]
}

// FromTensors takes the adapter of a configuration out of named tensors in ordinary memory, such as what a model trained.
func (c *Config) FromTensors(modules []arch.Module, base string, values map[string][]float32) (*Adapter, error) {
	a := &Adapter{Config: *c, Base: base}
	for _, m := range modules {
		p := Pair{Module: m, A: values[m.Name+suffixA], B: values[m.Name+suffixB]}
		if len(p.A) != c.Rank*m.Cols || len(p.B) != c.Rank*m.Rows {
			return nil, fmt.Errorf("lora: %s has adapters of %d and %d values, want %d and %d", m.Name, len(p.A), len(p.B), c.Rank*m.Cols, c.Rank*m.Rows)
		}
		a.Pairs = append(a.Pairs, p)
	}
	return a, nil
}

// Values are the adapter's tensors by the names that a model with its products has for them.
func (a *Adapter) Values() map[string][]float32 {
	v := map[string][]float32{}
	for _, p := range a.Pairs {
		v[p.Module.Name+suffixA], v[p.Module.Name+suffixB] = p.A, p.B
	}
	return v
}

// BaseError reports an adapter that was trained on another base: its additions mean nothing there.
type BaseError struct{ Adapter, Want, Got string }

func (e *BaseError) Error() string {
	return fmt.Sprintf("%s was trained on a base whose weights have the SHA-256 %.12s…, this one has %.12s…: give the base that it "+
		"was trained on", e.Adapter, e.Want, e.Got)
}

// CheckBase refuses another base than the adapter's. An adapter that does not say which it is, as PEFT's do not, passes: its
// shapes are checked when it is read. Errors: *BaseError.
func (a *Adapter) CheckBase(name, hash string) error {
	if a.Base != "" && a.Base != hash {
		return &BaseError{Adapter: name, Want: a.Base, Got: hash}
	}
	return nil
}

// Runtime is the adapter as a runtime takes it.
func (a *Adapter) Runtime(name string) adapters.Adapter {
	out := adapters.Adapter{Name: name}
	for _, p := range a.Pairs {
		out.Additions = append(out.Additions, adapters.Addition{
			Layer: p.Module.Layer, Part: p.Module.Part, Rank: a.Rank, Scale: a.Scale(), A: p.A, B: p.B,
		})
	}
	return out
}

// Merge adds the adapter to weights, which it copies. Errors: a module without a weight.
func (a *Adapter) Merge(w *model.Weights) (*model.Weights, error) { return a.add(w, 1) }

// Unmerge takes out what Merge added; rounding remains.
func (a *Adapter) Unmerge(w *model.Weights) (*model.Weights, error) { return a.add(w, -1) }

func (a *Adapter) add(w *model.Weights, sign float64) (*model.Weights, error) {
	out := &model.Weights{Config: w.Config.Clone(), Tensors: map[string][]float32{}}
	for name, v := range w.Tensors {
		out.Tensors[name] = v
	}
	for i := range a.Pairs {
		p := &a.Pairs[i]
		name := p.Module.Weight().Name
		v := slices.Clone(out.Tensors[name])
		if len(v) != p.Module.Rows*p.Module.Cols {
			return nil, fmt.Errorf("lora: %s has %d values, the adapter needs %d", name, len(v), p.Module.Rows*p.Module.Cols)
		}
		a.AddTo(v, p, sign)
		out.Tensors[name] = v
	}
	return out, nil
}

// AddTo adds sign·s·B·A to a weight [out,in]. Sums are in float64, so that a weight is rounded once.
func (a *Adapter) AddTo(weight []float32, p *Pair, sign float64) {
	r, in := a.Rank, p.Module.Cols
	s := sign * float64(a.Scale())
	sum := make([]float64, in)
	for o := range p.Module.Rows {
		clear(sum)
		for k, b := range p.B[o*r:][:r] {
			for i, v := range p.A[k*in:][:in] {
				sum[i] += float64(float64(b) * float64(v))
			}
		}
		row := weight[o*in:][:in]
		for i := range row {
			row[i] = float32(float64(row[i]) + float64(s*sum[i]))
		}
	}
}
