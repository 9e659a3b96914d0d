package hf

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"mito/engine/arch"
)

// family is an architecture of transformers: what it can be, the keys that say it, and where its weights lie.
type family struct {
	name, class string // model_type and the class in "architectures"

	// What every model of it is.
	norm, position string
	acts           [][2]string // its names of activations with mito's; the first of each is written
	qkNorm         bool
	square         bool // heads are C/H wide
	mha            bool // every query head has its own key head
	unscaled       int  // 0: scores are divided by √D; 1: they may be left as they are; 2: they always are
	window         int
	attnBias, bias int  // of the attention's and the MLP's matrices
	oneBias        bool // both or neither
	defaults       defaults

	read   func(f *family, k *keys, c *arch.Config)
	writer func(f *family, c *arch.Config, o map[string]any)
	names  names
}

// Windows that a family can have.
const (
	noWindow   = iota
	oneWindow  // the same in every layer
	eachWindow // one width, in some layers
)

// Biases that a family can have.
const (
	never      = iota
	byKey      // a key says whether all have one
	always     // every one has
	onlyOutput // o_proj has, query, key and value have not
	notOutput  // a key says whether query, key and value have one; o_proj has not
)

// defaults are what keys mean that are not there.
type defaults struct {
	kv     int // 0 for as many as heads
	head   int // 0 for C/H
	eps    float32
	theta  float64
	part   float64 // of a head that is turned
	tied   bool
	window int
	act    string
}

// names are those of the modules of a family.
type names struct {
	prefix string // of the base model; some files leave it out
	layer  string // of a layer, with %d
	parts  map[arch.Part]string
	conv   bool // matrices of layers lie transposed, as in GPT-2's Conv1D
	fused  bool // query, key and value are one
}

// reason says why a model is none of the family, "" where it is.
func (f *family) reason(c *arch.Config) string {
	switch {
	case c.AuxVocab > 0:
		return "a second output head"
	case c.PLEDim > 0:
		return "per-layer embeddings"
	case !uniform(c):
		return "layers of unequal shape"
	case c.Norm != f.norm || c.Position != f.position:
		return c.Norm + " with " + c.Position + " positions"
	case f.act(c.Activation) == "":
		return "the activation " + c.Activation
	case c.QKNorm != f.qkNorm:
		return "QK-norm, or none"
	case f.square && c.Heads*c.HeadDim != c.HiddenSize:
		return "heads that are not hidden_size/num_attention_heads wide"
	case f.mha && c.Heads != c.KVHeads:
		return "grouped-query attention"
	case !f.scales(c):
		return "the scale of its attention"
	case f.window < windows(c):
		return "a sliding window"
	case f.attnBias == never && c.AttentionBias:
		return "biases of attention"
	case f.bias == never && c.MLPBias:
		return "biases of the MLP"
	case f.oneBias && c.AttentionBias != c.MLPBias:
		return "biases of attention or of the MLP alone"
	}
	return ""
}

// uniform says that layers differ in nothing but their windows.
func uniform(c *arch.Config) bool {
	for i := range c.LayerShapes {
		l, first := c.Layer(i), c.Layer(0)
		if l.Window = first.Window; l != first {
			return false
		}
	}
	return true
}

// windows is the least that a family must be able to have. Windows that the whole context fits in are none.
func windows(c *arch.Config) int {
	widths := map[int]bool{}
	for i := range c.Layers {
		w := c.Layer(i).Window
		if w >= c.Context {
			w = 0
		}
		widths[w] = true
	}
	switch {
	case len(widths) == 1 && widths[0]:
		return noWindow
	case len(widths) == 1:
		return oneWindow
	case len(widths) == 2 && widths[0]:
		return eachWindow
	}
	return eachWindow + 1
}

// scales says that the family scales attention as the model does.
func (f *family) scales(c *arch.Config) bool {
	scale := c.Layer(0).Scale
	usual := float32(1 / math.Sqrt(float64(c.HeadDim)))
	return f.unscaled < 2 && scale == usual || f.unscaled > 0 && scale == 1
}

// act is the family's name of one of mito's activations, "" where it has none.
func (f *family) act(mito string) string {
	for _, a := range f.acts {
		if a[1] == mito {
			return a[0]
		}
	}
	return ""
}

// readAct finds mito's activation for a family's.
func (f *family) readAct(k *keys, c *arch.Config, key string) {
	got := get(k, f.defaults.act, key)
	var known []string
	for _, a := range f.acts {
		if a[0] == got {
			c.Activation = a[1]
			return
		}
		known = append(known, a[0])
	}
	want := strings.Join(known, ", ")
	if got == "gelu" {
		want += " (gelu is by erf; mito computes its tanh form)"
	}
	k.fail(key, fmt.Sprintf("%q", got), want)
}

// biased says whether a matrix of the family has a bias, in a model with such biases or without.
func (f *family) biased(p arch.Part, c *arch.Config) bool {
	rule, on := never, false
	switch p {
	case arch.Query, arch.Key, arch.Value, arch.Output:
		rule, on = f.attnBias, c.AttentionBias
	case arch.Gate, arch.Up, arch.Down:
		rule, on = f.bias, c.MLPBias
	}
	switch rule {
	case byKey:
		return on
	case always:
		return true
	case onlyOutput:
		return p == arch.Output
	case notOutput:
		return on && p != arch.Output
	}
	return false
}

// familyOf finds a family by its model_type, nil where there is none.
func familyOf(name string) *family {
	i := slices.IndexFunc(families, func(f *family) bool { return f.name == name })
	if i < 0 {
		return nil
	}
	return families[i]
}

// Supported lists the values of model_type that mito reads, its own first.
func Supported() []string {
	list := []string{arch.ModelType}
	for _, f := range families {
		list = append(list, f.name)
	}
	return list
}
