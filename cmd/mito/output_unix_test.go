//go:build unix

package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"mito/engine/runs"
)

// A second process on the folder of a run is told who works there, and the first ends as if it had been alone.
func TestSecondProcessOnARun(t *testing.T) {
	whole, dir := t.TempDir(), t.TempDir()
	args := strings.Fields("train --task tictactoe --positions 200 --model micro --batch 8 --steps 60 --save-every 5 --log-every 1 --eval-every 50 --out run")
	works(t, whole, args...)
	first := command(t, dir, args...)
	var out strings.Builder
	first.Stderr = &out
	if err := first.Start(); err != nil {
		t.Fatal(err)
	}
	run := filepath.Join(dir, "run")
	for begun := time.Now(); lineCount(filepath.Join(run, runs.MetricsName)) < 4; time.Sleep(time.Millisecond) {
		if time.Since(begun) > time.Minute {
			t.Fatal("the first process does not begin")
		}
	}
	// It waits in the middle of its work, whatever that is, until the others were refused.
	first.Process.Signal(syscall.SIGSTOP)
	for _, more := range [][]string{nil, {"--resume"}} {
		fails(t, dir, exitFailure, []string{"in use by process " + strconv.Itoa(first.Process.Pid), "another output"}, append(args, more...)...)
	}
	first.Process.Signal(syscall.SIGCONT)
	if err := first.Wait(); err != nil {
		t.Fatalf("the first process: %v\n%s", err, out.String())
	}
	same(t, filepath.Join(whole, "run"), run, "model/model.safetensors", "last/model.safetensors", "last/state.safetensors", "best/model.safetensors")
	if left, err := filepath.Glob(filepath.Join(run, ".*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// Of two processes that quantise to one folder one is refused, and the student of the other is whole.
func TestTwoQuantizeToOneFolder(t *testing.T) {
	need(t)
	alone := works(t, "", "quantize", "--model", fixtures.float, "--out", "out", "--json")
	want := alone.object(t)["digest"].(string)
	for range 5 {
		dir := t.TempDir()
		var both [2]output
		var wg sync.WaitGroup
		for i := range both {
			cmd := command(t, dir, "quantize", "--model", fixtures.float, "--out", "out")
			wg.Go(func() { both[i] = finish(t, cmd) })
		}
		wg.Wait()
		worked := 0
		for _, o := range both {
			if o.code == 0 {
				worked++
			} else if !regexp.MustCompile(`in use by process \d+|holds an INT8 student`).MatchString(o.stderr) {
				t.Errorf("refused with:\n%s", o.stderr)
			}
		}
		if worked != 1 {
			t.Errorf("%d of two succeeded", worked)
		}
		works(t, dir, "verify", "--model", "out", "--digest", want)
		if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
			t.Errorf("beside the student: %v, %v", entries, err)
		}
	}
}

// quantize writes where nothing lies, and nowhere else: a float model may have cost days.
func TestQuantizeOverwritesNothing(t *testing.T) {
	need(t)
	dir := copyDir(t, fixtures.float)
	weights := func(name string) string { return read(t, filepath.Join(dir, name, "model.safetensors")) }
	before := weights("model") + weights("last") + weights("best")
	other := copyDir(t, fixtures.int8)
	for _, c := range []struct{ model, out, says string }{
		{dir, filepath.Join(dir, "model"), "holds the float weights of a model"},
		{filepath.Join(dir, "model"), filepath.Join(dir, "model"), "holds the float weights of a model"},
		{dir, filepath.Join(dir, "last"), "holds the float weights of a model"},
		{fixtures.float, filepath.Join(dir, "best"), "holds the float weights of a model"},
		{dir, dir, "holds a run of mito"},
		{dir, other, "holds an INT8 student"},
	} {
		fails(t, "", exitFailure, []string{c.out, c.says, "choose another output path, or move it away first"}, "quantize", "--model", c.model, "--out", c.out)
	}
	// Before a calibration is begun.
	fails(t, "", exitFailure, []string{"holds an INT8 student"}, "quantize", "--model", dir, "--out", other, "--calibrate", "5", "--corpus", "missing.txt")
	if weights("model")+weights("last")+weights("best") != before {
		t.Error("float weights were replaced")
	}
	same(t, fixtures.int8, other, "model.safetensors", "config.json")
}

// A flipped bit in the state of a run is not trained on from.
func TestDamagedStateIsRefused(t *testing.T) {
	need(t)
	fixture := "train --task tictactoe --positions 200 --model micro --steps 2 --batch 8 --resume --out "
	for old, changed := range map[string]string{`"step": 2`: `"step": 0`, `"version": 2`: `"version": 1`} {
		dir := copyDir(t, fixtures.float)
		path := filepath.Join(dir, "last", "state.json")
		text := read(t, path)
		if !strings.Contains(text, old) {
			t.Fatalf("%s is not in %s", old, text)
		}
		write(t, path, strings.Replace(text, old, changed, 1))
		fails(t, "", exitFailure, []string{"state.json", "new"}, strings.Fields(fixture+dir)...)
	}
}
