package main

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mito/backend"
	"mito/engine/checkpoint"
)

func TestBadCorpus(t *testing.T) {
	need(t)
	dir := t.TempDir()
	folder := filepath.Join(dir, "folder")
	if err := os.Mkdir(folder, 0o777); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"empty.txt": "", "short.txt": "too short", "binary.txt": "text\x00\x01\x02" + strings.Repeat("x", 2000),
		"latin1.txt": strings.Repeat("caf\xe9 ", 500), "foreign.txt": strings.Repeat("Ünïcödé tëxt ", 100),
	} {
		write(t, filepath.Join(dir, name), text)
	}
	for _, c := range []struct{ corpus, says string }{
		{"missing.txt", "missing.txt"}, {"empty.txt", "empty"}, {"binary.txt", "binary"}, {"latin1.txt", "UTF-8"},
		{"short.txt", "short"}, {"folder", "folder"},
	} {
		for _, command := range []string{"train --model micro --steps 1 --out out", "pipeline --preset quick --out out"} {
			fails(t, dir, exitFailure, []string{c.says}, append(strings.Fields(command), "--corpus", c.corpus)...)
		}
		fails(t, dir, exitFailure, []string{c.says}, "eval", "--model", fixtures.text, "--corpus", c.corpus)
		if _, err := os.Stat(filepath.Join(dir, "out")); err == nil {
			t.Errorf("%s: a folder was made", c.corpus)
		}
	}
	for _, args := range [][]string{
		{"eval", "--model", fixtures.text, "--corpus", "foreign.txt"},
		{"distill", "--teacher", fixtures.text, "--corpus", "foreign.txt", "--model", "micro", "--steps", "1", "--out", "out"},
		{"eval", "--model", fixtures.text, "--task", "tictactoe"},
		{"generate", "--model", fixtures.text, "--prompt", "Ü"},
	} {
		fails(t, dir, exitFailure, []string{"character", "vocabulary"}, args...)
	}
}

// spoil changes a file of a copied folder.
type spoil func(t *testing.T, dir string)

func onFile(name string, change func(t *testing.T, text []byte) []byte) spoil {
	return func(t *testing.T, dir string) {
		path := filepath.Join(dir, name)
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		write(t, path, string(change(t, text)))
	}
}

// onHeader changes the header of the weights.
func onHeader(change func(header map[string]any, entry map[string]any)) spoil {
	return onFile(checkpoint.WeightsName, func(t *testing.T, text []byte) []byte {
		n := binary.LittleEndian.Uint64(text)
		var header map[string]any
		if err := json.Unmarshal(text[8:8+n], &header); err != nil {
			t.Fatal(err)
		}
		change(header, header["model.layers.0.mlp.up_proj.weight"].(map[string]any))
		changed, err := json.Marshal(header)
		if err != nil {
			t.Fatal(err)
		}
		return append(append(binary.LittleEndian.AppendUint64(nil, uint64(len(changed))), changed...), text[8+n:]...)
	})
}

// onTensors changes the tensors of the weights.
func onTensors(change func(list []checkpoint.Tensor) []checkpoint.Tensor) spoil {
	return func(t *testing.T, dir string) {
		path := filepath.Join(dir, checkpoint.WeightsName)
		f, err := checkpoint.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := checkpoint.WriteFile(path, change(f.Tensors), f.Metadata); err != nil {
			t.Fatal(err)
		}
	}
}

func tensor(list []checkpoint.Tensor, name string) *checkpoint.Tensor {
	for i := range list {
		if list[i].Name == name {
			return &list[i]
		}
	}
	panic("no tensor " + name)
}

// onConfig sets a key of config.json.
func onConfig(key string, value any) spoil {
	return onFile(checkpoint.ConfigName, func(t *testing.T, text []byte) []byte {
		var c map[string]any
		if err := json.Unmarshal(text, &c); err != nil {
			t.Fatal(err)
		}
		c[key] = value
		text, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		return text
	})
}

func remove(name string) spoil {
	return func(t *testing.T, dir string) {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
}

func text(s string) func(*testing.T, []byte) []byte {
	return func(*testing.T, []byte) []byte { return []byte(s) }
}

// tokenizerOf makes the tokenizer one of a kind that mito does not have.
func tokenizerOf(kind string) spoil {
	return onFile("tokenizer.json", text(`{"version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null, "pre_tokenizer": null,
		"post_processor": null, "decoder": null, "model": {"type": "`+kind+`", "vocab": []}}`))
}

// sharded puts the weights into two files, of which the second is missing.
func sharded(t *testing.T, dir string) {
	first := "model-00001-of-00002.safetensors"
	index := `{"metadata": {}, "weight_map": {"model.norm.weight": "` + first + `", "` + up + `": "model-00002-of-00002.safetensors"}}`
	if err := errors.Join(os.Rename(filepath.Join(dir, "model.safetensors"), filepath.Join(dir, first)),
		os.WriteFile(filepath.Join(dir, "model.safetensors.index.json"), []byte(index), 0o666)); err != nil {
		t.Fatal(err)
	}
}

// pickled leaves weights that only PyTorch reads.
func pickled(t *testing.T, dir string) {
	if err := errors.Join(os.Remove(filepath.Join(dir, "model.safetensors")),
		os.WriteFile(filepath.Join(dir, "pytorch_model.bin"), []byte("PK\x03\x04 data.pkl"), 0o666)); err != nil {
		t.Fatal(err)
	}
}

const up = "model.layers.0.mlp.up_proj.weight"

func TestBadCheckpoint(t *testing.T) {
	need(t)
	last := func(n int) func(*testing.T, []byte) []byte {
		return func(_ *testing.T, b []byte) []byte { return b[:len(b)-n] }
	}
	for name, c := range map[string]struct {
		spoil spoil
		says  []string
	}{
		"truncated":       {onFile("model.safetensors", last(100)), []string{"model.safetensors", "ends too early"}},
		"tiny":            {onFile("model.safetensors", text("abc")), []string{"model.safetensors", "ends too early"}},
		"empty":           {onFile("model.safetensors", text("")), []string{"model.safetensors"}},
		"header too long": {onFile("model.safetensors", text("\xff\xff\xff\xff\xff\xff\xff\x7f{}")), []string{"model.safetensors"}},
		"longer":          {onFile("model.safetensors", func(_ *testing.T, b []byte) []byte { return append(b, 0) }), []string{"model.safetensors", "belong to no tensor"}},
		"no weights":      {remove("model.safetensors"), []string{"model.safetensors"}},
		"overlapping":     {onHeader(func(_, e map[string]any) { e["data_offsets"] = []int{0, 32768} }), []string{"model.safetensors"}},
		"offsets too big": {onHeader(func(_, e map[string]any) { e["data_offsets"] = []uint64{1 << 62, 1<<62 + 32768} }), []string{up}},
		"shape overflows": {onHeader(func(_, e map[string]any) { e["shape"] = []uint64{1 << 40, 1 << 40} }), []string{up}},
		"negative shape":  {onHeader(func(_, e map[string]any) { e["shape"] = []int{-128, -64} }), []string{up}},
		"unknown type":    {onHeader(func(_, e map[string]any) { e["dtype"] = "F7" }), []string{up, "F7"}},
		"wrong type":      {onHeader(func(_, e map[string]any) { e["dtype"] = "I32" }), []string{up, "I32"}},
		"transposed":      {onHeader(func(_, e map[string]any) { e["shape"] = []int{64, 128} }), []string{up, "shape"}},
		"missing tensor":  {onTensors(func(l []checkpoint.Tensor) []checkpoint.Tensor { return append(l[:3:3], l[4:]...) }), []string{"a tensor is missing"}},
		"unexpected": {onTensors(func(l []checkpoint.Tensor) []checkpoint.Tensor {
			return append(l, checkpoint.FromF32("extra", []int{1}, []float32{1}))
		}), []string{"extra"}},
		"NaN":              {onTensors(func(l []checkpoint.Tensor) []checkpoint.Tensor { setFloat(tensor(l, up), math.NaN()); return l }), []string{up, "NaN"}},
		"infinite":         {onTensors(func(l []checkpoint.Tensor) []checkpoint.Tensor { setFloat(tensor(l, up), math.Inf(-1)); return l }), []string{up, "infinite"}},
		"wider config":     {onConfig("hidden_size", 128), []string{"shape"}},
		"deeper config":    {onConfig("num_hidden_layers", 3), []string{"a tensor is missing"}},
		"shallower config": {onConfig("num_hidden_layers", 1), []string{"model.layers.1"}},
		"heads":            {onConfig("num_attention_heads", 3), []string{"config: ", "heads"}},
		"kv heads":         {onConfig("num_key_value_heads", 3), []string{"config: ", "heads"}},
		"no layers":        {onConfig("num_hidden_layers", 0), []string{"config: ", "num_hidden_layers"}},
		"negative":         {onConfig("hidden_size", -64), []string{"config: ", "hidden_size"}},
		"huge":             {onConfig("hidden_size", int64(1)<<50), []string{"config: ", "hidden_size"}},
		"activation":       {onConfig("hidden_act", "tanh"), []string{"config: ", "tanh"}},
		"model type":       {onConfig("model_type", "bert"), []string{"bert"}},
		"vocabulary":       {onConfig("vocab_size", 8), []string{"embed_tokens"}},
		"config is text":   {onFile("config.json", text("hello")), []string{"config.json"}},
		"config is a list": {onFile("config.json", text("[]")), []string{"config.json"}},
		"no config":        {remove("config.json"), []string{"config.json"}},
		"tokenizer":        {onFile("tokenizer.json", text(`{"version": 7}`)), []string{"tokenizer.json"}},
		"no tokenizer":     {remove("tokenizer.json"), []string{"tokenizer.json"}},

		// What other programs write and mito does not read, by the key that says it and with what is read.
		"another architecture": {onConfig("model_type", "gemma3_text"), []string{"gemma3_text", "want one of mito, llama"}},
		"scaled positions":     {onConfig("rope_parameters", map[string]any{"rope_type": "yarn", "factor": 4, "rope_theta": 10000}), []string{"rope", "yarn"}},
		"GPTQ":                 {onConfig("quantization_config", map[string]any{"quant_method": "gptq", "bits": 4}), []string{"gptq", "quant"}},
		"AWQ":                  {onConfig("quantization_config", map[string]any{"quant_method": "awq"}), []string{"awq"}},
		"bitsandbytes":         {onConfig("quantization_config", map[string]any{"quant_method": "bitsandbytes", "load_in_4bit": true}), []string{"bitsandbytes"}},
		"Unigram":              {tokenizerOf("Unigram"), []string{`"Unigram"`, "supported"}},
		"WordPiece":            {tokenizerOf("WordPiece"), []string{`"WordPiece"`, "supported"}},
		"missing shard":        {sharded, []string{"model-00002-of-00002.safetensors"}},
		"pickle":               {pickled, []string{"pytorch_model.bin", "pickle", "save_pretrained"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := copyDir(t, filepath.Join(fixtures.float, "model"))
			c.spoil(t, dir)
			fails(t, "", exitFailure, c.says, "eval", "--model", dir, "--task", "tictactoe", "--positions", "200", "--games", "2", "--json")
			out := filepath.Join(t.TempDir(), "out")
			if name != "no tokenizer" { // which an INT8 student does not need
				fails(t, "", exitFailure, c.says, "quantize", "--model", dir, "--out", out, "--json")
			}
			fails(t, "", exitFailure, c.says, "distill", "--teacher", dir, "--task", "tictactoe", "--positions", "200", "--model", "micro", "--steps", "1", "--batch", "2", "--out", out)
			if _, err := os.Stat(filepath.Join(out, "model")); err == nil {
				t.Error("a model was made of it")
			}
		})
	}
}

func setFloat(t *checkpoint.Tensor, v float64) {
	binary.LittleEndian.PutUint32(t.Data[4*5:], math.Float32bits(float32(v)))
}

func TestBadStudent(t *testing.T) {
	need(t)
	const scale = "model.layers.0.mlp.up_proj.weight_scale"
	for name, c := range map[string]struct {
		spoil spoil
		says  []string
	}{
		"-128":          {onTensors(func(l []checkpoint.Tensor) []checkpoint.Tensor { tensor(l, up).Data[7] = 0x80; return l }), []string{"mlp.up_proj", "-128"}},
		"NaN scale":     {onTensors(func(l []checkpoint.Tensor) []checkpoint.Tensor { setFloat(tensor(l, scale), math.NaN()); return l }), []string{"mlp.up_proj"}},
		"zero scale":    {onTensors(func(l []checkpoint.Tensor) []checkpoint.Tensor { setFloat(tensor(l, scale), -1); return l }), []string{"mlp.up_proj"}},
		"wrong type":    {onHeader(func(_, e map[string]any) { e["dtype"] = "U8" }), []string{up, "U8"}},
		"missing scale": {onTensors(func(l []checkpoint.Tensor) []checkpoint.Tensor { return except(l, scale) }), []string{scale}},
		"bits": {onFile("config.json", func(_ *testing.T, b []byte) []byte {
			return []byte(strings.Replace(string(b), `"num_bits": 8`, `"num_bits": 3`, 1))
		}), []string{"num_bits"}},
		"heads":     {onConfig("num_attention_heads", 3), []string{"heads"}},
		"truncated": {onFile("model.safetensors", func(_ *testing.T, b []byte) []byte { return b[:len(b)/2] }), []string{"ends too early"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := copyDir(t, fixtures.int8)
			c.spoil(t, dir)
			fails(t, "", exitFailure, c.says, "verify", "--model", dir, "--json")
			fails(t, "", exitFailure, c.says, "generate", "--model", dir, "--prompt", "012345678=", "--json")
		})
	}
	fails(t, "", exitFailure, []string{"INT8"}, "verify", "--model", fixtures.float)
	fails(t, "", exitFailure, []string{"holds an INT8 student"}, "quantize", "--model", fixtures.int8, "--out", filepath.Join(t.TempDir(), "x"))
	fails(t, "", exitFailure, []string{"float weights"}, "distill", "--teacher", fixtures.int8, "--task", "tictactoe", "--model", "micro", "--steps", "1", "--out", filepath.Join(t.TempDir(), "x"))
	for _, args := range []string{"eval --task tictactoe", "verify", "generate --prompt x", "quantize --out y", "distill --task tictactoe --out z"} {
		flag := "--model"
		if strings.HasPrefix(args, "distill") {
			flag = "--teacher"
		}
		fails(t, "", exitFailure, []string{"nowhere"}, append(strings.Fields(args), flag, "nowhere")...)
	}
}

func except(list []checkpoint.Tensor, name string) []checkpoint.Tensor {
	var out []checkpoint.Tensor
	for _, t := range list {
		if t.Name != name {
			out = append(out, t)
		}
	}
	return out
}

// Configurations that no model can have, given by hand.
func TestBadConfig(t *testing.T) {
	need(t)
	dir := t.TempDir()
	for text, says := range map[string]string{
		`{"num_attention_heads": 5}`: "heads", `{"num_key_value_heads": 3}`: "heads", `{"hidden_act": "tanh"}`: "tanh",
		`{"hidden_sizes": 64}`: "hidden_sizes", `{"hidden_size": "wide"}`: "hidden_size", `{`: "config.json", `{"hidden_size": 64, "hidden_size": 32}`: "hidden_size",
		`{"head_dim": 7}`: "head_dim",
	} {
		write(t, filepath.Join(dir, "config.json"), text)
		fails(t, dir, exitFailure, []string{says}, "train", "--task", "tictactoe", "--positions", "200", "--model", "micro", "--config", "config.json", "--steps", "1", "--out", "out")
		if _, err := os.Stat(filepath.Join(dir, "out")); err == nil {
			t.Errorf("%s: a folder was made", text)
		}
	}
}

// A folder that holds something else is refused and stays as it is.
func TestForeignOutput(t *testing.T) {
	need(t)
	dir := t.TempDir()
	taken := filepath.Join(dir, "taken")
	if err := os.Mkdir(taken, 0o777); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(taken, "thesis.txt"), "years")
	write(t, filepath.Join(dir, "file"), "a file")
	for _, out := range []string{"taken", "file", "file/below"} {
		for _, args := range []string{
			"pipeline --preset quick", "train --task tictactoe --positions 200 --model micro --steps 1", "quantize --model " + fixtures.float,
			"distill --task tictactoe --positions 200 --teacher " + fixtures.float + " --model micro --steps 1",
		} {
			fails(t, dir, exitFailure, []string{filepath.Base(filepath.Dir(filepath.Join("x", out, "x")))}, append(strings.Fields(args), "--out", out)...)
		}
	}
	if list, err := os.ReadDir(taken); err != nil || len(list) != 1 || read(t, filepath.Join(taken, "thesis.txt")) != "years" || read(t, filepath.Join(dir, "file")) != "a file" {
		t.Errorf("what was there changed: %v, %v", list, err)
	}
	// Nor does one kind of output replace another.
	run := copyDir(t, fixtures.float)
	fails(t, dir, exitFailure, []string{"run of mito"}, "quantize", "--model", fixtures.float, "--out", run)
	fails(t, dir, exitFailure, []string{"model of mito"}, "train", "--task", "tictactoe", "--model", "micro", "--steps", "1", "--out", filepath.Join(run, "model"))
	fails(t, dir, exitFailure, []string{"already holds a run"}, "train", "--task", "tictactoe", "--model", "micro", "--steps", "1", "--out", run)
}

// A folder that holds several models is not taken for one of them.
func TestPipelineFolderAsModel(t *testing.T) {
	_, dir := wholePipeline(t)
	for _, args := range []string{"eval --task tictactoe --model", "verify --model", "generate --prompt x --model", "quantize --out y --model", "distill --task tictactoe --out z --teacher"} {
		fails(t, "", exitFailure, []string{"folder of a pipeline", filepath.Join(dir, "compressed"), filepath.Join(dir, "student")}, append(strings.Fields(args), dir)...)
	}
}

func TestBackendThatWasNotBuilt(t *testing.T) {
	if _, _, err := backend.Open("cuda", backend.Options{}); !errors.Is(err, backend.ErrNotBuilt) {
		t.Skip("built with CUDA")
	}
	fails(t, "", exitFailure, []string{"-tags cuda"}, "train", "--task", "tictactoe", "--backend", "cuda", "--out", "x")
}

// A run that diverges stops with the step, the tensor and advice, and its checkpoint is from before.
func TestDivergence(t *testing.T) {
	dir := t.TempDir()
	for _, saveEvery := range []string{"1", "100"} {
		out := "run-" + saveEvery
		fails(t, dir, exitFailure, []string{"diverged", "step", "learning rate"}, "train", "--task", "tictactoe", "--positions", "200", "--model", "micro", "--batch", "8",
			"--steps", "9", "--optimizer", "adamw", "--lr", "1e30", "--save-every", saveEvery, "--out", out)
		if _, err := os.Stat(filepath.Join(dir, out, "model")); err == nil {
			t.Error("a model was saved")
		}
	}
}

// A run that ends with finite weights far worse than none has failed too.
func TestFiniteDivergence(t *testing.T) {
	need(t)
	dir := t.TempDir()
	args := strings.Fields("train --arch micro --context 16 --steps 12 --optimizer adamw --lr 10 --out run --corpus " + fixtures.book)
	fails(t, dir, exitFailure, []string{"diverged by step 12", "guessing every token alike", "learning rate", "run/last"}, args...)
	if _, err := os.Stat(filepath.Join(dir, "run", "model")); err == nil {
		t.Error("a model was saved")
	}
	fails(t, dir, exitFailure, []string{"diverged by step 12"}, append(args, "--resume")...)
}

// What a run cannot have is refused before its folder is made.
func TestRefusedBeforeAFolder(t *testing.T) {
	need(t)
	dir := t.TempDir()
	write(t, filepath.Join(dir, "vocab.json"), `{"vocab_size": 3}`)
	write(t, filepath.Join(dir, "context.json"), `{"max_position_embeddings": 4}`)
	games := "--task tictactoe --positions 200 --arch micro --steps 1 --out out "
	for _, c := range []struct {
		code       int
		args, says string
	}{
		{exitUsage, "train " + games + "--batch 4 --micro-batches 5", "--micro-batches is 5, want at most the 4 sequences"},
		{exitFailure, "train " + games + "--config vocab.json", "vocab_size is 3, the tokenizer has"},
		{exitFailure, "train " + games + "--config context.json", "max_position_embeddings is 4, a row has 10 tokens"},
		{exitFailure, "distill " + games + "--teacher " + fixtures.float + " --teacher " + fixtures.text, "different tokenizers"},
		{exitFailure, "distill --arch micro --steps 1 --out out --context 40 --teacher " + fixtures.text + " --corpus " + fixtures.book, "context of 16 tokens"},
		{exitUsage, "distill " + games + "--temperature 1e-300 --teacher " + fixtures.float, "--temperature is 1e-300"},
	} {
		fails(t, dir, c.code, []string{c.says}, strings.Fields(c.args)...)
		if _, err := os.Stat(filepath.Join(dir, "out")); err == nil {
			t.Fatalf("mito %s made a folder", c.args)
		}
	}
}

// Only the part of a text that is evaluated must be written in the model's characters.
func TestEvalParts(t *testing.T) {
	need(t)
	dir := t.TempDir()
	const held = "the quick brown fox jumps over the lazy dog"
	foreign, known := filepath.Join(dir, "foreign.txt"), filepath.Join(dir, "known.txt")
	write(t, foreign, strings.Repeat("ÜÜÜÜÜÜÜÜÜ ", 200)+held)
	write(t, known, held)
	eval := func(args ...string) map[string]any {
		o := works(t, dir, append([]string{"eval", "--json", "--model", fixtures.text, "--corpus"}, args...)...)
		return o.object(t)
	}
	end := eval(foreign, "--held-out", "0.01") // 1% of 3,843 bytes
	if n := end["tokens"].(float64); n < 30 || n > 40 {
		t.Errorf("%v tokens", n)
	}
	whole := eval(known, "--all")
	if n := whole["tokens"].(float64); n != float64(len(held)-1) {
		t.Errorf("%v tokens of the whole text of %d", n, len(held))
	}
	if again := eval(known, "--held-out", "1"); again["loss_nats"] != whole["loss_nats"] || again["tokens"] != whole["tokens"] {
		t.Errorf("--held-out 1: %v, --all: %v", again, whole)
	}
	fails(t, dir, exitFailure, []string{"Ü", "vocabulary"}, "eval", "--model", fixtures.text, "--corpus", foreign, "--all")
}

// The flag's old spelling still works.
func TestArchWasCalledModel(t *testing.T) {
	need(t)
	old := does(t, "", "train --model micro --task tictactoe --positions 200 --steps 1 --batch 4 --out OUT", "")
	now := does(t, "", "train --arch micro --task tictactoe --positions 200 --steps 1 --batch 4 --out OUT", "")
	succeeded(t, old, now)
	if old.file(t, "model/model.safetensors") != now.file(t, "model/model.safetensors") {
		t.Error("--model and --arch train different models")
	}
}
