package prune

import (
	"slices"

	"mito/engine/arch"
	"mito/engine/model"
)

// Plan is what a structured pruning leaves, by numbers in the old model, ascending.
type Plan struct {
	Layers  []int   // layers
	Width   []int   // channels of the residual stream
	Groups  [][]int // key/value heads, by old layer
	Neurons [][]int // by old layer
}

// Whole is the plan that leaves all.
func Whole(c arch.Config) Plan {
	p := Plan{Layers: upTo(c.Layers), Width: upTo(c.HiddenSize)}
	for i := range c.Layers {
		l := c.Layer(i)
		p.Groups, p.Neurons = append(p.Groups, upTo(l.KVHeads)), append(p.Neurons, upTo(l.IntermediateSize))
	}
	return p
}

func upTo(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}

// shape is the shape of a layer as its configuration says it, with the scale left out where it is the default.
func shape(c arch.Config, i int) arch.Layer {
	if c.LayerShapes != nil {
		return c.LayerShapes[i]
	}
	return arch.Layer{Heads: c.Heads, KVHeads: c.KVHeads, IntermediateSize: c.IntermediateSize, Window: c.Window, Scale: c.Scale}
}

// Config is the configuration of what the plan leaves.
func (p Plan) Config(c arch.Config) arch.Config {
	out := c.Clone()
	out.HiddenSize = len(p.Width)
	var layers []arch.Layer
	for _, i := range p.Layers {
		l := shape(c, i)
		share := l.Heads / l.KVHeads
		l.KVHeads, l.Heads, l.IntermediateSize = len(p.Groups[i]), share*len(p.Groups[i]), len(p.Neurons[i])
		layers = append(layers, l)
	}
	out.SetLayers(layers)
	return out
}

// Shrink cuts what a plan leaves out of a model. Norms of channels that are gone count no more: with Width every norm is that of
// the channels that stay.
func (p Plan) Shrink(w *model.Weights) (*model.Weights, error) {
	out := &model.Weights{Config: p.Config(w.Config), Tensors: map[string][]float32{}}
	if err := out.Config.Validate(); err != nil {
		return nil, err
	}
	index := w.Config.Index()
	for _, m := range out.Config.Modules() {
		from := m.Layer
		if from >= 0 {
			from = p.Layers[m.Layer]
		}
		old := index[arch.Place{Layer: from, Part: m.Part}]
		rows, cols := p.slices(w.Config, m.Part, from)
		if rows == nil {
			rows = upTo(old.Rows)
		}
		if !m.IsMatrix() {
			rows = []int{0}
		}
		if cols == nil {
			cols = upTo(old.Cols)
		}
		out.Tensors[m.Weight().Name] = cut(w.Tensors[old.Weight().Name], old.Cols, rows, cols)
		if m.Bias {
			of := rows
			if !m.IsMatrix() {
				of = cols
			}
			out.Tensors[m.BiasTensor().Name] = cut(w.Tensors[old.BiasTensor().Name], 1, of, []int{0})
		}
	}
	return out, nil
}

// slices are the rows and columns that stay of a module of an old layer; nil for all.
func (p Plan) slices(c arch.Config, part arch.Part, layer int) (rows, cols []int) {
	switch part {
	case arch.Query:
		return p.heads(c, layer), p.Width
	case arch.Key, arch.Value:
		return spread(p.Groups[layer], c.HeadDim), p.Width
	case arch.Output:
		return p.Width, p.heads(c, layer)
	case arch.Gate, arch.Up:
		return p.Neurons[layer], p.Width
	case arch.Down:
		return p.Width, p.Neurons[layer]
	case arch.PLEOut:
		return p.Width, nil
	case arch.QueryNorm, arch.KeyNorm, arch.PLETable:
		return nil, nil
	}
	return nil, p.Width // norms, tables and the gate of per-layer embeddings
}

// heads are the channels of the query heads that stay.
func (p Plan) heads(c arch.Config, layer int) []int {
	l := c.Layer(layer)
	return spread(p.Groups[layer], l.Heads/l.KVHeads*c.HeadDim)
}

// spread lists the n channels of each unit.
func spread(units []int, n int) []int {
	out := make([]int, 0, len(units)*n)
	for _, u := range units {
		for i := range n {
			out = append(out, u*n+i)
		}
	}
	return out
}

// cut takes rows and columns of x, whose rows are width wide.
func cut(x []float32, width int, rows, cols []int) []float32 {
	out := make([]float32, 0, len(rows)*len(cols))
	for _, r := range rows {
		for _, c := range cols {
			out = append(out, x[r*width+c])
		}
	}
	return out
}

// without lists the numbers below n that are not in gone.
func without(n int, gone []int) []int {
	return slices.DeleteFunc(upTo(n), func(i int) bool { return slices.Contains(gone, i) })
}
