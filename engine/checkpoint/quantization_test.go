package checkpoint

import (
	"encoding/json"
	"errors"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A configuration as the library writes it for W8A8 (shortened to the keys of its QuantizationConfig and
// QuantizationArgs), with keys that mito does not know.
const llmCompressorConfig = `{"model_type":"llama","quantization_config":{"config_groups":{"group_0":{
 "format":"int-quantized","input_activations":{"actorder":null,"block_structure":null,"dynamic":true,"group_size":null,
 "num_bits":8,"observer":null,"observer_kwargs":{},"scale_dtype":null,"strategy":"token","symmetric":true,"type":"int","zp_dtype":null},
 "output_activations":null,"targets":["Linear"],"weights":{"actorder":null,"block_structure":null,"dynamic":false,
 "group_size":null,"num_bits":8,"observer":"minmax","observer_kwargs":{},"strategy":"channel","symmetric":true,"type":"int"}}},
 "format":"int-quantized","global_compression_ratio":null,"ignore":["lm_head"],"kv_cache_scheme":null,
 "quant_method":"compressed-tensors","quantization_status":"compressed","sparsity_config":{},"transform_config":{},"version":"0.12.2"}}`

func TestQuantizationOfOtherPrograms(t *testing.T) {
	q, err := ParseQuantization([]byte(llmCompressorConfig))
	if err != nil {
		t.Fatal(err)
	}
	if err := q.CheckInt8(); err != nil || !slices.Equal(q.Ignore, []string{"lm_head"}) {
		t.Error(q, err)
	}
}

func TestCheckInt8Refuses(t *testing.T) {
	edits := map[string][2]string{
		"four bits":          {`"num_bits":8,"observer":"minmax"`, `"num_bits":4,"observer":"minmax"`},
		"float":              {`"type":"int"}}}`, `"type":"float"}}}`},
		"asymmetric":         {`"symmetric":true,"type":"int"}}}`, `"symmetric":false,"type":"int"}}}`},
		"per tensor":         {`"strategy":"channel"`, `"strategy":"tensor"`},
		"static activations": {`"dynamic":true`, `"dynamic":false`},
		"packed":             {`"format":"int-quantized","global`, `"format":"pack-quantized","global`},
		"other method":       {`compressed-tensors`, `gptq`},
		"not yet compressed": {`"compressed","spar`, `"frozen","spar`},
		"weight only":        {`"targets":["Linear"]`, `"targets":["Conv2d"]`},
		"static cache": {
			`"kv_cache_scheme":null`,
			`"kv_cache_scheme":{"num_bits":8,"type":"float","strategy":"tensor","dynamic":false,"symmetric":true}`,
		},
		"quantised outputs":   {`"output_activations":null`, `"output_activations":{"num_bits":8}`},
		"unquantised weights": {`"weights":{`, `"weights":null,"unused":{`},
	}
	for name, e := range edits {
		text := strings.Replace(llmCompressorConfig, e[0], e[1], 1)
		if text == llmCompressorConfig {
			t.Fatalf("%s: the edit changes nothing", name)
		}
		q, err := ParseQuantization([]byte(text))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := q.CheckInt8(); !errors.Is(err, ErrRange) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestInt8Folder(t *testing.T) {
	weights, scales := []int8{-127, 0, 127, 1, 2, 3}, []float32{0.5, 0}
	tensors, err := QuantizedTensors("model.layers.0.mlp.up_proj", 2, 3, weights, scales)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "q")
	c := &Contents{Config: map[string]any{"model_type": ModelType}, Tensors: tensors, Quantization: NewInt8("lm_head")}
	if err := Save(dir, c); err != nil {
		t.Fatal(err)
	}
	f, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	q, err := f.Quantization()
	if err != nil || q == nil {
		t.Fatal(q, err)
	}
	if err := q.CheckInt8(); err != nil {
		t.Error(err)
	}
	w, s, err := f.Weights.Quantized("model.layers.0.mlp.up_proj", 2, 3)
	if err != nil || !slices.Equal(w, weights) || !slices.Equal(s, scales) {
		t.Error(w, s, err)
	}
	if f.Weights.Bytes() != 6+4*2 {
		t.Errorf("%d bytes: something beside the INT8 weights and their scales was saved", f.Weights.Bytes())
	}
	if _, _, err := f.Weights.Quantized("model.layers.0.mlp.up_proj", 3, 2); !errors.Is(err, ErrShape) {
		t.Error(err)
	}
	if _, _, err := f.Weights.Quantized("model.layers.0.mlp.down_proj", 3, 2); !errors.Is(err, ErrMissing) {
		t.Error(err)
	}
}

// compressed-tensors forbids keys beyond these in a quantiser.
func TestQuantArgsKeys(t *testing.T) {
	allowed := []string{
		"num_bits", "type", "symmetric", "group_size", "strategy", "block_structure", "dynamic", "actorder",
		"scale_dtype", "zp_dtype", "observer", "observer_kwargs",
	}
	var keys map[string]any
	text := must(json.Marshal(NewInt8().KVCacheScheme))
	if err := json.Unmarshal(text, &keys); err != nil {
		t.Fatal(err)
	}
	for k := range keys {
		if !slices.Contains(allowed, k) {
			t.Errorf("key %q", k)
		}
	}
}

func TestQuantizedRefuses(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	for name, c := range map[string]struct {
		w    []int8
		s    []float32
		want error
	}{
		"-128":            {[]int8{1, 2, 3, -128}, []float32{1, 1}, ErrRange},
		"NaN scale":       {[]int8{1, 2, 3, 4}, []float32{1, nan}, ErrNotFinite},
		"infinite scale":  {[]int8{1, 2, 3, 4}, []float32{inf, 1}, ErrNotFinite},
		"negative scale":  {[]int8{1, 2, 3, 4}, []float32{1, -1}, ErrRange},
		"too few scales":  {[]int8{1, 2, 3, 4}, []float32{1}, ErrShape},
		"too few weights": {[]int8{1, 2, 3}, []float32{1, 1}, ErrShape},
	} {
		if _, err := QuantizedTensors("m", 2, 2, c.w, c.s); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
		if c.want == ErrShape {
			continue
		}
		f := must(Decode(encoded(t, []Tensor{FromI8("m.weight", []int{2, 2}, c.w), FromF32("m.weight_scale", []int{2, 1}, c.s)}, nil)))
		if _, _, err := f.Quantized("m", 2, 2); !errors.Is(err, c.want) {
			t.Errorf("%s, read: got %v, want %v", name, err, c.want)
		}
	}
}

func TestAddToKeepsTheRest(t *testing.T) {
	out, err := NewInt8().AddTo([]byte(`{"vocab_size":12345678901234567890,"model_type":"mito"}`))
	if err != nil || !strings.Contains(string(out), "12345678901234567890") {
		t.Fatal(string(out), err)
	}
	if _, err := NewInt8().AddTo([]byte(`[]`)); !errors.Is(err, ErrSyntax) {
		t.Error(err)
	}
}
