//go:build unix

package main

import (
	"bufio"
	"encoding/json"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// small is a run of a second or two that saves every few steps.
const small = "train --task tictactoe --positions 200 --model micro --batch 8 --steps 60 --save-every 5 --log-every 1 --ema 0.9 --eval-every 20 --out run"

// interrupt starts the program, waits until ready says so, sends the signal and waits for the end.
func interrupt(t *testing.T, cmd *exec.Cmd, ready func() bool, signal os.Signal) output {
	t.Helper()
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for sent := false; ; {
		select {
		case <-ended:
			o := output{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
			o.checkTraces(t, cmd.Args[1:])
			return o
		case <-time.After(2 * time.Millisecond):
			if !sent && ready() {
				sent = true
				cmd.Process.Signal(signal)
			}
		}
	}
}

// lineCount counts the lines of a file; none where there is no file.
func lineCount(path string) int {
	text, _ := os.ReadFile(path)
	return strings.Count(string(text), "\n")
}

// Killed at any moment, a run goes on to bitwise the same weights, and its metrics have every step once.
func TestKilledTrainingResumes(t *testing.T) {
	whole, dir := t.TempDir(), t.TempDir()
	first := works(t, whole, append(strings.Fields(small), "--json")...)
	rng := rand.New(rand.NewPCG(1, 2))
	resumed := append(strings.Fields(small), "--resume")
	metrics := filepath.Join(dir, "run", "metrics.jsonl")
	killed := 0
	for range 4 {
		// A number of steps after its start and a little time, so that it may be in a step or in a save.
		steps, delay := 4+rng.IntN(6), time.Duration(rng.IntN(4000))*time.Microsecond
		begin := -1
		o := interrupt(t, command(t, dir, resumed...), func() bool {
			// A resumed run first cuts off what came after its checkpoint.
			if n := lineCount(metrics); begin < 0 || n < begin {
				begin = n
			} else if n >= begin+steps {
				time.Sleep(delay)
				return true
			}
			return false
		}, syscall.SIGKILL)
		if o.code == 0 {
			break // it was done before the kill
		}
		killed++
	}
	if killed < 2 {
		t.Errorf("killed %d times only", killed)
	}
	works(t, dir, resumed...)
	again := works(t, dir, append(resumed, "--json")...) // resumed after its last step
	if want, got := first.object(t)["loss_nats"], again.object(t)["loss_nats"]; want != got {
		t.Errorf("loss %v, of the whole run %v", got, want)
	}
	same(t, filepath.Join(whole, "run"), filepath.Join(dir, "run"), "model/model.safetensors", "last/model.safetensors", "best/model.safetensors", "last/state.safetensors")
	if a, b := lineCount(filepath.Join(whole, "run", "metrics.jsonl")), lineCount(filepath.Join(dir, "run", "metrics.jsonl")); a != b {
		t.Errorf("the metrics have %d lines, those of the whole run %d", b, a)
	}
	left, err := filepath.Glob(filepath.Join(dir, "run", ".*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// A model whose layers differ in heads and MLP width is trained, killed, resumed to the same bits, decoded, quantised and
// verified like any other.
func TestUnevenLayers(t *testing.T) {
	whole, dir := t.TempDir(), t.TempDir()
	const config = `{"num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 96, "layer_shapes": [
		{"num_attention_heads": 2, "num_key_value_heads": 1, "intermediate_size": 96, "sliding_window": 5},
		{"num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 33, "sliding_window": 0, "attention_scale": 0.5},
		{"num_attention_heads": 1, "num_key_value_heads": 1, "intermediate_size": 64, "sliding_window": 0}]}`
	for _, d := range []string{whole, dir} {
		write(t, filepath.Join(d, "config.json"), config)
	}
	args := strings.Fields("train --task tictactoe --positions 200 --arch micro --config config.json --batch 8 --steps 50 --save-every 5 --log-every 1 --out run")
	works(t, whole, args...)
	metrics := filepath.Join(dir, "run", "metrics.jsonl")
	if o := interrupt(t, command(t, dir, args...), func() bool { return lineCount(metrics) > 12 }, syscall.SIGKILL); o.code == 0 {
		t.Fatal("the run was done before it could be killed")
	}
	works(t, dir, append(args, "--resume")...)
	same(t, filepath.Join(whole, "run"), filepath.Join(dir, "run"), "model/model.safetensors", "last/state.safetensors")

	var shapes struct {
		Layers []struct {
			Heads int `json:"num_attention_heads"`
			MLP   int `json:"intermediate_size"`
		} `json:"layer_shapes"`
	}
	if err := json.Unmarshal([]byte(read(t, filepath.Join(dir, "run", "model", "config.json"))), &shapes); err != nil || len(shapes.Layers) != 3 ||
		shapes.Layers[2].Heads != 1 || shapes.Layers[1].MLP != 33 {
		t.Fatalf("layer_shapes as saved: %+v, %v", shapes, err)
	}
	works(t, dir, "quantize", "--model", "run", "--out", "int8")
	for _, model := range []string{"run", "int8"} {
		works(t, dir, "generate", "--model", model, "--prompt", "A123e567i=", "--max-tokens", "1")
	}
	loss := map[string]float64{}
	for _, model := range []string{"run", "int8"} {
		o := works(t, dir, "eval", "--model", model, "--task", "tictactoe", "--positions", "200", "--games", "10", "--json")
		loss[model] = o.object(t)["loss_nats"].(float64)
	}
	if off := loss["int8"]/loss["run"] - 1; off > 0.02 || off < -0.02 {
		t.Errorf("INT8 against float32: %v", loss)
	}
	o := works(t, dir, "verify", "--model", "int8", "--json")
	if v := o.object(t); v["identical"] != true {
		t.Errorf("verify: %v", v)
	}
}

func same(t *testing.T, a, b string, names ...string) {
	t.Helper()
	for _, name := range names {
		if read(t, filepath.Join(a, name)) != read(t, filepath.Join(b, name)) {
			t.Errorf("%s differs", name)
		}
	}
}

// Ctrl-C saves, says how to go on, and exits as a failure.
func TestInterruptedTrainingResumes(t *testing.T) {
	whole, dir := t.TempDir(), t.TempDir()
	works(t, whole, strings.Fields(small)...)
	// Nothing is saved before the end but by the interruption.
	args := append(strings.Fields(small), "--save-every", "1000")
	metrics := filepath.Join(dir, "run", "metrics.jsonl")
	for _, signal := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		begin := lineCount(metrics)
		o := interrupt(t, command(t, dir, args...), func() bool { return lineCount(metrics) > begin+3 }, signal)
		if o.code != exitFailure {
			t.Fatalf("%v: exit status %d\n%s", signal, o.code, o.stderr)
		}
		for _, words := range []string{"stopped after step", "of 60", "mito " + strings.Join(strings.Fields(small), " "), "--resume"} {
			if !strings.Contains(o.stderr, words) {
				t.Errorf("%v: the message does not say %q:\n%s", signal, words, o.stderr)
			}
		}
		if o.stdout != "" {
			t.Errorf("%v: wrote to stdout: %s", signal, o.stdout)
		}
		if strings.Count(o.stderr, "stopped after step") != 1 {
			t.Errorf("%v: told twice:\n%s", signal, o.stderr)
		}
		if args[len(args)-1] != "--resume" {
			args = append(args, "--resume")
		}
	}
	works(t, dir, args...)
	same(t, filepath.Join(whole, "run"), filepath.Join(dir, "run"), "model/model.safetensors", "last/state.safetensors")
}

// A pipeline that was killed and interrupted in several of its stages ships the student of one that was not.
func TestStoppedPipelineResumes(t *testing.T) {
	want, whole := wholePipeline(t)
	args := append(strings.Fields(pipelineArgs+" --out run --corpus"), fixtures.book)
	dir := t.TempDir()
	run := filepath.Join(dir, "run")
	for i, c := range []struct {
		stage  string
		signal os.Signal
	}{{"teacher", syscall.SIGKILL}, {"student", os.Interrupt}, {"student-alone", syscall.SIGKILL}, {"compressed", syscall.SIGKILL}} {
		if i == 1 {
			args = append(args, "--resume")
		}
		// A stage has begun when its folder is there: at that moment the one before has been saved.
		o := interrupt(t, command(t, dir, args...), func() bool {
			_, err := os.Stat(filepath.Join(run, c.stage))
			return err == nil && (c.stage == "compressed" || lineCount(filepath.Join(run, c.stage, "metrics.jsonl")) > 2)
		}, c.signal)
		if o.code == 0 && c.stage != "compressed" {
			t.Fatalf("%s: ended before %v", c.stage, c.signal)
		}
		if c.signal == os.Interrupt && (o.code != exitFailure || !strings.Contains(o.stderr, "--resume")) {
			t.Errorf("%s: exit status %d\n%s", c.stage, o.code, o.stderr)
		}
	}
	got := works(t, dir, args...)
	digest := func(o *output) any { return o.object(t)["compressed"].(map[string]any)["digest"] }
	if digest(&got) != digest(&want) {
		t.Errorf("digest %v, without an interruption %v", digest(&got), digest(&want))
	}
	same(t, whole, run, "compressed/model.safetensors", "teacher/model/model.safetensors", "student-alone/model/model.safetensors")
}

// A resumed run must have the settings of the one that it continues, and its files.
func TestWrongResume(t *testing.T) {
	need(t)
	fixture := "train --task tictactoe --positions 200 --model micro --steps 2 --batch 8 --resume --out "
	dir := copyDir(t, fixtures.float)
	before := read(t, filepath.Join(dir, "model", "model.safetensors"))
	for _, args := range []string{"--seed 2", "--lr 1", "--batch 9", "--task-seed 2", "--model mini"} {
		fails(t, "", exitFailure, []string{"cannot resume"}, append(strings.Fields(fixture+dir), strings.Fields(args)...)...)
	}
	fails(t, "", exitFailure, []string{"batches of 8 sequences of 10 tokens, now 4 of 10"}, append(strings.Fields(fixture+dir), "--batch", "4")...)
	if read(t, filepath.Join(dir, "model", "model.safetensors")) != before {
		t.Error("a refused run changed the model")
	}
	for name, change := range map[string]spoil{
		"last/state.safetensors": onFile("last/state.safetensors", func(_ *testing.T, b []byte) []byte { return b[:len(b)-9] }),
		"last/state.json":        onFile("last/state.json", text("{")),
		"last/model.safetensors": onFile("last/model.safetensors", func(_ *testing.T, b []byte) []byte { b[len(b)-1] ^= 1; return b }),
	} {
		dir := copyDir(t, fixtures.float)
		change(t, dir)
		fails(t, "", exitFailure, []string{filepath.Base(name)}, strings.Fields(fixture+dir)...)
	}
}

// Labelling, which may take hours, stops soon after the first signal.
func TestInterruptedLabelling(t *testing.T) {
	for _, args := range []string{
		"task examples connect4 --depth 16", "train --task connect4 --depth 16 --model micro --steps 1 --out run", "pipeline --task connect4 --depth 16 --out run",
	} {
		for _, signal := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
			var sent time.Time
			begun := time.Now()
			o := interrupt(t, command(t, "", strings.Fields(args)...), func() bool {
				sent = time.Now()
				return time.Since(begun) > 500*time.Millisecond // by then it labels
			}, signal)
			if late := time.Since(sent); late > 3*time.Second || o.code != exitFailure || o.stdout != "" {
				t.Errorf("%s: ended %v after %v with status %d\n%s", args, late, signal, o.code, o.stderr)
			}
		}
	}
}

// A second signal ends a program that cannot stop: this one waits for a reader of its output.
func TestSecondSignal(t *testing.T) {
	cmd := command(t, "", "task", "examples", "puzzle8")
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdout.Close()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(300 * time.Millisecond) // the program has to have begun to listen
	cmd.Process.Signal(os.Interrupt)
	heard := bufio.NewScanner(stderr)
	for heard.Scan() && !strings.Contains(heard.Text(), "once more to stop at once") {
	}
	cmd.Process.Signal(os.Interrupt)
	rest, _ := io.ReadAll(stderr)
	cmd.Wait()
	if status := cmd.ProcessState.Sys().(syscall.WaitStatus); !status.Signaled() || status.Signal() != syscall.SIGINT {
		t.Errorf("ended with %v, %s", cmd.ProcessState, rest)
	}
}
