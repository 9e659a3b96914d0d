package arch

import (
	"fmt"
	"strings"
	"testing"

	"mito/engine/internal/imports"
)

// The list is that of a Hugging Face folder, in a fixed order: initial weights and sums over all parameters depend on it.
func TestModules(t *testing.T) {
	c := gpt2()
	c.SetLayers([]Layer{{Heads: 2, KVHeads: 1, IntermediateSize: 14}})
	var got []string
	for _, x := range c.Tensors() {
		got = append(got, fmt.Sprint(x.Name, x.Shape))
	}
	want := []string{
		"model.embed_tokens.weight[11 10]", "model.embed_positions.weight[24 10]",
		"model.layers.0.input_layernorm.weight[10]", "model.layers.0.input_layernorm.bias[10]",
		"model.layers.0.self_attn.q_proj.weight[12 10]", "model.layers.0.self_attn.q_proj.bias[12]",
		"model.layers.0.self_attn.k_proj.weight[6 10]", "model.layers.0.self_attn.k_proj.bias[6]",
		"model.layers.0.self_attn.v_proj.weight[6 10]", "model.layers.0.self_attn.v_proj.bias[6]",
		"model.layers.0.self_attn.o_proj.weight[10 12]", "model.layers.0.self_attn.o_proj.bias[10]",
		"model.layers.0.self_attn.q_norm.weight[6]", "model.layers.0.self_attn.k_norm.weight[6]",
		"model.layers.0.post_attention_layernorm.weight[10]", "model.layers.0.post_attention_layernorm.bias[10]",
		"model.layers.0.mlp.gate_proj.weight[14 10]", "model.layers.0.mlp.gate_proj.bias[14]",
		"model.layers.0.mlp.up_proj.weight[14 10]", "model.layers.0.mlp.up_proj.bias[14]",
		"model.layers.0.mlp.down_proj.weight[10 14]", "model.layers.0.mlp.down_proj.bias[10]",
		"model.layers.0.per_layer_embed.weight[11 5]", "model.layers.0.per_layer_gate.weight[5 10]", "model.layers.0.per_layer_projection.weight[10 5]",
		"model.norm.weight[10]", "model.norm.bias[10]", "lm_head.weight[11 10]", "aux_head.weight[3 10]",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("tensors:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	small := small()
	if got, want := small.Params(), int64(11*10+2*(10*24*2+2*12*10+2*14*10+20)+10); got != want {
		t.Errorf("%d parameters, want %d", got, want)
	}
	if got := small.Active(); got != small.Params() { // a tied embedding is read whole, as the head
		t.Errorf("%d parameters are active of %d", got, small.Params())
	}
	if got, want := c.Active(), c.Params()-10*10-23*10-10*5; got != want {
		t.Errorf("%d parameters are active, want %d: one row of embedding, positions and per-layer embeddings", got, want)
	}
}

// Every matrix says what it reads, and its columns are as wide as that.
func TestInputs(t *testing.T) {
	for _, c := range []Config{small(), uneven(), gpt2()} {
		index := c.Index()
		for place, m := range index {
			if place.Layer != m.Layer || place.Part != m.Part {
				t.Errorf("%s lies at %v", m.Name, place)
			}
			if !m.IsMatrix() || m.Part.Lookup() {
				if in := m.Part.Input(); in != NoInput {
					t.Errorf("%s reads %v", m.Name, in)
				}
				continue
			}
			want := c.HiddenSize
			switch m.Part.Input() {
			case NoInput:
				t.Errorf("%s reads nothing", m.Name)
			case Attended:
				want = c.Layer(m.Layer).Heads * c.HeadDim
			case HiddenMLP:
				want = c.Layer(m.Layer).IntermediateSize
			case GatedPLE:
				want = c.PLEDim
			}
			if m.Cols != want {
				t.Errorf("%s has %d columns, its input %d", m.Name, m.Cols, want)
			}
		}
	}
}

// The package ships with the student, so it must not pull in anything else.
func TestImports(t *testing.T) { imports.Closure(t) }
