package hf

import (
	"bytes"
	"fmt"
	"strings"

	"mito/engine/arch"
	"mito/engine/checkpoint"
	"mito/engine/tokenizer"
)

// Int8Contents is what a folder of an INT8 student holds so that compressed-tensors and transformers load it. The tensors are
// mito's: <module>.weight I8 and <module>.weight_scale F32 for matrices, F32 for the rest. A tied head, for which transformers
// looks for weights of its own, becomes a copy of the embedding's, and a hint says so to [ReadInt8]. Architectures whose
// matrices are not Linear (gpt2) are written with mito's own code. Errors: *arch.FieldError.
func Int8Contents(c arch.Config, tensors []checkpoint.Tensor, tok tokenizer.Tokenizer) (*checkpoint.Contents, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	var h hints
	if c.TieEmbeddings {
		embedding := arch.Embedding.String()
		for _, suffix := range []string{".weight", ".weight_scale"} {
			for _, t := range tensors {
				if t.Name == embedding+suffix {
					t.Name = arch.Head.String() + suffix
					tensors = append(tensors[:len(tensors):len(tensors)], t)
					break
				}
			}
		}
		c.TieEmbeddings, h.Tied = false, true
	}
	f, err := choose(&c, nil)
	if err != nil {
		return nil, err
	}
	if f != nil && !f.plain(&c) {
		f = nil
	}
	out := &checkpoint.Contents{Generation: &checkpoint.GenerationConfig{}, Extra: map[string][]byte{}, Quantization: checkpoint.NewInt8()}
	out.Quantization.KVCacheScheme = nil // transformers looks for scales of it, which mito finds at run time
	o := map[string]any{}
	if f != nil {
		h.Window = f.keys(&c, o).Window
	} else {
		if o, err = custom(c); err != nil {
			return nil, err
		}
		o["spec_version"] = arch.SpecVersion
		out.Extra[checkpoint.ModelingName] = modeling
	}
	if h != (hints{}) {
		o[hintsKey] = h
	}
	addTokens(o, tok)
	out.Config = o
	theirs := map[string]string{}
	for name, own := range f.modules(&c) {
		theirs[own] = name
	}
	for _, t := range tensors {
		name, ok := theirs[t.Name]
		if !ok {
			return nil, &checkpoint.FormatError{Name: t.Name, Err: checkpoint.ErrUnexpected, Detail: "the configuration has no place for it"}
		}
		t.Name = name
		out.Tensors = append(out.Tensors, t)
	}
	return out, addTokenizer(out, tok, c.Context)
}

// ReadInt8 is [Read] for INT8 weights: it returns the configuration, and the tensors under mito's names. Whether the scheme is
// mito's, and the tensors are there, is for the caller.
func ReadInt8(d *checkpoint.Folder) (arch.Config, *checkpoint.File, error) {
	c, f, h, err := parse(d.Config)
	if err != nil {
		return c, nil, err
	}
	if f != nil && !f.plain(&c) {
		return c, nil, &checkpoint.FormatError{Path: d.Dir, Err: checkpoint.ErrUnexpected, Detail: "INT8 weights of " + f.name + " are not read: its matrices are not those of Linear"}
	}
	if f == nil && !h.Tied {
		return c, d.Weights, nil
	}
	tied := h.Tied && !c.TieEmbeddings && same(d.Weights, f.module(arch.Head), f.module(arch.Embedding))
	own := f.modules(&c)
	var tensors []checkpoint.Tensor
	for _, t := range d.Weights.Tensors {
		name, ok := own[t.Name]
		if !ok {
			return c, nil, &checkpoint.FormatError{Path: d.Weights.Path, Name: t.Name, Err: checkpoint.ErrUnexpected, Detail: "the configuration has no place for it"}
		}
		if tied && strings.HasPrefix(name, arch.Head.String()+".") {
			continue
		}
		t.Name = name
		tensors = append(tensors, t)
	}
	c.TieEmbeddings = c.TieEmbeddings || tied
	file, err := checkpoint.NewFile(d.Weights.Path, tensors)
	return c, file, err
}

// module is the family's name of a module outside the layers; a nil family has mito's names.
func (f *family) module(p arch.Part) string {
	if f == nil {
		return p.String()
	}
	return f.names.parts[p]
}

// plain says that every tensor of a model lies in the family's folder by itself, and nothing else does.
func (f *family) plain(c *arch.Config) bool {
	if f.names.conv || f.names.fused {
		return false
	}
	for _, s := range f.slots(c) {
		if s.missing || s.extra {
			return false
		}
	}
	return true
}

// modules maps the names of a plain family's tensors, INT8 ones among them, to mito's; nil is mito's own.
func (f *family) modules(c *arch.Config) map[string]string {
	names := map[string]string{}
	add := func(theirs, own string) {
		names[theirs] = own
		if t, ok := strings.CutSuffix(theirs, ".weight"); ok {
			names[t+".weight_scale"] = strings.TrimSuffix(own, ".weight") + ".weight_scale"
		}
	}
	if f == nil {
		for _, t := range c.Tensors() {
			add(t.Name, t.Name)
		}
		return names
	}
	for _, s := range f.slots(c) {
		add(s.name, s.tensor.Name)
	}
	return names
}

// same says that two modules have the same weights and scales.
func same(f *checkpoint.File, a, b string) bool {
	for _, suffix := range []string{".weight", ".weight_scale"} {
		x, err1 := f.Tensor(a + suffix)
		y, err2 := f.Tensor(b + suffix)
		if err1 != nil || err2 != nil || x.DType != y.DType || fmt.Sprint(x.Shape) != fmt.Sprint(y.Shape) || !bytes.Equal(x.Data, y.Data) {
			return false
		}
	}
	return true
}

// FullAttention is the twin of a model with windows that looks at everything: the context is cut to the narrowest window, in
// which both compute the same. Positions beyond it are cut off. The second result is false for a model without windows.
func FullAttention(c arch.Config, tensors []checkpoint.Tensor) (arch.Config, []checkpoint.Tensor, bool) {
	layers, narrow := make([]arch.Layer, c.Layers), 0
	for i := range layers {
		l := c.Layer(i)
		if l.Window > 0 && (narrow == 0 || l.Window < narrow) {
			narrow = l.Window
		}
		l.Window = 0
		if l.Scale = c.Scale; c.LayerShapes != nil {
			l.Scale = c.LayerShapes[i].Scale
		}
		layers[i] = l
	}
	if narrow == 0 {
		return c, tensors, false
	}
	c = c.Clone()
	before := c.Context
	c.SetLayers(layers)
	c.Context = min(c.Context, narrow)
	out := make([]checkpoint.Tensor, len(tensors))
	for i, t := range tensors {
		if strings.HasPrefix(t.Name, arch.Positions.String()+".") && len(t.Shape) == 2 && t.Shape[0] == before {
			t.Data = t.Data[:len(t.Data)/before*c.Context]
			t.Shape = []int{c.Context, t.Shape[1]}
		}
		out[i] = t
	}
	return c, out, true
}
