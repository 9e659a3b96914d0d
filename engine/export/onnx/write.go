package onnx

import (
	"encoding/json"
	"fmt"
	"io"
	"math"

	"mito/engine/arch"
	"mito/engine/checkpoint"
	"mito/engine/export/shape"
	"mito/engine/tokenizer"
)

const name = "ONNX" // in errors

// Keys of metadata_props.
const (
	configKey    = "mito.config"
	tokenizerKey = "tokenizer.json"
)

// maxBytes is what a protobuf message can hold.
const maxBytes = math.MaxInt32

// Codes are the INT8 weights [rows, cols] of a matrix with the scale of each row.
type Codes struct {
	Q     []int8
	Scale []float32
}

// Write writes a model, its tensors under mito's names, F32. codes has the matrices of an INT8 student by the names of their
// modules, nil for float weights: these are written instead. Errors: *arch.FieldError, *checkpoint.FormatError, *shape.Error
// for what is too large for a protobuf message.
func Write(w io.Writer, c arch.Config, tensors []checkpoint.Tensor, codes map[string]Codes, tok tokenizer.Tokenizer) error {
	if err := c.Validate(); err != nil {
		return err
	}
	if c.AuxVocab > 0 {
		return shape.Errorf(name, "the model has a second output head, which is for training")
	}
	if n := 4 * c.Params(); n > maxBytes/2 {
		return &shape.Error{Format: name, What: fmt.Sprintf("weights of %d bytes and their graph may not fit a file, which holds %d", n, maxBytes), Do: "write GGUF, or a folder for transformers"}
	}
	values, err := shape.Floats(&c, tensors)
	if err != nil {
		return err
	}
	text, err := json.Marshal(c)
	if err != nil {
		return err
	}
	metadata := []message{entry(configKey, string(text))}
	if tok != nil {
		text, err := tok.MarshalJSON()
		if err != nil {
			return err
		}
		metadata = append(metadata, entry(tokenizerKey, string(text)))
	}
	b := &builder{graph: &graph{known: map[string]bool{}}, c: &c, values: values, codes: codes, index: c.Index(), masks: map[int]string{}, rounds: map[string]string{}}
	b.build()
	_, err = w.Write(b.model(metadata...))
	return err
}

// builder makes the graph of a model.
type builder struct {
	*graph
	c      *arch.Config
	values shape.Values
	codes  map[string]Codes
	index  arch.Index

	positions  string // of the tokens [tokens]
	cos, sin   string // of their angles [tokens, head_dim/2]
	query, key string // positions as [tokens,1] and [past+tokens], to compare
	masks      map[int]string
	rounds     map[string]string // activations as INT8 and back
	embedding  string            // the matrix, where the head is tied to it
}

func (b *builder) build() {
	c := b.c
	b.inputs = append(b.inputs, valueInfo("input_ids", typeInt64, "batch", "tokens"))
	for i := range c.Layers {
		for _, what := range []string{"key", "value"} {
			kv := c.Layer(i).KVHeads
			b.inputs = append(b.inputs, valueInfo(fmt.Sprintf("past_key_values.%d.%s", i, what), typeFloat, "batch", kv, "past", c.HeadDim))
			b.outputs = append(b.outputs, valueInfo(fmt.Sprintf("present.%d.%s", i, what), typeFloat, "batch", kv, "past + tokens", c.HeadDim))
		}
	}
	b.outputs = append([]message{valueInfo("logits", typeFloat, "batch", "tokens", c.VocabSize)}, b.outputs...)
	b.place()
	x := b.embed()
	for i := range c.Layers {
		x = b.add(x, b.attention(i, b.norm(x, i, arch.Norm1)))
		n := b.norm(x, i, arch.Norm2)
		x = b.add(x, b.mlp(i, n))
		if c.PLEDim > 0 {
			x = b.add(x, b.perLayer(i, n))
		}
	}
	x = b.norm(x, -1, arch.FinalNorm)
	head, weight := b.index[arch.Place{Layer: -1, Part: arch.Embedding}], b.embedding
	if !c.TieEmbeddings {
		head = b.index[arch.Place{Layer: -1, Part: arch.Head}]
		weight = b.matrix(head)
	}
	b.named("MatMul", []string{"logits"}, []string{b.rounded(x, head), b.transpose(weight, 1, 0)})
}

// size is one dimension of a tensor as a scalar.
func (b *builder) size(x string, axis int64) string {
	return b.op("Gather", []string{b.op("Shape", []string{x}), b.whole(axis)}, attr{"axis", int64(0)})
}

// place computes positions, and the angles of RoPE.
func (b *builder) place() {
	past := b.size("past_key_values.0.key", 2)
	end := b.add(past, b.size("input_ids", 1))
	b.positions = b.op("Range", []string{past, end, b.whole(1)})
	b.query = b.op("Unsqueeze", []string{b.positions, b.ints(1)})
	b.key = b.op("Range", []string{b.whole(0), end, b.whole(1)})
	if b.c.Position != arch.PositionRoPE {
		return
	}
	half := b.c.HeadDim / 2
	cos, sin := make([]float32, 0, b.c.Context*half), make([]float32, 0, b.c.Context*half)
	for p := range b.c.Context {
		for i := range half {
			s, c := math.Sincos(float64(p) * math.Pow(b.c.RoPETheta, -float64(2*i)/float64(b.c.HeadDim)))
			cos, sin = append(cos, float32(c)), append(sin, float32(s))
		}
	}
	dims := []int{b.c.Context, half}
	b.cos = b.op("Gather", []string{b.floats("rope.cos", dims, cos), b.positions}, attr{"axis", int64(0)})
	b.sin = b.op("Gather", []string{b.floats("rope.sin", dims, sin), b.positions}, attr{"axis", int64(0)})
}

// mask is true where a token [tokens,1] sees a position [past+tokens].
func (b *builder) mask(window int) string {
	if m, ok := b.masks[window]; ok {
		return m
	}
	m := b.op("LessOrEqual", []string{b.key, b.query})
	if window > 0 {
		near := b.op("Less", []string{b.sub(b.query, b.key), b.whole(int64(window))})
		m = b.op("And", []string{m, near})
	}
	b.masks[window] = m
	return m
}

// matrix is a weight [rows, cols] as float32.
func (b *builder) matrix(m arch.Module) string {
	w := m.Weight()
	q, ok := b.codes[m.Name]
	if !ok {
		return b.floats(w.Name, w.Shape, b.values[w.Name])
	}
	name, scale := b.quantised(m, q)
	return b.op("DequantizeLinear", []string{name, scale}, attr{"axis", int64(0)})
}

// quantised adds the codes and the scales of a matrix.
func (b *builder) quantised(m arch.Module, q Codes) (codes, scale string) {
	raw := make([]byte, len(q.Q))
	for i, v := range q.Q {
		raw[i] = byte(v)
	}
	b.tensor(m.Name+".weight", typeInt8, []int{m.Rows, m.Cols}, raw)
	return m.Name + ".weight", b.floats(m.Name+".weight_scale", []int{m.Rows}, q.Scale)
}

// embed looks the tokens up.
func (b *builder) embed() string {
	m := b.index[arch.Place{Layer: -1, Part: arch.Embedding}]
	x, table, scale := b.lookup(m)
	if b.embedding = table; scale != "" && b.c.TieEmbeddings {
		b.embedding = b.op("DequantizeLinear", []string{table, scale}, attr{"axis", int64(0)})
	}
	if b.c.Position == arch.PositionLearned {
		p := b.index[arch.Place{Layer: -1, Part: arch.Positions}]
		x = b.add(x, b.op("Gather", []string{b.matrix(p), b.positions}, attr{"axis", int64(0)}))
	}
	return x
}

// lookup gathers the tokens' rows of a table. It returns the table too, with its scales where it is INT8.
func (b *builder) lookup(m arch.Module) (x, table, scale string) {
	if q, ok := b.codes[m.Name]; ok {
		table, scale = b.quantised(m, q)
		rows := b.op("Cast", []string{b.op("Gather", []string{table, "input_ids"}, attr{"axis", int64(0)})}, attr{"to", int64(typeFloat)})
		scales := b.op("Gather", []string{scale, "input_ids"}, attr{"axis", int64(0)})
		return b.mul(rows, b.op("Unsqueeze", []string{scales, b.ints(-1)})), table, scale
	}
	table = b.matrix(m)
	return b.op("Gather", []string{table, "input_ids"}, attr{"axis", int64(0)}), table, ""
}

// rounded rounds x [batch, tokens, cols] to INT8 as the student does, where the matrix that it meets is INT8: each token has
// the scale of its largest element.
func (b *builder) rounded(x string, m arch.Module) string {
	if _, ok := b.codes[m.Name]; !ok {
		return x
	}
	return b.codesOf(x, m.Cols)
}

// codesOf rounds each row of n elements, the last dimension of x, to INT8 and back.
func (b *builder) codesOf(x string, n int) string {
	if y, ok := b.rounds[x]; ok {
		return y
	}
	rows := b.reshape(x, -1, int64(n))
	top := b.op("ReduceMax", []string{b.op("Abs", []string{rows}), b.ints(-1)}, attr{"keepdims", int64(0)})
	scale := b.op("Max", []string{b.mul(top, b.float(1.0/127)), b.float(1e-30)}) // a row of zeros has no scale
	codes := b.op("QuantizeLinear", []string{rows, scale, b.zeros(scale)}, attr{"axis", int64(0)})
	rows = b.op("DequantizeLinear", []string{codes, scale}, attr{"axis", int64(0)})
	y := b.op("Reshape", []string{rows, b.op("Shape", []string{x})})
	b.rounds[x] = y
	return y
}

// zeros are the zero points of scales, which make QuantizeLinear give int8.
func (b *builder) zeros(scale string) string {
	return b.op("Cast", []string{b.mul(scale, b.float(0))}, attr{"to", int64(typeInt8)})
}

// linear multiplies x [..., cols] by a matrix.
func (b *builder) linear(x string, layer int, p arch.Part) string {
	m := b.index[arch.Place{Layer: layer, Part: p}]
	y := b.op("MatMul", []string{b.rounded(x, m), b.transpose(b.matrix(m), 1, 0)})
	if m.Bias {
		t := m.BiasTensor()
		y = b.add(y, b.floats(t.Name, t.Shape, b.values[t.Name]))
	}
	return y
}

// norm normalises the last dimension. A gain of heads is always RMSNorm's.
func (b *builder) norm(x string, layer int, p arch.Part) string {
	m := b.index[arch.Place{Layer: layer, Part: p}]
	w := m.Weight()
	gain := b.floats(w.Name, w.Shape, b.values[w.Name])
	if b.c.Norm == arch.NormLayer && p != arch.QueryNorm && p != arch.KeyNorm {
		in := []string{x, gain}
		if m.Bias {
			t := m.BiasTensor()
			in = append(in, b.floats(t.Name, t.Shape, b.values[t.Name]))
		}
		return b.op("LayerNormalization", in, attr{"axis", int64(-1)}, attr{"epsilon", b.c.NormEps})
	}
	mean := b.op("ReduceMean", []string{b.mul(x, x), b.ints(-1)}, attr{"keepdims", int64(1)})
	root := b.op("Sqrt", []string{b.add(mean, b.float(b.c.NormEps))})
	return b.mul(b.op("Div", []string{x, root}), gain)
}

// turn applies RoPE to x [batch, heads, tokens, head_dim]: element i with element i+head_dim/2.
func (b *builder) turn(x string) string {
	if b.c.Position != arch.PositionRoPE {
		return x
	}
	half := b.ops("Split", 2, []string{x}, attr{"axis", int64(-1)}, attr{"num_outputs", int64(2)})
	first := b.sub(b.mul(half[0], b.cos), b.mul(half[1], b.sin))
	second := b.add(b.mul(half[1], b.cos), b.mul(half[0], b.sin))
	return b.op("Concat", []string{first, second}, attr{"axis", int64(-1)})
}

func (b *builder) attention(i int, x string) string {
	l := b.c.Layer(i)
	d, heads, kv := int64(b.c.HeadDim), int64(l.Heads), int64(l.KVHeads)
	split := func(p, norm arch.Part, heads int64) string {
		y := b.reshape(b.linear(x, i, p), 0, 0, heads, d)
		if b.c.QKNorm && norm != 0 {
			y = b.norm(y, i, norm)
		}
		return b.transpose(y, 0, 2, 1, 3)
	}
	head := func(x string) string { // the student keeps queries, keys and values as INT8, each head with its own scale
		if len(b.codes) == 0 {
			return x
		}
		return b.codesOf(x, b.c.HeadDim)
	}
	q := head(b.turn(split(arch.Query, arch.QueryNorm, heads)))
	join := func(what, now string) string {
		out := fmt.Sprintf("present.%d.%s", i, what)
		b.named("Concat", []string{out}, []string{fmt.Sprintf("past_key_values.%d.%s", i, what), now}, attr{"axis", int64(2)})
		return b.op("Unsqueeze", []string{out, b.ints(2)}) // [batch, kv_heads, 1, past+tokens, head_dim]
	}
	k := join("key", head(b.turn(split(arch.Key, arch.KeyNorm, kv))))
	v := join("value", head(split(arch.Value, 0, kv)))
	q = b.reshape(q, 0, kv, heads/kv, -1, d)
	scores := b.mul(b.op("MatMul", []string{q, b.transpose(k, 0, 1, 2, 4, 3)}), b.float(l.Scale))
	scores = b.op("Where", []string{b.mask(l.Window), scores, b.float(-math.MaxFloat32)})
	y := b.op("MatMul", []string{b.op("Softmax", []string{scores}, attr{"axis", int64(-1)}), v})
	y = b.transpose(b.reshape(y, 0, heads, -1, d), 0, 2, 1, 3)
	return b.linear(b.reshape(y, 0, 0, heads*d), i, arch.Output)
}

func (b *builder) mlp(i int, x string) string {
	up := b.linear(x, i, arch.Up)
	switch b.c.Activation {
	case arch.ActSwiGLU:
		gate := b.linear(x, i, arch.Gate)
		up = b.mul(b.mul(gate, b.op("Sigmoid", []string{gate})), up)
	case arch.ActReLU:
		up = b.op("Relu", []string{up})
	case arch.ActReLU2:
		up = b.op("Relu", []string{up})
		up = b.mul(up, up)
	case arch.ActGELU: // its tanh form
		cube := b.mul(b.mul(up, up), up)
		inner := b.mul(b.add(up, b.mul(cube, b.float(0.044715))), b.float(float32(math.Sqrt(2/math.Pi))))
		up = b.mul(b.mul(up, b.float(0.5)), b.add(b.op("Tanh", []string{inner}), b.float(1)))
	}
	return b.linear(up, i, arch.Down)
}

// perLayer is what the per-layer embeddings of a layer add.
func (b *builder) perLayer(i int, x string) string {
	row, _, _ := b.lookup(b.index[arch.Place{Layer: i, Part: arch.PLETable}])
	return b.linear(b.mul(b.linear(x, i, arch.PLEGate), row), i, arch.PLEOut)
}
