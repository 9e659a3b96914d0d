package main

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

// loraEffects are the rows of mito lora for TestEveryFlag.
func loraEffects() commandRows {
	const fit = "--model FLOAT --steps 3 --batch 4 --out OUT"
	const games, text = "--task tictactoe --positions 200 " + fit, "--corpus BOOK --model TEXT --steps 3 --batch 4 --out OUT"
	const top, merge = text + " --layers 1", "--model TEXT --adapter ADAPTER --out OUT"
	weights, equal := differs("adapter/adapter_model.safetensors"), keeps("adapter/adapter_model.safetensors", nil)
	rows := workEffects(fit, games, text, weights)
	for name, list := range machineEffects(games, equal) {
		rows[name] = list
	}
	for name, list := range map[string][]effect{
		"corpus":    {{strings.Replace(text, "--corpus BOOK ", "", 1), "--corpus BOOK", fixes("what to work on?")}},
		"context":   {{text, "--context 9", weights}, {text, "--context 17", isRefused("has a context of 16")}},
		"depth":     {{"", "--depth 4", isRefused("depth")}},
		"model":     {{strings.Replace(games, "--model FLOAT", "", 1), "--model FLOAT", fixes("--model is missing")}},
		"out":       {{strings.Replace(games, "--out OUT", "", 1), "--out OUT", fixes("--out is missing")}},
		"resume":    {resumes(games)},
		"int8":      {{"", "--int8", weights}},
		"split":     {{"", "--split all", weights}},
		"rank":      {{"", "--rank 4", weights}, {"", "--rank 65", isRefused("rank is 65, want at most")}},
		"alpha":     {{"", "--alpha 4", weights}, {"", "--alpha 0", isRefused("alpha is 0")}},
		"rslora":    {{"", "--rslora", weights}},
		"align":     {{"", "--align 2", weights}, {"", "--align -1", isRefused("align is -1")}},
		"gamma":     {{"", "--gamma 4", weights}, {"", "--gamma -1", isRefused("gamma is -1")}},
		"dropout":   {{"", "--dropout 0.5", weights}, {"", "--dropout 1", isRefused("dropout is 1")}},
		"targets":   {{"", "--targets q_proj,mlp.*", weights}, {"", "--targets lm_head", isRefused("are not adapted")}},
		"layers":    {{"", "--layers 1", weights}, {"", "--layers 7", isRefused("layer is 7")}, {"", "--layers 1-", isRefused("--layers is")}},
		"cache":     {{top, "--cache memory --json", holdsOutput(`"found"`)}, {"", "--cache disk", isRefused("--cache needs --layers")}},
		"cache-mib": {{top + " --cache disk", "--cache-mib 1", keeps("adapter/adapter_model.safetensors", nil)}, {"", "--cache-mib 3", isRefused("needs --cache")}},
		"merge":     {{merge, "--merge", fixes("--adapter needs --merge")}},
		"unmerge":   {{merge + " --merge", "--unmerge", isRefused("contradict")}},
		"adapter":   {{"--merge --model TEXT --out OUT", "--adapter ADAPTER", fixes("--merge needs --model, --adapter and --out")}},
		"preset":    {{games, "--preset stem", isRefused("contradict")}, {games, "--preset blood", isRefused("blood")}},
		"batch":     {{"", "--batch 5", weights}},
		"steps":     {{"", "--steps 4", weights}},
		"micro-batches": {{"", "--micro-batches 2", equal},
			{"", "--micro-batches 2", holds("last/state.json", `"micro_batches": 2`)}},
		"seed":         {{"", "--seed 2", weights}},
		"optimizer":    {{"", "--optimizer muon", weights}},
		"lr":           {{"", "--lr 0.1", weights}},
		"muon-lr":      {{games + " --optimizer muon", "--muon-lr 0.1", weights}},
		"weight-decay": {{"", "--weight-decay 0.5", weights}},
		"clip":         {{"", "--clip 0.00001", weights}},
		"schedule":     {{"", "--schedule cosine", weights}},
		"warmup":       {{"", "--warmup 2", weights}},
		"labels":       {{"", "--labels shared", weights}},
		"eval-every":   {{"", "--eval-every 1", counts("metrics.jsonl", "loss/eval", 1, 3)}},
		"save-every":   {{"", "--save-every 3", holds("last/state.json", `"save_every": 3`)}},
		"log-every":    {{"", "--log-every 1", counts("metrics.jsonl", "loss/train", 2, 3)}},
	} {
		rows[name] = list
	}
	return commandRows{base: games, flags: rows}
}

// holdsOutput wants a text on stdout that was not there without the flag.
func holdsOutput(text string) check {
	return func(t *testing.T, without, with outcome) {
		succeeded(t, without, with)
		if strings.Contains(without.stdout, text) || !strings.Contains(with.stdout, text) {
			t.Errorf("stdout: %s", with.stdout)
		}
	}
}

// An adapter of a float and of an INT8 model goes the whole way: trained, evaluated beside its base, merged, evaluated again; a
// line of stdin chooses between adapters, and another base refuses them.
func TestLoraCommands(t *testing.T) {
	need(t)
	dir := t.TempDir()
	work := []string{"--corpus", fixtures.book, "--quiet", "--json"}
	works(t, dir, "quantize", "--model", fixtures.text, "--out", "int8")
	for _, base := range []string{fixtures.text, "int8"} {
		name := "of-" + filepath.Base(base)
		var trained, merged, loss struct {
			Params        int64   `json:"params"`
			TrainedParams int64   `json:"trained_params"`
			Bytes         int64   `json:"bytes"`
			Before        float64 `json:"loss_before"`
			After         float64 `json:"loss_after"`
			Loss          float64 `json:"loss_nats"`
		}
		decode := func(o output, v any) {
			if err := json.Unmarshal([]byte(o.stdout), v); err != nil {
				t.Fatal(err)
			}
		}
		decode(works(t, dir, append([]string{"lora", "--model", base, "--rank", "4", "--alpha", "8", "--lr", "0.02", "--steps", "40", "--out", name}, work...)...), &trained)
		if !(trained.After < 0.97*trained.Before) || trained.Bytes != 4*trained.TrainedParams || trained.TrainedParams >= trained.Params {
			t.Errorf("%s: %+v", base, trained)
		}
		decode(works(t, dir, append([]string{"eval", "--model", base, "--adapter", name}, work...)...), &loss)
		if d := loss.Loss/trained.After - 1; d > 0.01 || d < -0.01 {
			t.Errorf("%s: the runtime's loss is %v, the training's %v", base, loss.Loss, trained.After)
		}
		decode(works(t, dir, append([]string{"lora", "--merge", "--model", base, "--adapter", name, "--out", name + "-merged"}, work...)...), &merged)
		if merged.Before != loss.Loss {
			t.Errorf("%s: beside the weights %v, mito eval says %v", base, merged.Before, loss.Loss)
		}
		decode(works(t, dir, append([]string{"eval", "--model", name + "-merged"}, work...)...), &loss)
		if d := merged.After/merged.Before - 1; merged.After != loss.Loss || d > 0.01 || d < -0.01 {
			t.Errorf("%s: merged %v, mito eval says %v, beside %v", base, merged.After, loss.Loss, merged.Before)
		}
		fails(t, dir, exitFailure, []string{"trained on a base", "SHA-256"}, "eval", "--model", name+"-merged", "--adapter", name, "--corpus", fixtures.book)
	}
	fails(t, dir, exitUsage, []string{"rounded again", "--corpus"}, "lora", "--merge", "--model", "int8", "--adapter", "of-int8", "--out", "x")

	one, two := "of-"+filepath.Base(fixtures.text), fixtures.adapter
	text := func(args ...string) string {
		return works(t, dir, append([]string{"generate", "--model", fixtures.text, "--prompt", "the ", "--max-tokens", "12"}, args...)...).stdout
	}
	cmd := command(t, dir, "generate", "--model", fixtures.text, "--adapter", "a="+one, "--adapter", "b="+two, "--stdin", "--json", "--max-tokens", "12")
	cmd.Stdin = strings.NewReader(`{"prompt": "the ", "adapter": "b"}` + "\n" + `{"prompt": "the "}` + "\n" + `{"prompt": "the ", "adapter": ""}` + "\n" + `{"prompt": "the ", "adapter": "a"}` + "\n")
	raw, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for line := range strings.Lines(string(raw)) {
		var g struct{ Text string }
		if err := json.Unmarshal([]byte(line), &g); err != nil {
			t.Fatal(err)
		}
		got = append(got, g.Text+"\n")
	}
	want := []string{text("--adapter", two), text("--adapter", one), text(), text("--adapter", one)}
	if fmt.Sprint(got) != fmt.Sprint(want) || want[1] == want[2] {
		t.Errorf("texts %q, alone %q", got, want)
	}
}
