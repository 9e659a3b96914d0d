package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// found is what the effects of search look at: what differs from run to run, such as times, is not in it.
type found struct {
	Best struct {
		Name string  `json:"name"`
		Loss float64 `json:"loss_nats"`
		Test float64 `json:"test_loss_nats"`
	} `json:"best"`
}

func foundIn(t *testing.T, o outcome) (f found) {
	t.Helper()
	if err := json.Unmarshal([]byte(o.file(t, "search.json")), &f); err != nil {
		t.Fatal(err)
	}
	return f
}

// finds wants another student.
func finds(t *testing.T, without, with outcome) {
	succeeded(t, without, with)
	if a, b := foundIn(t, without), foundIn(t, with); a.Best.Loss == b.Best.Loss {
		t.Errorf("the same student with and without: %+v", a)
	}
}

// findsSame wants the same student.
func findsSame(t *testing.T, without, with outcome) {
	succeeded(t, without, with)
	if a, b := foundIn(t, without), foundIn(t, with); a != b {
		t.Errorf("%+v, without the flag %+v", b, a)
	}
}

func trialsIn(t *testing.T, o outcome) int {
	t.Helper()
	list, err := os.ReadDir(filepath.Join(o.out, "trials"))
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// inTrial wants words in a file of every trial's folder that are not there without the flag.
func inTrial(name, words string) check {
	return func(t *testing.T, without, with outcome) {
		succeeded(t, without, with)
		for _, o := range []outcome{without, with} {
			list, err := filepath.Glob(filepath.Join(o.out, "trials", "*", name))
			if err != nil || len(list) == 0 {
				t.Fatalf("%v, %v", list, err)
			}
			for _, path := range list {
				text, err := os.ReadFile(path)
				if err != nil || strings.Contains(string(text), words) != (o.out == with.out) {
					t.Errorf("%s: %v\n%s", path, err, text)
				}
			}
		}
	}
}

// searchEffects are those of search.
func searchEffects() commandRows {
	const rest = " --trials 1 --steps 2 --batch 4 --calibrate 4"
	const find = "--model FLOAT --out OUT --budget flash=48K --task tictactoe --positions 200" + rest
	const findText = "--model TEXT --out OUT --budget flash=48K --corpus BOOK" + rest
	rows := commandRows{base: find, flags: workEffects(strings.Replace(find, " --task tictactoe --positions 200", "", 1), find, findText, finds)}
	for name, list := range machineEffects(find, findsSame) {
		rows.flags[name] = list
	}
	needed := "--model, --out and --budget are needed"
	for name, list := range map[string][]effect{
		"model": {{strings.Replace(find, "--model FLOAT", "", 1), "--model FLOAT", fixes(needed)}},
		"out":   {{strings.Replace(find, "--out OUT", "", 1), "--out OUT", fixes(needed)}},
		"budget": {{strings.Replace(find, "--budget flash=48K", "", 1), "--budget flash=48K", fixes(needed)}, {find, "--budget flash=40K", finds},
			{find, "--budget flash=1K", isRefused("the smallest student of this parent takes that")}, {find, "--budget rom=1K", isRefused("flash=256K")}},
		"trials": {{find, "--trials 2", func(t *testing.T, without, with outcome) {
			succeeded(t, without, with)
			if a, b := trialsIn(t, without), trialsIn(t, with); a != 1 || b < 2 {
				t.Errorf("%d trials, with two %d", a, b)
			}
		}}, {find, "--trials 0", isRefused("--trials is 0")}},
		// More of these: TestServedSearch, which needs the tag dist.
		"serve":         {{find, "--serve nowhere", failsWith("--serve")}},
		"password-file": {{find, "--password-file FLOAT", isRefused("--password-file and a search without --serve contradict")}},
		"serve-config":  {{find, "--serve-config FLOAT", isRefused("--serve-config and a search without --serve contradict")}},
		"serve-only":    {{find, "--serve-only", isRefused("--serve-only and a search without --serve contradict")}},
		"calibrate":     {{find, "--calibrate 2", finds}, {find, "--calibrate 0", isRefused("--calibrate is 0")}},
		"corpus":        {{strings.Replace(findText, "--corpus BOOK", "", 1), "--corpus BOOK", fixes("what to work on?")}},
		"context":       {{findText, "--context 9", finds}, {findText, "--context 17", isRefused("has a context of 16")}},
		"seed":          {{find, "--seed 2", finds}},
		"depth":         {{find, "--depth 4", isRefused("depth")}},
		"steps":         {{find, "--steps 3", finds}, {find, "--steps 0", isRefused("--steps is 0")}},
		"teacher":       {{find, "--teacher TEXT", failsWith("tokenizer")}},
		"temperature":   {{find, "--temperature 5", finds}},
		"alpha":         {{find, "--alpha 0.9", finds}},
		"batch":         {{find, "--batch 5", finds}},
		"micro-batches": {{find, "--micro-batches 2", inTrial("run/last/state.json", `"micro_batches": 2`)}},
		"optimizer":     {{find, "--optimizer adamw", finds}},
		"lr":            {{find, "--lr 0.1", finds}},
		"muon-lr":       {{find, "--muon-lr 0.1", finds}},
		"decay":         {{find, "--decay 0.4", finds}},
		"ema":           {{find, "--ema 0.9", finds}},
		"save-every":    {{find, "--save-every 7", inTrial("run/last/state.json", `"save_every": 7`)}},
		"resume": {{find, "--resume", func(t *testing.T, without, _ outcome) {
			succeeded(t, without)
			if again := does(t, without.out, without.line, ""); again.code != exitFailure {
				t.Errorf("again: exit status %d, %s", again.code, again.stderr)
			}
			before := foundIn(t, without)
			again := does(t, without.out, without.line+" --resume", "")
			succeeded(t, again)
			if after := foundIn(t, again); after != before {
				t.Errorf("%+v, before %+v", after, before)
			}
		}}},
	} {
		rows.flags[name] = list
	}
	return rows
}
