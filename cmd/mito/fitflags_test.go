package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"mito/engine/pipeline"
	"mito/engine/train"
)

// The flags of train and distill have the recipe as their defaults, whatever they work on.
func TestFlagsHaveTheRecipe(t *testing.T) {
	for _, r := range pipeline.Recipes() {
		var f fitFlags
		fs := pflag.NewFlagSet("train", pflag.ContinueOnError)
		f.register(fs, func(r pipeline.Recipe) string { return r.Student })
		if err := fs.Parse(nil); err != nil {
			t.Fatal(err)
		}
		if err := f.checkTokens(fs); err != nil { // clears what a run without flags has no use for
			t.Fatal(err)
		}
		if !reflect.DeepEqual(f.train, r.Train) {
			t.Errorf("%s: flags %+v, recipe %+v", r.For, f.train, r.Train)
		}
		if f.work.context != r.Text.Context || f.work.heldOut != r.Text.HeldOut {
			t.Errorf("%s: context %d, held out %v", r.For, f.work.context, f.work.heldOut)
		}
	}
	// What was shipped so far: a change here changes the results of every command that is run without flags.
	want := train.Options{
		Steps: 2000, MicroBatches: 1, Seed: 1, Optimizer: train.Muon, LR: 0.005, MuonLR: 0.02, Beta1: 0.9, Beta2: 0.95, Eps: 1e-8,
		Momentum: 0.95, NSSteps: 5, Schedule: train.WSD, Decay: 0.4, Labels: train.Drawn, LogEvery: 10,
	}
	for i, r := range pipeline.Recipes() {
		if !reflect.DeepEqual(r.Train, want) || r.Rows != []int{256, 12}[i] || r.Distill.Alpha != 0.5 || r.Distill.Temperature != 2 ||
			r.Init.Std != 0.02 || r.Init.FanIn != 0.57 || !r.Init.ResidualZero {
			t.Errorf("the recipe is %+v", r)
		}
	}
}

func TestInfoShowsTheRecipes(t *testing.T) {
	o := works(t, "", "info", "--json")
	list := o.object(t)["recipes"].([]any)
	for i, r := range pipeline.Recipes() {
		text, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		var want any
		if err := json.Unmarshal(text, &want); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(list[i], want) {
			t.Errorf("info says %v, the recipe is %s", list[i], text)
		}
	}
	if text := works(t, "", "info").stdout; !strings.Contains(text, "2000 steps of 256 sequences") || !strings.Contains(text, "2000 steps of 12 sequences") {
		t.Errorf("info does not show the recipes:\n%s", text)
	}
}

// runState is the state.json of a run.
func runState(t *testing.T, dir string) map[string]any {
	t.Helper()
	var file struct {
		Scalars map[string]any `json:"scalars"`
	}
	if err := json.Unmarshal([]byte(read(t, filepath.Join(dir, "last", "state.json"))), &file); err != nil {
		t.Fatal(err)
	}
	return file.Scalars
}

// A run that was begun with few steps gets more by --steps beside --resume, and not without it.
func TestExtendRun(t *testing.T) {
	dir := t.TempDir()
	run := strings.Fields("train --task tictactoe --positions 200 --model micro --batch 8 --log-every 1 --schedule constant --out run")
	works(t, dir, append(run, "--steps", "3")...)
	fails(t, dir, exitFailure, []string{"cannot resume", "steps 3, now 2000"}, append(run, "--resume")...)
	o := works(t, dir, append(run, "--resume", "--steps", "7", "--json")...)
	if got := o.object(t)["steps"]; got != 7.0 {
		t.Errorf("%v steps", got)
	}
	fails(t, dir, exitFailure, []string{"cannot resume", "steps 7, now 5"}, append(run, "--resume", "--steps", "5")...)
	if n := lineCount(filepath.Join(dir, "run", "metrics.jsonl")); n != 9 { // seven steps, two evaluations
		t.Errorf("the metrics have %d lines", n)
	}
	if got := runState(t, filepath.Join(dir, "run"))["extended"]; !reflect.DeepEqual(got, []any{map[string]any{"step": 3.0, "steps": 3.0}}) {
		t.Errorf("the state says %v", got)
	}
	// A constant rate: the run is the one that had seven steps from the start.
	whole := t.TempDir()
	works(t, whole, append(run, "--steps", "7")...)
	same(t, filepath.Join(whole, "run"), filepath.Join(dir, "run"), "model/model.safetensors", "last/state.safetensors")
}

// --from begins with the weights and the architecture of a model, in train and in distill.
func TestFrom(t *testing.T) {
	need(t)
	dir := t.TempDir()
	rest := " --task tictactoe --positions 200 --batch 8 --steps 1 --lr 1e-30 --muon-lr 1e-30 --out "
	works(t, dir, strings.Fields("train --from "+fixtures.float+rest+"again")...)
	// Rates that change nothing that counts: the model is as good as the one that it began with.
	loss := func(model string) any {
		o := works(t, dir, "eval", "--model", model, "--task", "tictactoe", "--positions", "200", "--games", "2", "--json")
		return o.object(t)["loss_nats"]
	}
	want := loss(fixtures.float)
	if got := loss("again"); got != want {
		t.Errorf("loss %v, it began with %v", got, want)
	}
	same(t, filepath.Join(fixtures.float, "model"), filepath.Join(dir, "again", "model"), "config.json", "tokenizer.json")
	if from, _ := runState(t, filepath.Join(dir, "again"))["from"].(string); len(from) != 64 {
		t.Errorf("the state says that it began with %q", from)
	}
	works(t, dir, strings.Fields("distill --teacher "+fixtures.float+" --from "+fixtures.float+rest+"student")...)
	if got := loss("student"); got != want {
		t.Errorf("distilled: loss %v, it began with %v", got, want)
	}

	// A text has rows as long as the context of the model.
	works(t, dir, strings.Fields("train --from "+fixtures.text+" --corpus "+fixtures.book+" --batch 4 --steps 1 --out text")...)
	if rows, want := runState(t, filepath.Join(dir, "text"))["model"], runState(t, fixtures.text)["model"]; !reflect.DeepEqual(rows, want) {
		t.Errorf("the model is %v, it began with %v", rows, want)
	}
	for _, c := range []struct {
		code       int
		args, says string
	}{
		{exitUsage, "--from " + fixtures.float + " --model micro", "contradict"},
		{exitUsage, "--from " + fixtures.float + " --config x.json", "--config and --from contradict"},
		{exitFailure, "--from nowhere", "no folder nowhere"},
		{exitFailure, "--from " + fixtures.int8, "INT8"},
		{exitFailure, "--from " + fixtures.text, "vocabulary"},
	} {
		fails(t, dir, c.code, []string{c.says}, strings.Fields("train "+c.args+rest+"refused")...)
		if _, err := os.Stat(filepath.Join(dir, "refused")); err == nil {
			t.Fatalf("%s: a folder was made", c.args)
		}
	}
	fails(t, dir, exitFailure, []string{"context"}, strings.Fields("train --from "+fixtures.text+" --corpus "+fixtures.book+" --context 500 --batch 4 --steps 1 --out refused")...)
	fails(t, dir, exitUsage, []string{"--bpe and --from contradict"}, strings.Fields("train --from "+fixtures.text+" --corpus "+fixtures.book+" --bpe 300 --out refused")...)
}
