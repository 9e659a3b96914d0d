package lora

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"mito/engine/arch"
	"mito/engine/checkpoint"
	"mito/engine/files"
)

// The files of an adapter are PEFT's (https://github.com/huggingface/peft).
const (
	ConfigName  = "adapter_config.json"
	WeightsName = "adapter_model.safetensors"

	prefix  = "base_model.model." // of the names of its tensors
	baseKey = "mito_base_sha256"  // in the metadata of the tensors: PEFT refuses keys of adapter_config.json that it does not know
)

// peftConfig is adapter_config.json, with the keys that say what mito computes, and those that must say nothing else.
type peftConfig struct {
	PeftType     string          `json:"peft_type"`
	TaskType     string          `json:"task_type"`
	BaseModel    *string         `json:"base_model_name_or_path"`
	Inference    bool            `json:"inference_mode"`
	R            int             `json:"r"`
	Alpha        float64         `json:"lora_alpha"`
	Dropout      float64         `json:"lora_dropout"`
	RSLoRA       bool            `json:"use_rslora"`
	Targets      json.RawMessage `json:"target_modules"` // a list of names, a regular expression, or "all-linear"
	Layers       json.RawMessage `json:"layers_to_transform"`
	Bias         string          `json:"bias"`
	FanInFanOut  bool            `json:"fan_in_fan_out"`
	DoRA         bool            `json:"use_dora"`
	LoRABias     bool            `json:"lora_bias"`
	Excluded     json.RawMessage `json:"exclude_modules"`
	Saved        json.RawMessage `json:"modules_to_save"`
	RankPattern  json.RawMessage `json:"rank_pattern"`
	AlphaPattern json.RawMessage `json:"alpha_pattern"`
	InitWeights  json.RawMessage `json:"init_lora_weights"`

	ALoRA      json.RawMessage `json:"alora_invocation_tokens,omitempty"`
	Replicated json.RawMessage `json:"layer_replication,omitempty"`
	Parameters json.RawMessage `json:"target_parameters,omitempty"`
	Tokens     json.RawMessage `json:"trainable_token_indices,omitempty"`
	QALoRA     json.RawMessage `json:"use_qalora,omitempty"`
	BDLoRA     json.RawMessage `json:"use_bdlora,omitempty"`
	Arrow      json.RawMessage `json:"arrow_config,omitempty"`
	Kasa       json.RawMessage `json:"kasa_config,omitempty"`
	Velora     json.RawMessage `json:"velora_config,omitempty"`
}

// Save writes the adapter to a folder. base is where the base lies, for people and for PEFT; more may write further files.
// Errors: those of files.SaveDir, checkpoint.ErrNotFinite.
func (a *Adapter) Save(dir, base string, more func(tmp string) error) error {
	return files.SaveDir(dir, []string{ConfigName, WeightsName}, func(tmp string) error {
		if err := a.write(tmp, base); err != nil || more == nil {
			return err
		}
		return more(tmp)
	})
}

func (a *Adapter) write(dir, base string) error {
	c := peftConfig{
		PeftType: "LORA", TaskType: "CAUSAL_LM", BaseModel: &base, Inference: true, R: a.Rank, Alpha: a.Alpha, Dropout: a.Dropout,
		RSLoRA: a.RSLoRA, Bias: "none", Excluded: null, Saved: null, RankPattern: []byte("{}"), AlphaPattern: []byte("{}"),
		InitWeights: []byte("true"), Layers: null,
	}
	// PEFT knows names, no wildcards.
	var names []string
	for _, p := range a.Pairs {
		if n := lastPart(p.Module.Part); !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	var err error
	if c.Targets, err = json.Marshal(names); err != nil {
		return err
	}
	if a.Layers != nil {
		if c.Layers, err = json.Marshal(a.Layers); err != nil {
			return err
		}
	}
	meta := map[string]string{"format": "pt"}
	if a.Base != "" {
		meta[baseKey] = a.Base
	}
	ts := a.tensors()
	for i := range ts {
		if err := ts[i].CheckFinite(); err != nil {
			return err
		}
	}
	if err := checkpoint.WriteFile(filepath.Join(dir, WeightsName), ts, meta); err != nil {
		return err
	}
	return files.WriteJSON(filepath.Join(dir, ConfigName), &c)
}

var null = json.RawMessage("null")

func tensorName(module, suffix string) string { return prefix + module + suffix + ".weight" }

func (a *Adapter) tensors() (ts []checkpoint.Tensor) {
	for _, p := range a.Pairs {
		ts = append(ts,
			checkpoint.FromF32(tensorName(p.Module.Name, suffixA), []int{a.Rank, p.Module.Cols}, p.A),
			checkpoint.FromF32(tensorName(p.Module.Name, suffixB), []int{p.Module.Rows, a.Rank}, p.B))
	}
	return ts
}

// Dir finds the adapter that a flag names: its folder, or the run that trained it.
func Dir(dir string) string {
	if _, err := os.Stat(filepath.Join(dir, ConfigName)); errors.Is(err, fs.ErrNotExist) {
		if inner := filepath.Join(dir, RunDir); exists(filepath.Join(inner, ConfigName)) {
			return inner
		}
	}
	return dir
}

// RunDir is the adapter in the folder of a run.
const RunDir = "adapter"

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// Read reads an adapter of a model, mito's or PEFT's, in float32, float16 or bfloat16. Errors: fs.ErrNotExist,
// *checkpoint.FormatError, *ConfigError for what mito does not compute, such as DoRA, and for what does not fit the model.
func Read(dir string, model arch.Config) (*Adapter, error) {
	dir, err := files.Resolve(Dir(dir))
	if err != nil {
		return nil, fmt.Errorf("reading an adapter: %w", err)
	}
	path := filepath.Join(dir, ConfigName)
	raw, err := files.ReadLimited(path, maxConfig)
	if err != nil {
		return nil, fmt.Errorf("reading an adapter: %w", err)
	}
	var c peftConfig
	if err := files.DecodeJSON(raw, &c); err != nil {
		return nil, files.WithPath(err, path)
	}
	cfg, modules, err := c.config(model)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	f, err := checkpoint.ReadFile(filepath.Join(dir, WeightsName))
	if err != nil {
		return nil, fmt.Errorf("reading an adapter: %w", err)
	}
	return cfg.fromFile(modules, f)
}

// maxConfig is more than any adapter_config.json has.
const maxConfig = 1 << 20

// fromFile takes the tensors, of which the file must hold those of the modules and no others.
func (c *Config) fromFile(modules []arch.Module, f *checkpoint.File) (*Adapter, error) {
	a := &Adapter{Config: *c, Base: f.Metadata[baseKey]}
	var names []string
	get := func(name string, shape ...int) ([]float32, error) {
		names = append(names, name)
		t, err := f.Tensor(name)
		if err != nil {
			return nil, err
		}
		if !slices.Equal(t.Shape, shape) {
			return nil, &checkpoint.FormatError{Path: f.Path, Name: name, Err: checkpoint.ErrShape,
				Detail: fmt.Sprintf("is %v, the model and the rank want %v", t.Shape, shape)}
		}
		if err := t.CheckFinite(); err != nil {
			return nil, files.WithPath(err, f.Path)
		}
		v, err := t.Float()
		return v, files.WithPath(err, f.Path)
	}
	for _, m := range modules {
		p := Pair{Module: m}
		var err error
		if p.A, err = get(tensorName(m.Name, suffixA), c.Rank, m.Cols); err != nil {
			return nil, err
		}
		if p.B, err = get(tensorName(m.Name, suffixB), m.Rows, c.Rank); err != nil {
			return nil, err
		}
		a.Pairs = append(a.Pairs, p)
	}
	return a, f.Expect(names...)
}

// config is what mito makes of the file.
func (p *peftConfig) config(model arch.Config) (*Config, []arch.Module, error) {
	refuse := func(field string, got any, want string) error { return &ConfigError{field, fmt.Sprint(got), want} }
	switch {
	case p.PeftType != "LORA":
		return nil, nil, refuse("peft_type", fmt.Sprintf("%q", p.PeftType), `"LORA"`)
	case p.DoRA || p.LoRABias || p.FanInFanOut:
		return nil, nil, refuse("use_dora, lora_bias or fan_in_fan_out", true, "false: mito computes plain LoRA")
	case p.Bias != "none" && p.Bias != "":
		return nil, nil, refuse("bias", fmt.Sprintf("%q", p.Bias), `"none": mito's adapters train no bias of the base`)
	}
	for _, f := range []struct {
		name string
		v    json.RawMessage
	}{{"exclude_modules", p.Excluded}, {"modules_to_save", p.Saved}, {"rank_pattern", p.RankPattern}, {"alpha_pattern", p.AlphaPattern},
		{"alora_invocation_tokens", p.ALoRA}, {"layer_replication", p.Replicated}, {"target_parameters", p.Parameters},
		{"trainable_token_indices", p.Tokens}, {"use_qalora", p.QALoRA}, {"use_bdlora", p.BDLoRA}, {"arrow_config", p.Arrow},
		{"kasa_config", p.Kasa}, {"velora_config", p.Velora}} {
		if v := string(bytes.TrimSpace(f.v)); v != "" && v != "null" && v != "false" && v != "{}" && v != "[]" {
			return nil, nil, refuse(f.name, v, "null: mito gives all targets one rank and one alpha, and computes plain LoRA")
		}
	}
	c := &Config{Rank: p.R, Alpha: p.Alpha, RSLoRA: p.RSLoRA, Dropout: p.Dropout}
	var err error
	if c.Layers, err = layersOf(p.Layers); err != nil {
		return nil, nil, err
	}
	if c.Targets, err = targetsOf(p.Targets, model); err != nil {
		return nil, nil, err
	}
	modules, err := c.Modules(model)
	return c, modules, err
}

// layersOf reads layers_to_transform: nothing, a number or a list.
func layersOf(raw json.RawMessage) ([]int, error) {
	if text := string(bytes.TrimSpace(raw)); text == "" || text == "null" {
		return nil, nil
	}
	var one int
	if json.Unmarshal(raw, &one) == nil {
		return []int{one}, nil
	}
	var list []int
	if json.Unmarshal(raw, &list) != nil {
		return nil, &ConfigError{"layers_to_transform", string(raw), "null, a number or a list of numbers"}
	}
	return list, nil
}

// targetsOf reads target_modules: a list of names, of which each means the modules that end with it, or a regular expression
// that whole names of modules match.
func targetsOf(raw json.RawMessage, model arch.Config) ([]string, error) {
	var list []string
	if json.Unmarshal(raw, &list) == nil {
		for i, name := range list {
			// PEFT's names may be whole ones, which stand for one layer; mito's are those inside a layer.
			if strings.ContainsAny(name, "*?[\\") {
				return nil, &ConfigError{"target_modules", fmt.Sprintf("%q", name), "names of modules"}
			}
			list[i] = strings.TrimPrefix(name, prefix)
		}
		return list, nil
	}
	var pattern string
	if json.Unmarshal(raw, &pattern) != nil {
		return nil, &ConfigError{"target_modules", string(raw), "a list of names or a regular expression"}
	}
	if pattern == "all-linear" {
		return linears(model), nil
	}
	re, err := regexp.Compile("^(?:" + pattern + ")$")
	if err != nil {
		return nil, &ConfigError{"target_modules", fmt.Sprintf("%q", pattern), "a regular expression: " + err.Error()}
	}
	parts := map[string]int{} // how many layers have it among the targets
	for _, m := range model.Modules() {
		if !m.IsMatrix() || !re.MatchString(m.Name) {
			continue
		}
		if m.Part.Table() {
			return nil, &ConfigError{"target_modules", fmt.Sprintf("%q", pattern), "no table: " + m.Name + " is an embedding or an output head"}
		}
		parts[lastPart(m.Part)]++
	}
	var out []string
	for _, name := range linears(model) {
		switch n := parts[name]; {
		case n == model.Layers:
			out = append(out, name)
		case n > 0:
			return nil, &ConfigError{"target_modules", fmt.Sprintf("%q", pattern), "the same modules of every layer; layers_to_transform chooses layers"}
		}
	}
	if len(out) == 0 {
		return nil, &ConfigError{"target_modules", fmt.Sprintf("%q", pattern), "a regular expression that some module matches"}
	}
	return out, nil
}
