package main

import (
	"strings"
	"testing"
)

// convertEffects are those of convert.
func convertEffects() commandRows {
	converted, healed := differs("model.safetensors"), differs("model/model.safetensors")
	const convert = "--model FLOAT --out OUT --kv-heads 1 --task tictactoe --positions 200"
	const heal = convert + " --steps 3 --batch 4"
	const convertText = "--model TEXT --out OUT --kv-heads 1 --corpus BOOK"
	rows := commandRows{base: convert, flags: workEffects(strings.TrimSuffix(convert, " --task tictactoe --positions 200"), heal, convertText+" --steps 2", healed)}
	for name, list := range machineEffects(heal, keeps("model/model.safetensors", nil)) {
		rows.flags[name] = list
	}
	for name, list := range map[string][]effect{
		"model":       {{strings.Replace(convert, "--model FLOAT", "", 1), "--model FLOAT", fixes("--model and --out are needed")}},
		"out":         {{strings.Replace(convert, "--out OUT", "", 1), "--out OUT", fixes("--model and --out are needed")}},
		"kv-heads":    {{strings.Replace(convert, "--kv-heads 1", "", 1), "--kv-heads 1", fixes("what to convert to?")}, {convert, "--kv-heads 2", isRefused("a divisor of the 2")}},
		"pool":        {{convert, "--pool mean", converted}, {convert, "--pool luck", isRefused("fit or mean")}},
		"window":      {{convertText, "--window 5", differs("config.json")}, {convertText, "--window 16", isRefused("context of 16")}},
		"layers":      {{convert, "--layers 1", converted}, {convert, "--layers 2", isRefused("0 to 1")}},
		"corpus":      {{strings.Replace(convertText, "--corpus BOOK", "", 1), "--corpus BOOK", fixes("what to work on?")}},
		"context":     {{convertText + " --steps 2", "--context 9", healed}, {convertText, "--context 17", isRefused("has a context of 16")}},
		"seed":        {{heal, "--seed 2", healed}},
		"depth":       {{convert, "--depth 4", isRefused("depth")}},
		"steps":       {{heal, "--steps 4", healed}, {convert, "--steps -1", isRefused("--steps is -1")}},
		"teacher":     {{heal, "--teacher TEXT", failsWith("tokenizer")}, {convert, "--teacher FLOAT", isRefused("--teacher")}},
		"temperature": {{heal, "--temperature 5", healed}},
		"alpha":       {{heal, "--alpha 0.9", healed}},
		"batch":       {{heal, "--batch 5", healed}, {convert, "--batch 5", isRefused("--batch")}},
		"micro-batches": {{heal, "--micro-batches 2", keeps("model/model.safetensors", nil)},
			{heal, "--micro-batches 2", holds("last/state.json", `"micro_batches": 2`)}},
		"optimizer":  {{heal, "--optimizer adamw", healed}},
		"lr":         {{heal, "--lr 0.1", healed}},
		"muon-lr":    {{heal, "--muon-lr 0.1", healed}},
		"decay":      {{heal, "--decay 0.4", healed}},
		"ema":        {{heal, "--ema 0.9", healed}},
		"save-every": {{heal, "--save-every 3", holds("last/state.json", `"save_every": 3`)}},
		"resume":     {resumes(heal), {convert, "--resume", isRefused("--resume")}},
	} {
		rows.flags[name] = list
	}
	return rows
}

// A converted model is a model: it is evaluated, quantised and converted again, and the cache is said to be as large as it is.
func TestConvert(t *testing.T) {
	need(t)
	dir := t.TempDir()
	r := works(t, dir, strings.Fields("convert --model "+fixtures.text+" --corpus "+fixtures.book+" --kv-heads 1 --window 7 --steps 2 --batch 4 --json --quiet --out run")...)
	o := r.object(t)
	before, after := o["kv_bytes_before"].(map[string]any), o["kv_bytes_after"].(map[string]any)
	if got, want := after["float32"].(float64), before["float32"].(float64)*7/16/2; got != want {
		t.Errorf("a cache of %v bytes, want %v", got, want)
	}
	for _, key := range []string{"loss_before", "loss_converted", "loss_after", "params", "trained_params", "bytes"} {
		if v, ok := o[key].(float64); !ok || v <= 0 {
			t.Errorf("%s is %v", key, o[key])
		}
	}
	works(t, dir, strings.Fields("quantize --model run --out run-int8")...)
	works(t, dir, strings.Fields("eval --model run-int8 --corpus "+fixtures.book)...)
	fails(t, dir, exitUsage, []string{"at most the 7"}, strings.Fields("convert --model run --corpus "+fixtures.book+" --window 8 --out wider")...)
	fails(t, dir, exitFailure, []string{"INT8 student"}, strings.Fields("convert --model run-int8 --corpus "+fixtures.book+" --window 5 --out int8")...)
	fails(t, dir, exitFailure, []string{"already"}, strings.Fields("convert --model run --corpus "+fixtures.book+" --window 5 --steps 1 --out run")...)
}
