//go:build unix

package main

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// long are models and a text that keep the program busy for minutes.
var long struct {
	once             sync.Once
	book, char, int8 string
}

func needLong(t *testing.T) {
	t.Helper()
	need(t)
	long.once.Do(func() {
		book := filepath.Join(fixtures.root, "long.txt")
		rng := rand.New(rand.NewPCG(1, 2))
		text := make([]byte, 3<<20) // no passage comes twice, so that calibration and held-out rows do not overlap
		for i := range text {
			text[i] = "abcdefghijklmnopqrstuvwxyz     \n"[rng.IntN(32)]
		}
		write(t, book, string(text))
		char, int8 := filepath.Join(fixtures.root, "long"), filepath.Join(fixtures.root, "long-int8")
		// A short text is enough to make the model.
		write(t, book+".short", string(text[:4000]))
		works(t, fixtures.root, "train", "--corpus", book+".short", "--arch", "char", "--batch", "2", "--steps", "1", "--out", char)
		works(t, fixtures.root, "quantize", "--model", char, "--out", int8)
		long.book, long.char, long.int8 = book, char, int8
	})
	if long.int8 == "" {
		t.Fatal("the models could not be made")
	}
}

// soon is how long a stopped program may take to end: a second, and what a busy machine adds.
const soon = 3 * time.Second

// A signal ends every command that is busy for long, at once, as a failure that says that nothing was saved.
func TestSignalsEndEveryCommand(t *testing.T) {
	needLong(t)
	for name, c := range map[string]struct {
		args  string
		after time.Duration // of the signal
	}{
		"eval of floats":     {"eval --model FLOAT --corpus BOOK --all", 500 * time.Millisecond},
		"eval of INT8":       {"eval --model INT8 --corpus BOOK --all --json", 500 * time.Millisecond},
		"eval reading":       {"eval --model FLOAT --corpus BOOK --all", 60 * time.Millisecond},
		"eval playing":       {"eval --model GAMES --task tictactoe --positions 200 --games 100000", 200 * time.Millisecond},
		"quantize":           {"quantize --model FLOAT --out out --calibrate 40000 --corpus BOOK", 700 * time.Millisecond},
		"search":             {"search --model FLOAT --out out --budget flash=300K --calibrate 40000 --corpus BOOK", 2 * time.Second},
		"verify":             {"verify --model INT8", 200 * time.Millisecond},
		"bench decode":       {"bench decode --rounds 100", time.Second},
		"bench train":        {"bench train --rounds 100", time.Second},
		"labelling":          {"task examples connect4 --depth 12", 300 * time.Millisecond},
		"labelling to train": {"train --task connect4 --depth 12 --out out", 300 * time.Millisecond},
		"BPE":                {"train --corpus BOOK --bpe 60000 --out out", 300 * time.Millisecond},
	} {
		for _, signal := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
			t.Run(name+"/"+signal.String(), func(t *testing.T) {
				dir := t.TempDir()
				args := strings.NewReplacer("FLOAT", long.char, "INT8", long.int8, "BOOK", long.book, "GAMES", fixtures.float).Replace(c.args)
				begun := time.Now()
				var sent time.Time
				o := interrupt(t, command(t, dir, strings.Fields(args)...), func() bool {
					sent = time.Now()
					return sent.Sub(begun) > c.after
				}, signal)
				if took := time.Since(sent); took > soon {
					t.Errorf("ended %v after the signal", took)
				}
				o.failed(t, exitFailure, []string{"stopped by a signal", "nothing was saved"}, strings.Fields(args))
				if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
					t.Errorf("left %v, %v", left, err)
				}
			})
		}
	}
}

// A text that is being generated ends where it is.
func TestSignalEndsGenerate(t *testing.T) {
	needLong(t)
	begun := time.Now()
	o := interrupt(t, command(t, "", "generate", "--model", long.char, "--prompt", "abc", "--max-tokens", "100000000"), func() bool {
		return time.Since(begun) > 500*time.Millisecond
	}, os.Interrupt)
	if o.code != exitFailure || o.stdout == "" || !strings.Contains(o.stderr, "stopped by a signal") {
		t.Errorf("exit status %d, %d bytes, %s", o.code, len(o.stdout), o.stderr)
	}
}

// A signal during an evaluation inside a run saves the run, and it goes on from there with that evaluation.
func TestSignalDuringEvaluation(t *testing.T) {
	needLong(t)
	dir := t.TempDir()
	args := []string{"train", "--corpus", long.book, "--held-out", "0.9", "--arch", "char", "--batch", "1", "--steps", "3", "--eval-every", "1",
		"--log-every", "1", "--save-every", "1000", "--out", "run"}
	metrics := filepath.Join(dir, "run", "metrics.jsonl")
	var sent time.Time
	o := interrupt(t, command(t, dir, args...), func() bool {
		if lineCount(metrics) == 0 {
			return false
		}
		time.Sleep(300 * time.Millisecond) // well into the evaluation
		sent = time.Now()
		return true
	}, syscall.SIGTERM)
	if took := time.Since(sent); took > soon {
		t.Errorf("ended %v after the signal", took)
	}
	o.failed(t, exitFailure, []string{"stopped after step 1 of 3", "--resume"}, args)
	if state := read(t, filepath.Join(dir, "run", "last", "state.json")); !strings.Contains(state, `"step": 1,`) || !strings.Contains(state, `"unevaluated": true`) {
		t.Errorf("saved: %s", state)
	}
}
