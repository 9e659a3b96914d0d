package gguf

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"mito/engine/arch"
	"mito/engine/checkpoint"
	"mito/engine/export/shape"
	"mito/engine/files"
	"mito/engine/tokenizer"
)

// Read takes a model out of the bytes of a file: its configuration, its tensors under mito's names as F32, and its
// tokenizer, nil where the file has none. Where only the tokenizer is of another kind, the error wraps *TokenizerError and
// the other results are whole. Errors: *shape.Error for an architecture that mito does not have, *arch.FieldError,
// *checkpoint.FormatError.
func Read(data []byte) (arch.Config, []checkpoint.Tensor, tokenizer.Tokenizer, error) {
	f, err := parse(data)
	if err != nil {
		return arch.Config{}, nil, nil, err
	}
	kind, _ := f.pairs["general.architecture"].(string)
	fam := familyOf(kind)
	if fam == nil {
		return arch.Config{}, nil, nil, shape.Errorf(name, "general.architecture is %q; mito has %s", kind, familyNames())
	}
	c, err := fam.config(f)
	if err != nil {
		return arch.Config{}, nil, nil, err
	}
	values, err := fam.values(f, &c)
	if err != nil {
		return arch.Config{}, nil, nil, err
	}
	if err := c.Validate(); err != nil {
		return arch.Config{}, nil, nil, fmt.Errorf("%s of architecture %s: %w", name, kind, err)
	}
	tensors := shape.Tensors(&c, values)
	tok, err := readTokenizer(f, c.VocabSize)
	if err != nil {
		return c, tensors, nil, err
	}
	return c, tensors, tok, nil
}

// keys reads metadata of an architecture and keeps the first error.
type keys struct {
	f   *file
	fam string
	err error
}

func (k *keys) fail(key string, got any, want string) {
	if k.err == nil {
		k.err = &arch.FieldError{Field: key, Got: got, Want: want}
	}
}

func (k *keys) number(key string, missing float64) float64 {
	full := k.fam + "." + key
	v, ok := k.f.pairs[full]
	if !ok {
		if math.IsNaN(missing) {
			k.fail(full, "missing", "a number")
		}
		return missing
	}
	if list, ok := v.([]any); ok && len(list) > 0 { // one for each layer
		for _, x := range list {
			if x != list[0] {
				k.fail(full, "different from layer to layer", "one number: mito reads layers of one shape")
			}
		}
		v = list[0]
	}
	switch v := v.(type) {
	case int64:
		return float64(v)
	case float64:
		return v
	}
	k.fail(full, v, "a number")
	return 0
}

func (k *keys) count(key string, missing int) int {
	m := math.NaN()
	if missing >= 0 {
		m = float64(missing)
	}
	n := k.number(key, m)
	if n != math.Trunc(n) || n < 0 || n > math.MaxInt32 {
		k.fail(k.fam+"."+key, n, "a whole number")
		return 0
	}
	return int(n)
}

// must is a key that has to be there.
const must = -1

// config reads what the metadata says; biases are for values to find.
func (fam *family) config(f *file) (arch.Config, error) {
	k := &keys{f: f, fam: fam.name}
	c := arch.Config{ModelType: arch.ModelType, Norm: fam.norm, Position: fam.position, Activation: fam.act, QKNorm: fam.qkNorm, RoPETheta: 10000}
	c.Context = k.count("context_length", must)
	c.HiddenSize = k.count("embedding_length", must)
	c.Layers = k.count("block_count", must)
	c.IntermediateSize = k.count("feed_forward_length", must)
	c.Heads = k.count("attention.head_count", must)
	c.KVHeads = k.count("attention.head_count_kv", c.Heads)
	if c.Heads > 0 {
		c.HeadDim = k.count("attention.key_length", c.HiddenSize/c.Heads)
		if v := k.count("attention.value_length", c.HeadDim); v != c.HeadDim {
			k.fail(fam.name+".attention.value_length", v, fmt.Sprintf("%d, as the keys", c.HeadDim))
		}
	}
	if c.Norm == arch.NormRMS {
		c.NormEps = float32(k.number("attention.layer_norm_rms_epsilon", math.NaN()))
	} else {
		c.NormEps = float32(k.number("attention.layer_norm_epsilon", math.NaN()))
	}
	if c.Position == arch.PositionRoPE {
		c.RoPETheta = k.number("rope.freq_base", 10000)
		if n := k.count("rope.dimension_count", c.HeadDim); n != c.HeadDim {
			k.fail(fam.name+".rope.dimension_count", n, fmt.Sprintf("%d: mito turns whole heads", c.HeadDim))
		}
		if s, ok := f.pairs[fam.name+".rope.scaling.type"]; ok && s != "none" {
			k.fail(fam.name+".rope.scaling.type", s, "none: mito does not scale positions")
		}
		for _, key := range []string{"rope.scale_linear", "rope.scaling.factor"} {
			if n := k.number(key, 1); n != 1 && n != 0 {
				k.fail(fam.name+"."+key, n, "1: mito does not scale positions")
			}
		}
	}
	for _, key := range []string{"expert_count", "attention.sliding_window", "attention.scale", "attention.logit_softcapping", "logit_scale", "residual_scale", "embedding_scale"} {
		if n := k.number(key, 0); n != 0 && !(key == "attention.sliding_window" && int(n) >= c.Context) {
			k.fail(fam.name+"."+key, n, "none: mito has no such thing in this architecture")
		}
	}
	if fam.name == "apertus" {
		for _, x := range xielu {
			fam.checkXIELU(k, x.key, x.value, c.Layers)
		}
	}
	if i, ok := f.byName["token_embd.weight"]; ok {
		c.VocabSize = f.tensors[i].shape[0]
	} else {
		k.fail("token_embd.weight", "missing", "the embedding")
	}
	if k.err != nil {
		return c, fmt.Errorf("%s of architecture %s: %w", name, fam.name, k.err)
	}
	c.TieEmbeddings = true
	if i, ok := f.byName["output.weight"]; ok {
		c.TieEmbeddings = sameTensor(&f.tensors[i], &f.tensors[f.byName["token_embd.weight"]])
	}
	if err := c.Validate(); err != nil {
		return c, fmt.Errorf("%s of architecture %s: %w", name, fam.name, err)
	}
	return c, nil
}

// checkXIELU refuses an activation that is not ReLU². The values may be one for all layers.
func (fam *family) checkXIELU(k *keys, key string, want float32, layers int) {
	list, ok := k.f.pairs[key].([]any)
	if !ok {
		list = []any{k.f.pairs[key]}
	}
	if len(list) != layers && len(list) != 1 {
		k.fail(key, len(list), "one number for each layer")
	}
	for _, x := range list {
		if v, ok := x.(float64); !ok || math.Abs(v-float64(want)) > 1e-6 && !(key == "xielu.alpha_n" && v < -100) {
			k.fail(key, x, fmt.Sprintf("%v, with which xIELU is ReLU²; mito has no other xIELU", want))
			return
		}
	}
}

// values reads the tensors and finds out about biases.
func (fam *family) values(f *file, c *arch.Config) (shape.Values, error) {
	c.AttentionBias, c.MLPBias = true, true
	v := shape.Values{}
	used := map[string]bool{}
	fused := map[string][]float32{}
	get := func(s slot, suffix, as string, want []int) error {
		n := s.name + suffix
		i, ok := f.byName[n]
		if !ok {
			return files.Errorf(checkpoint.ErrMissing, n, "")
		}
		t := &f.tensors[i]
		if s.rows != s.module.Rows {
			want = append([]int{s.rows}, want[1:]...)
		}
		if !slices.Equal(t.shape, want) {
			return files.Errorf(checkpoint.ErrShape, n, "is %v, expected %v", t.shape, want)
		}
		used[n] = true
		values, ok := fused[n]
		if !ok {
			var err error
			if values, err = decode(t.t, n, t.data); err != nil {
				return err
			}
		}
		if s.rows != s.module.Rows {
			fused[n] = values
			cols := len(values) / s.rows
			values = values[s.row*cols:][:s.module.Rows*cols]
		}
		if s.heads > 0 {
			values = shape.Deinterleave(values, s.heads, c.HeadDim)
		}
		v[as] = values
		return nil
	}
	attention, mlp := false, false
	for _, s := range fam.slots(c) {
		w, b := s.module.Weight(), s.module.BiasTensor()
		if err := get(s, ".weight", w.Name, w.Shape); err != nil {
			return nil, err
		}
		if rule := fam.bias(s.module); rule == never || rule == optional && !f.has(s.name+".bias") {
			continue
		}
		if err := get(s, ".bias", b.Name, b.Shape); err != nil {
			return nil, err
		}
		switch s.module.Part {
		case arch.Query, arch.Key, arch.Value, arch.Output:
			attention = attention || !shape.Zero(v[b.Name])
		case arch.Gate, arch.Up, arch.Down:
			mlp = mlp || !shape.Zero(v[b.Name])
		}
	}
	c.AttentionBias, c.MLPBias = attention, mlp
	for _, t := range f.tensors {
		switch {
		case used[t.name] || t.name == "output.weight":
		case strings.HasPrefix(t.name, "rope_freqs") || strings.Contains(t.name, "rope_"):
			return nil, &shape.Error{Format: name, What: fmt.Sprintf("tensor %q scales positions", t.name), Do: "mito computes RoPE without scaling"}
		default:
			return nil, files.Errorf(checkpoint.ErrUnexpected, t.name, "mito's %s has no place for it", fam.name)
		}
	}
	return v, nil
}

func (f *file) has(n string) bool { _, ok := f.byName[n]; return ok }

// TokenizerError says why the tokenizer of a file is not read, where all else is.
type TokenizerError struct{ Err error }

func (e *TokenizerError) Error() string { return name + ": the tokenizer: " + e.Err.Error() }
func (e *TokenizerError) Unwrap() error { return e.Err }

// IsTokenizer says that an error of Read is about the tokenizer alone.
func IsTokenizer(err error) bool {
	var t *TokenizerError
	return errors.As(err, &t)
}
