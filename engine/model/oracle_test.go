package model

import (
	"fmt"
	"math"

	"mito/engine/arch"
	"mito/kernels/ref"
)

// oracle is the model in float64, written from the equations over kernels/ref and sharing no code with the layers.
type oracle struct {
	arch.Config
	w     map[string][]float64
	b     *batch
	alpha float64 // factor of the adapters that w has
	tap   int     // the layer whose input adds half its mean square to the loss; 0 for none

	aux    []float64 // logits of the second head
	tapped float64   // what the tap adds to the loss
}

// picked is the batch as the layers in the middle see it.
func (b *batch) picked() *batch {
	p := *b
	p.time, p.positions, p.inputs, p.middle = b.middle.Time, nil, nil, nil
	for _, row := range b.kept {
		p.positions, p.inputs = append(p.positions, b.positions[row]), append(p.inputs, b.inputs[row])
	}
	return &p
}

// pick returns some rows of x.
func pick(x []float64, rows []int32, width int) (y []float64) {
	for _, r := range rows {
		y = append(y, x[int(r)*width:][:width]...)
	}
	return y
}

func newOracle(m *Weights, b *batch) *oracle {
	o := &oracle{Config: m.Config, w: map[string][]float64{}, b: b}
	for name, v := range m.Tensors {
		for _, x := range v {
			o.w[name] = append(o.w[name], float64(x))
		}
	}
	return o
}

// linear returns x·Wᵀ + b for rows of the width of W.
func (o *oracle) linear(x []float64, name string, in int) []float64 {
	w, bias := o.w[name+".weight"], o.w[name+".bias"]
	out := len(w) / in
	y := make([]float64, len(x)/in*out)
	for n := range len(x) / in {
		for i := range out {
			s := 0.0
			if bias != nil {
				s = bias[i]
			}
			for k := range in {
				s += x[n*in+k] * w[i*in+k]
			}
			y[n*out+i] = s
		}
	}
	if a := o.w[name+".lora_A"]; a != nil {
		o.w["a.weight"], o.w["b.weight"] = a, o.w[name+".lora_B"]
		for i, v := range o.linear(o.linear(x, "a", in), "b", len(a)/in) {
			y[i] += o.alpha * v
		}
	}
	return y
}

func (o *oracle) norm(x []float64, name string, width int, rms bool) (y []float64) {
	eps := float64(o.NormEps)
	for n := range len(x) / width {
		row := x[n*width:][:width]
		if rms {
			row, _ = ref.RMSNorm(row, o.w[name+".weight"], eps)
		} else {
			row, _, _ = ref.LayerNorm(row, o.w[name+".weight"], o.w[name+".bias"], eps)
		}
		y = append(y, row...)
	}
	return y
}

func (o *oracle) dropout(x []float64, place int) []float64 {
	if o.b.dropout == 0 {
		return x
	}
	return ref.Dropout(x, o.HiddenSize, float64(o.b.dropout), o.b.seed+uint64(place)*0x9e3779b97f4a7c15, 0)
}

func (o *oracle) rotate(x []float64, heads int) (y []float64) {
	if o.Position != arch.PositionRoPE {
		return x
	}
	for n := range len(x) / (heads * o.HeadDim) {
		for h := range heads {
			y = append(y, ref.RoPE(x[(n*heads+h)*o.HeadDim:][:o.HeadDim], float64(o.b.positions[n]), o.RoPETheta)...)
		}
	}
	return y
}

// shape is what config.json says of layer i; a scale of 0 is 1/√D.
func (o *oracle) shape(i int) arch.Layer {
	if o.LayerShapes != nil {
		return o.LayerShapes[i]
	}
	return arch.Layer{Heads: o.Heads, KVHeads: o.KVHeads, IntermediateSize: o.IntermediateSize, Window: o.Window}
}

func (o *oracle) attention(x []float64, name string, shape arch.Layer) []float64 {
	q, k, v := o.linear(x, name+"q_proj", o.HiddenSize), o.linear(x, name+"k_proj", o.HiddenSize), o.linear(x, name+"v_proj", o.HiddenSize)
	if o.QKNorm {
		q, k = o.norm(q, name+"q_norm", o.HeadDim, true), o.norm(k, name+"k_norm", o.HeadDim, true)
	}
	a := ref.Attention{
		Batch: o.b.rows, Time: o.b.time, Heads: shape.Heads, KVHeads: shape.KVHeads, HeadDim: o.HeadDim, Window: shape.Window, Positions: o.b.positions,
		Scale: 1 / math.Sqrt(float64(o.HeadDim)),
	}
	if shape.Scale != 0 {
		a.Scale = float64(shape.Scale)
	}
	out, _ := a.Forward(o.rotate(q, shape.Heads), o.rotate(k, shape.KVHeads), v)
	return o.linear(out, name+"o_proj", shape.Heads*o.HeadDim)
}

func (o *oracle) mlp(x []float64, name string, shape arch.Layer) []float64 {
	h := o.linear(x, name+"up_proj", o.HiddenSize)
	var gate []float64
	if o.Activation == arch.ActSwiGLU {
		gate = o.linear(x, name+"gate_proj", o.HiddenSize)
	}
	for i, v := range h {
		switch o.Activation {
		case arch.ActReLU:
			h[i] = ref.ReLU(v)
		case arch.ActReLU2:
			h[i] = ref.ReLU2(v)
		case arch.ActGELU:
			h[i] = ref.GELU(v)
		default:
			h[i] = ref.SwiGLU(gate[i], v)
		}
	}
	return o.linear(h, name+"down_proj", shape.IntermediateSize)
}

// perLayer is what per-layer embeddings add; ids are the tokens of the rows of x.
func (o *oracle) perLayer(x []float64, name string, ids []int32) []float64 {
	h := o.linear(x, name+"gate", o.HiddenSize)
	for i, v := range ref.Embed(o.w[name+"embed.weight"], ids, o.PLEDim, nil) {
		h[i] *= v
	}
	return o.linear(h, name+"projection", o.PLEDim)
}

func add(x, y []float64) []float64 {
	z := make([]float64, len(x))
	for i := range x {
		z[i] = x[i] + y[i]
	}
	return z
}

func (o *oracle) logits() []float64 {
	x := ref.Embed(o.w["model.embed_tokens.weight"], o.b.inputs, o.HiddenSize, nil)
	if o.Position == arch.PositionLearned {
		x = ref.Embed(o.w["model.embed_positions.weight"], o.b.positions, o.HiddenSize, x)
	}
	x = o.dropout(x, 0)
	rms := o.Norm == arch.NormRMS
	whole, stream := o.b, x
	for i := range o.Layers {
		name := fmt.Sprintf("model.layers.%d.", i)
		if whole.middle != nil && i == whole.middle.From {
			o.b, stream = whole.picked(), x
			x = pick(stream, whole.kept, o.HiddenSize)
		}
		x = add(x, o.dropout(o.attention(o.norm(x, name+"input_layernorm", o.HiddenSize, rms), name+"self_attn.", o.shape(i)), 2*i+1))
		h := o.norm(x, name+"post_attention_layernorm", o.HiddenSize, rms)
		x = add(x, o.dropout(o.mlp(h, name+"mlp.", o.shape(i)), 2*i+2))
		if o.PLEDim > 0 {
			x = add(x, o.dropout(o.perLayer(h, name+"per_layer_", o.b.inputs), 2*o.Layers+1+i))
		}
		if whole.middle != nil && i+1 == whole.middle.To {
			o.b = whole
			for n, row := range whole.kept {
				copy(stream[int(row)*o.HiddenSize:], x[n*o.HiddenSize:][:o.HiddenSize])
			}
			x = stream
		}
		if i+1 == o.tap {
			o.tapped = 0
			for _, v := range x {
				o.tapped += v * v / 2 / float64(len(x))
			}
		}
	}
	x = o.norm(x, "model.norm", o.HiddenSize, rms)
	if o.AuxVocab > 0 {
		o.aux = o.linear(x, "aux_head", o.HiddenSize)
	}
	if o.TieEmbeddings {
		return o.linear(x, "model.embed_tokens", o.HiddenSize)
	}
	return o.linear(x, "lm_head", o.HiddenSize)
}

// loss is the mean over the weights of the targets.
func (o *oracle) loss() (loss float64) {
	logits, v := o.logits(), o.VocabSize
	for n, target := range o.b.targets {
		if w := float64(o.b.weights[n]); w != 0 {
			loss += w * ref.CrossEntropy(logits[n*v:][:v], int(target), float64(o.b.smoothing))
			if k := o.AuxVocab; k > 0 {
				loss += w * ref.CrossEntropy(o.aux[n*k:][:k], int(target)%k, 0)
			}
		}
	}
	return loss*float64(o.b.scale()) + o.tapped
}
