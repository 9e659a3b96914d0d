package convert

import (
	"fmt"
	"slices"

	"mito/engine/arch"
	"mito/engine/model"
	"mito/engine/train"
)

// How old heads of keys and values become a new one.
const (
	Fit  = "fit"  // what loses least of what they compute; with biases it is the mean
	Mean = "mean" // arXiv:2305.13245
)

// Options say what attention becomes.
type Options struct {
	KVHeads int    `json:"kv_heads"` // key and value heads of a layer; 0 for as many as there are
	Pool    string `json:"pool"`     // how heads become one: Fit or Mean; "" is Fit
	Window  int    `json:"window"`   // positions that a token sees, itself included; 0 for as many as now
	Layers  []int  `json:"layers"`   // that change; nil for all
}

func refuse(field string, got any, want string) error {
	return &train.OptionError{Field: field, Got: got, Want: want}
}

// Check refuses what a model cannot become. Errors: *train.OptionError.
func (o Options) Check(c arch.Config) error {
	switch {
	case o.KVHeads == 0 && o.Window == 0:
		return refuse("kv-heads", 0, "a number of key and value heads, or a window: there is nothing to convert")
	case o.Pool != "" && o.Pool != Fit && o.Pool != Mean:
		return refuse("pool", o.Pool, Fit+" or "+Mean)
	case o.KVHeads < 0:
		return refuse("kv-heads", o.KVHeads, "1 or more")
	case o.Window < 0:
		return refuse("window", o.Window, "1 or more positions")
	case o.Window >= c.Context:
		return refuse("window", o.Window, fmt.Sprintf("fewer than the model's context of %d", c.Context))
	case o.Layers != nil && len(o.Layers) == 0:
		return refuse("layers", "none", "one or more, or all")
	}
	for _, i := range o.Layers {
		if i < 0 || i >= c.Layers {
			return refuse("layers", i, fmt.Sprintf("0 to %d", c.Layers-1))
		}
	}
	for i := range c.Layers {
		l := c.Layer(i)
		if !o.changes(i) {
			continue
		}
		if o.KVHeads > 0 && (o.KVHeads >= l.KVHeads && o.Window == 0 || o.KVHeads > l.KVHeads || l.KVHeads%o.KVHeads != 0) {
			return refuse("kv-heads", o.KVHeads, fmt.Sprintf("a divisor of the %d of layer %d, and less", l.KVHeads, i))
		}
		if o.Window > 0 && l.Window > 0 && o.Window > l.Window {
			return refuse("window", o.Window, fmt.Sprintf("at most the %d that layer %d sees already", l.Window, i))
		}
	}
	return nil
}

func (o Options) changes(layer int) bool { return o.Layers == nil || slices.Contains(o.Layers, layer) }

// Config is what a configuration becomes.
func (o Options) Config(c arch.Config) (arch.Config, error) {
	if err := o.Check(c); err != nil {
		return c, err
	}
	out := c.Clone()
	layers := make([]arch.Layer, c.Layers)
	for i := range layers {
		layers[i] = arch.Layer{Heads: c.Heads, KVHeads: c.KVHeads, IntermediateSize: c.IntermediateSize, Window: c.Window, Scale: c.Scale}
		if c.LayerShapes != nil {
			layers[i] = c.LayerShapes[i]
		}
		if !o.changes(i) {
			continue
		}
		if o.KVHeads > 0 {
			layers[i].KVHeads = o.KVHeads
		}
		if o.Window > 0 {
			layers[i].Window = o.Window
		}
	}
	out.SetLayers(layers)
	return out, out.Validate()
}

// Convert makes the weights of the converted model. What does not change is shared with w. Moments may be nil; Fit then knows the
// weights alone.
func Convert(w *model.Weights, moments Moments, o Options) (*model.Weights, error) {
	c, err := o.Config(w.Config)
	if err != nil {
		return nil, err
	}
	out := &model.Weights{Config: c, Tensors: map[string][]float32{}}
	old := w.Config.Index()
	for _, m := range c.Modules() {
		was := old[arch.Place{Layer: m.Layer, Part: m.Part}]
		tensors := []arch.Tensor{m.Weight()}
		if m.Bias {
			tensors = append(tensors, m.BiasTensor())
		}
		for i, t := range tensors {
			v := w.Tensors[t.Name]
			if m.IsMatrix() && m.Rows != was.Rows {
				cols := m.Cols
				if i > 0 {
					cols = 1
				}
				v = pool(v, m.Rows/c.HeadDim, was.Rows/m.Rows, c.HeadDim*cols)
			}
			out.Tensors[t.Name] = v
		}
	}
	for i := range c.Layers {
		if heads := c.Layer(i).KVHeads; o.Pool != Mean && !c.AttentionBias && heads < w.Config.Layer(i).KVHeads {
			fitLayer(w, out, moments, i, heads)
		}
	}
	return out, nil
}

// pool is the mean of each ratio heads of size values, for so many heads.
func pool(v []float32, heads, ratio, size int) []float32 {
	out := make([]float32, heads*size)
	for g := range heads {
		for i := range size {
			sum := 0.0
			for r := range ratio {
				sum += float64(v[(g*ratio+r)*size+i])
			}
			out[g*size+i] = float32(sum / float64(ratio))
		}
	}
	return out
}

// CacheBytes is what the keys and values of one sequence of the model's context take: float32, or INT8 with a float32 scale for
// each head of a position.
func CacheBytes(c arch.Config) (f32, int8 int64) {
	for i := range c.Layers {
		l := c.Layer(i)
		positions := c.Context
		if l.Window > 0 {
			positions = min(positions, l.Window)
		}
		rows := 2 * int64(l.KVHeads) * int64(positions)
		f32 += 4 * rows * int64(c.HeadDim)
		int8 += rows * int64(c.HeadDim+4)
	}
	return f32, int8
}
