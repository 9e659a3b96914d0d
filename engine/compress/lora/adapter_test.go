package lora

import (
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mito/engine/arch"
	"mito/engine/checkpoint"
	"mito/engine/files"
	"mito/kernels/kerneltest"
)

func TestModules(t *testing.T) {
	c := swiglu()
	for _, f := range []struct {
		config Config
		want   int
		field  string
	}{
		{Config{Rank: 1, Alpha: 1, Targets: []string{"q_proj"}}, 3, ""},
		{Config{Rank: 1, Alpha: 1, Targets: []string{"q_proj", "self_attn.q_proj"}}, 3, ""},
		{Config{Rank: 1, Alpha: 1, Targets: []string{"mlp.*"}}, 9, ""},
		{Config{Rank: 1, Alpha: 1, Targets: []string{"mlp.*", "v_proj"}, Layers: []int{2}}, 4, ""},
		{Config{Rank: 10, Alpha: 1, Targets: []string{"q_proj"}}, 3, ""},
		{Config{Rank: 11, Alpha: 1, Targets: []string{"q_proj"}}, 0, "rank"},
		{Config{Rank: 0, Alpha: 1, Targets: []string{"q_proj"}}, 0, "rank"},
		{Config{Rank: 1, Alpha: 0, Targets: []string{"q_proj"}}, 0, "alpha"},
		{Config{Rank: 1, Alpha: math.NaN(), Targets: []string{"q_proj"}}, 0, "alpha"},
		{Config{Rank: 1, Alpha: 1, Dropout: 1, Targets: []string{"q_proj"}}, 0, "dropout"},
		{Config{Rank: 1, Alpha: 1}, 0, "targets"},
		{Config{Rank: 1, Alpha: 1, Targets: []string{"q_proj"}, Layers: []int{3}}, 0, "layer"},
		{Config{Rank: 1, Alpha: 1, Targets: []string{"q_proj"}, Layers: []int{}}, 0, "layers"},
		{Config{Rank: 1, Alpha: 1, Targets: []string{"q_proj", "c_attn"}}, 0, "target"},
		// A tied head is the embedding: neither is adapted.
		{Config{Rank: 1, Alpha: 1, Targets: []string{"lm_head"}}, 0, "target"},
		{Config{Rank: 1, Alpha: 1, Targets: []string{"embed_tokens"}}, 0, "target"},
		{Config{Rank: 1, Alpha: 1, Targets: []string{"q_norm"}}, 0, "target"},
	} {
		got, err := f.config.Modules(c)
		var e *ConfigError
		if f.field == "" && (err != nil || len(got) != f.want) || f.field != "" && (!errors.As(err, &e) || e.Field != f.field) {
			t.Errorf("%+v: %d modules, %v", f.config, len(got), err)
		}
	}
}

// Merging and unmerging gives the base back within the rounding of a weight; merging twice is not merging.
func TestUnmerge(t *testing.T) {
	c := small()
	w := weights(c, 1)
	a := adapter(t, Config{Rank: 3, Alpha: 6, Targets: all()}, c, 3)
	merged, err := a.Merge(w)
	check(t, err)
	back, err := a.Unmerge(merged)
	check(t, err)
	for name, want := range w.Tensors {
		got, m := back.Tensors[name], merged.Tensors[name]
		for i := range want {
			// Two roundings, each of half an ulp of the larger.
			if d := math.Abs(float64(got[i]) - float64(want[i])); d > kerneltest.Eps*(math.Abs(float64(m[i]))+math.Abs(float64(want[i]))) {
				t.Fatalf("%s[%d] is %v after merging and unmerging, was %v", name, i, got[i], want[i])
			}
		}
		if adapted := a.Lookup(strings.TrimSuffix(name, ".weight")) != nil; adapted == slices.Equal(m, want) {
			t.Errorf("%s changed: %v", name, !adapted)
		}
	}
	twice, err := a.Merge(merged)
	check(t, err)
	if d := relative(twice.Tensors["model.layers.0.mlp.up_proj.weight"], merged.Tensors["model.layers.0.mlp.up_proj.weight"]); d < 0.01 {
		t.Error("a second merge changes nothing: what guards against it has nothing to guard")
	}
	if len(w.Tensors["model.embed_tokens.weight"]) == 0 || !slices.Equal(merged.Tensors["model.embed_tokens.weight"], w.Tensors["model.embed_tokens.weight"]) {
		t.Error("the tied head changed")
	}
}

func TestFiles(t *testing.T) {
	c := swiglu()
	for _, lc := range []Config{
		{Rank: 3, Alpha: 6, Targets: all()},
		{Rank: 2, Alpha: 0.5, RSLoRA: true, Dropout: 0.125, Targets: []string{"q_proj", "mlp.up_proj"}, Layers: []int{0, 2}},
	} {
		a := adapter(t, lc, c, 3)
		a.Base = strings.Repeat("ab", 32)
		dir := filepath.Join(t.TempDir(), "run", RunDir)
		check(t, a.Save(dir, "some/base", nil))
		for _, at := range []string{dir, filepath.Dir(dir)} {
			got, err := Read(at, c)
			check(t, err)
			if got.Base != a.Base || got.Scale() != a.Scale() || got.Dropout != a.Dropout || len(got.Pairs) != len(a.Pairs) {
				t.Errorf("%+v came back as %+v", a.Config, got.Config)
			}
			for i := range a.Pairs {
				check(t, kerneltest.Bits(got.Pairs[i].A, a.Pairs[i].A))
				check(t, kerneltest.Bits(got.Pairs[i].B, a.Pairs[i].B))
			}
		}
		// The names and shapes are PEFT's.
		f, err := checkpoint.ReadFile(filepath.Join(dir, WeightsName))
		check(t, err)
		if _, err := f.Get("base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight", checkpoint.F32, lc.Rank, c.HiddenSize); err != nil {
			t.Error(err)
		}
		if _, err := f.Get("base_model.model.model.layers.2.mlp.up_proj.lora_B.weight", checkpoint.F32, c.IntermediateSize, lc.Rank); err != nil {
			t.Error(err)
		}
		if a.CheckBase("x", a.Base) != nil {
			t.Error("the base is refused")
		}
		var e *BaseError
		if err := a.CheckBase("x", strings.Repeat("cd", 32)); !errors.As(err, &e) {
			t.Errorf("another base: %v", err)
		}
	}
}

// Other types of PEFT's are read; what holds other numbers than it says is refused.
func TestReadTypes(t *testing.T) {
	c := small()
	lc := Config{Rank: 2, Alpha: 4, Targets: []string{"q_proj"}}
	a := adapter(t, lc, c, 3)
	for _, dt := range []checkpoint.DType{checkpoint.F32, checkpoint.F16, checkpoint.BF16} {
		dir := t.TempDir()
		check(t, a.write(dir, "base"))
		var ts []checkpoint.Tensor
		for _, x := range a.tensors() {
			v, err := x.Float()
			check(t, err)
			y, err := checkpoint.FromF32As(dt, x.Name, x.Shape, v)
			check(t, err)
			ts = append(ts, y)
		}
		check(t, checkpoint.WriteFile(filepath.Join(dir, WeightsName), ts, nil))
		got, err := Read(dir, c)
		check(t, err)
		if d := relative(got.Pairs[1].B, a.Pairs[1].B); d > 4e-3 || (dt != checkpoint.F32) == (d == 0) {
			t.Errorf("%v: off by %v", dt, d)
		}
		if got.Base != "" {
			t.Error("a base out of nowhere")
		}
		check(t, checkpoint.WriteFile(filepath.Join(dir, WeightsName), ts[1:], nil))
		if _, err := Read(dir, c); !errors.Is(err, checkpoint.ErrMissing) {
			t.Errorf("a tensor is missing: %v", err)
		}
		more := append(slices.Clone(ts), checkpoint.FromF32("base_model.model.lm_head.lora_A.weight", []int{1}, []float32{1}))
		check(t, checkpoint.WriteFile(filepath.Join(dir, WeightsName), more, nil))
		if _, err := Read(dir, c); !errors.Is(err, checkpoint.ErrUnexpected) {
			t.Errorf("a tensor too many: %v", err)
		}
		wider := c
		wider.HiddenSize = 12
		if _, err := Read(dir, wider); !errors.Is(err, checkpoint.ErrShape) {
			t.Errorf("another width: %v", err)
		}
	}
}

// What PEFT writes and mito computes is read, and what mito does not compute is refused by name.
func TestPEFTConfigs(t *testing.T) {
	c := perLayer()
	for _, f := range []struct {
		keys    string
		modules int // 0 for a refusal
		field   string
	}{
		{`"target_modules": ["v_proj", "q_proj"]`, 6, ""},
		{`"target_modules": "all-linear"`, 24, ""},
		{`"target_modules": ".*\\.(q|v)_proj"`, 6, ""},
		{`"target_modules": ".*_proj", "layers_to_transform": 1`, 6, ""},
		{`"target_modules": ["q_proj"], "layers_to_transform": [0, 2], "rank_pattern": {}, "modules_to_save": null`, 2, ""},
		{`"target_modules": ".*layers\\.1\\..*"`, 0, "target_modules"},
		{`"target_modules": ".*embed.*"`, 0, "target_modules"},
		{`"target_modules": "("`, 0, "target_modules"},
		{`"target_modules": "nothing"`, 0, "target_modules"},
		{`"target_modules": 3`, 0, "target_modules"},
		{`"target_modules": ["q_proj", "lm_head"]`, 0, "target"},
		{`"target_modules": ["q_proj"], "use_dora": true`, 0, "use_dora, lora_bias or fan_in_fan_out"},
		{`"target_modules": ["q_proj"], "bias": "all"`, 0, "bias"},
		{`"target_modules": ["q_proj"], "modules_to_save": ["lm_head"]`, 0, "modules_to_save"},
		{`"target_modules": ["q_proj"], "rank_pattern": {"q_proj": 8}`, 0, "rank_pattern"},
		{`"target_modules": ["q_proj"], "layers_to_transform": "1"`, 0, "layers_to_transform"},
		{`"target_modules": ["q_proj"], "peft_type": "IA3"`, 0, "peft_type"},
		{`"target_modules": ["q_proj"], "alora_invocation_tokens": [1]`, 0, "alora_invocation_tokens"},
		{`"target_modules": ["q_proj"], "use_qalora": true`, 0, "use_qalora"},
		{`"target_modules": ["q_proj"], "r": 7`, 3, ""},
		{`"target_modules": ["q_proj"], "r": 77`, 0, "rank"},
		{`"target_modules": ".*per_layer_(gate|projection)"`, 6, ""},
		{`"target_modules": ".*per_layer_.*"`, 0, "target_modules"}, // the table too
	} {
		base := map[string]json.RawMessage{}
		check(t, json.Unmarshal([]byte(`{"peft_type": "LORA", "r": 2, "lora_alpha": 4, "bias": "none", "unknown_key": 1}`), &base))
		check(t, json.Unmarshal([]byte("{"+f.keys+"}"), &base))
		text, err := json.Marshal(base)
		check(t, err)
		var p peftConfig
		check(t, files.DecodeJSON(text, &p))
		_, modules, err := p.config(c)
		var e *ConfigError
		if f.modules > 0 && (err != nil || len(modules) != f.modules) || f.modules == 0 && (!errors.As(err, &e) || e.Field != f.field) {
			t.Errorf("%s: %d modules, %v", f.keys, len(modules), err)
		}
	}
}

// What PEFT wrote (testdata/make.py) is read, and adds to a weight what PEFT says that it does.
func TestPEFTsFiles(t *testing.T) {
	c := arch.Config{
		ModelType: arch.ModelType, VocabSize: 11, HiddenSize: 16, IntermediateSize: 24, Layers: 2, Heads: 4, KVHeads: 2, HeadDim: 4,
		Context: 32, Activation: arch.ActSwiGLU, Norm: arch.NormRMS, NormEps: 1e-5, Position: arch.PositionRoPE, RoPETheta: 10000,
	}
	a, err := Read("testdata/peft", c)
	check(t, err)
	if len(a.Pairs) != 2 || a.Rank != 2 || a.Alpha != 6 || !a.RSLoRA || a.Base != "" {
		t.Errorf("%+v with %d modules", a.Config, len(a.Pairs))
	}
	p := a.Lookup("model.layers.1.self_attn.q_proj")
	if p == nil {
		t.Fatal("q_proj of layer 1 is missing")
	}
	w := make([]float32, 16*16)
	a.AddTo(w, p, 1)
	for i, want := range []float32{-1.1734251976013184, -1.2371504306793213, 1.1517720222473145, 0.3058512210845947} {
		if d := math.Abs(float64(w[3*16+i] - want)); d > 1e-6 {
			t.Errorf("row 3, column %d: %v, PEFT adds %v", i, w[3*16+i], want)
		}
	}
}

// FuzzRead: whatever the two files hold, reading them ends with an adapter of the model or an error.
func FuzzRead(f *testing.F) {
	c := small()
	dir := f.TempDir()
	a := adapter(f, Config{Rank: 2, Alpha: 4, Targets: []string{"q_proj"}, Layers: []int{1}}, c, 3)
	check(f, a.write(dir, "base"))
	config, err := os.ReadFile(filepath.Join(dir, ConfigName))
	check(f, err)
	tensors, err := os.ReadFile(filepath.Join(dir, WeightsName))
	check(f, err)
	f.Add(config, tensors)
	f.Add([]byte(`{"peft_type":"LORA","r":2,"lora_alpha":4,"target_modules":".*"}`), tensors)
	f.Fuzz(func(t *testing.T, config, tensors []byte) {
		check(t, os.WriteFile(filepath.Join(dir, ConfigName), config, 0o666))
		check(t, os.WriteFile(filepath.Join(dir, WeightsName), tensors, 0o666))
		a, err := Read(dir, c)
		if err != nil {
			return
		}
		for _, p := range a.Pairs {
			if len(p.A) != a.Rank*p.Module.Cols || len(p.B) != a.Rank*p.Module.Rows || p.Module.Layer < 0 {
				t.Fatalf("%s has %d and %d values at rank %d", p.Module.Name, len(p.A), len(p.B), a.Rank)
			}
		}
	})
}
