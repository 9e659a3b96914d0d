package importer

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"mito/engine/arch"
	"mito/engine/checkpoint"
	"mito/engine/decode"
)

// llama writes a folder as transformers 4 would: BF16, no tokenizer.
func llama(t *testing.T, config string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "llama")
	c := arch.Config{
		ModelType: arch.ModelType, VocabSize: 9, HiddenSize: 16, IntermediateSize: 24, Layers: 2, Heads: 2, KVHeads: 1, HeadDim: 8, Context: 32,
		Activation: arch.ActSwiGLU, Norm: arch.NormRMS, NormEps: 1e-6, Position: arch.PositionRoPE, RoPETheta: 5000,
	}
	var tensors []checkpoint.Tensor
	for k, x := range c.Tensors() {
		v := make([]float32, x.Size())
		for i := range v {
			v[i] = float32((i*7+k*3)%11-5) / 8
		}
		h, err := checkpoint.FromF32As(checkpoint.BF16, x.Name, x.Shape, v)
		if err != nil {
			t.Fatal(err)
		}
		tensors = append(tensors, h)
	}
	o := &checkpoint.Contents{Config: []byte(config), Tensors: tensors}
	o.Config = rawJSON(config)
	if err := checkpoint.Save(dir, o); err != nil {
		t.Fatal(err)
	}
	return dir
}

type rawJSON string

func (r rawJSON) MarshalJSON() ([]byte, error) { return []byte(r), nil }

const llamaConfig = `{"architectures":["LlamaForCausalLM"],"model_type":"llama","vocab_size":9,"hidden_size":16,"intermediate_size":24,
"num_hidden_layers":2,"num_attention_heads":2,"num_key_value_heads":1,"max_position_embeddings":32,"rms_norm_eps":1e-06,"hidden_act":"silu",
"rope_theta":5000.0,"rope_scaling":null,"torch_dtype":"bfloat16","tie_word_embeddings":false,"transformers_version":"4.40.0"}`

// A folder of another program becomes one of mito's with the same logits.
func TestImport(t *testing.T) {
	m, err := huggingFace.Read(context.Background(), llama(t, llamaConfig), Options{})
	if err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "out")
	r, err := m.Save(out)
	if err != nil || r.Architecture != "llama" {
		t.Fatalf("%+v, %v", r, err)
	}
	if worst, err := m.Check(out, decode.Options{}); err != nil || worst != 0 {
		t.Errorf("differs by %v, %v", worst, err)
	}
	if _, err := m.Save(out); err == nil {
		t.Error("written over")
	}
}

func TestImportRefuses(t *testing.T) {
	for change, field := range map[string]string{
		`"rope_scaling":{"type":"linear","factor":2.0}`: "rope_scaling.rope_type",
		`"quantization_config":{"quant_method":"gptq"}`: "quantization_config",
		`"hidden_act":"gelu"`:                           "hidden_act",
	} {
		text := strings.Replace(llamaConfig, `"rope_scaling":null`, change, 1)
		if field == "hidden_act" {
			text = strings.Replace(llamaConfig, `"hidden_act":"silu"`, change, 1)
		}
		_, err := huggingFace.Read(context.Background(), llama(t, text), Options{})
		var e *arch.FieldError
		if !errors.As(err, &e) || e.Field != field {
			t.Errorf("%s: %v", change, err)
		}
	}
}
