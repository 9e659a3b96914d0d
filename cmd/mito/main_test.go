package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// asMito makes the test binary run as the program.
const asMito = "MITO_TEST_RUN"

func TestMain(m *testing.M) {
	if os.Getenv(asScorer) != "" && len(os.Args) == 1 {
		markLines()
		return
	}
	if os.Getenv(asMito) != "" {
		main()
		return
	}
	// The runs of the tests are small and nobody keeps them: where the system has a folder in memory, they go there.
	dir, err := os.MkdirTemp("/dev/shm", "mito-test-")
	if err != nil {
		dir, err = os.MkdirTemp("", "mito-test-")
	}
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	os.Setenv("TMPDIR", dir)
	fixtures.root = dir
	m.Run()
}

// output is what a run of the program left.
type output struct {
	code           int
	stdout, stderr string
}

// command prepares a run of the program in a folder; "" is a fresh one.
func command(t testing.TB, dir string, args ...string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if dir == "" {
		dir = t.TempDir()
	}
	// A run that hangs fails its own test, not the whole package.
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, exe, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), asMito+"=1")
	return cmd
}

// mito runs the program in a folder to its end.
func mito(t testing.TB, dir string, args ...string) output {
	t.Helper()
	return finish(t, command(t, dir, args...))
}

func finish(t testing.TB, cmd *exec.Cmd) output {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	o := output{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
	o.checkTraces(t, cmd.Args[1:])
	return o
}

// checkTraces fails on what a user must never see.
func (o *output) checkTraces(t testing.TB, args []string) {
	t.Helper()
	for _, trace := range []string{"panic:", "goroutine ", "runtime error", "%!", "SIGSEGV"} {
		if strings.Contains(o.stderr+o.stdout, trace) {
			t.Errorf("mito %s: %q in the output:\n%s%s", strings.Join(args, " "), trace, o.stdout, o.stderr)
		}
	}
}

// works runs the program and expects success.
func works(t testing.TB, dir string, args ...string) output {
	t.Helper()
	o := mito(t, dir, args...)
	if o.code != 0 {
		t.Fatalf("mito %s: exit status %d\n%s%s", strings.Join(args, " "), o.code, o.stdout, o.stderr)
	}
	return o
}

// fails runs the program and expects an exit status and words in the message.
func fails(t testing.TB, dir string, code int, words []string, args ...string) output {
	t.Helper()
	o := mito(t, dir, args...)
	o.failed(t, code, words, args)
	return o
}

func (o *output) failed(t testing.TB, code int, words, args []string) {
	t.Helper()
	line := "mito " + strings.Join(args, " ")
	if o.code != code {
		t.Errorf("%s: exit status %d, want %d\n%s", line, o.code, code, o.stderr)
	}
	if o.stdout != "" {
		t.Errorf("%s: wrote to stdout: %s", line, o.stdout)
	}
	for _, w := range words {
		if !strings.Contains(o.stderr, w) {
			t.Errorf("%s: the message does not say %q:\n%s", line, w, o.stderr)
		}
	}
}

// object decodes stdout, which must hold exactly one JSON object.
func (o *output) object(t testing.TB) map[string]any {
	t.Helper()
	var v map[string]any
	dec := json.NewDecoder(strings.NewReader(o.stdout))
	if err := dec.Decode(&v); err != nil {
		t.Fatalf("stdout is no JSON object: %v\n%s", err, o.stdout)
	}
	if _, err := dec.Token(); err != io.EOF {
		t.Fatalf("stdout holds more than one JSON object:\n%s", o.stdout)
	}
	return v
}

// fixtures are folders that many tests read and none changes.
var fixtures struct {
	root  string
	once  sync.Once
	float string // the run of a small tictactoe model
	int8  string // its student
	text  string // the run of a small text model
	book  string // its corpus

	adapter string // the run of an adapter of text

	transcript string // of a text of text
}

// need makes the fixtures.
func need(t testing.TB) {
	t.Helper()
	fixtures.once.Do(func() {
		f := &fixtures
		f.float, f.int8 = filepath.Join(f.root, "fixture"), filepath.Join(f.root, "fixture-int8")
		f.text, f.book = filepath.Join(f.root, "fixture-text"), filepath.Join(f.root, "book.txt")
		write(t, f.book, strings.Repeat("the quick brown fox jumps over the lazy  dog;\n", 3)+strings.Repeat("the quick brown fox jumps over the lazy dog; ", 37)+
			strings.Repeat("pack my box with five dozen liquor jugs; ", 10))
		write(t, filepath.Join(f.root, "silu.json"), `{"hidden_act": "silu"}`)
		write(t, filepath.Join(f.root, "orders.tsv"), orders(40))
		works(t, f.root, "train", "--task", "tictactoe", "--positions", "200", "--model", "micro", "--steps", "2", "--batch", "8", "--out", f.float)
		works(t, f.root, "quantize", "--model", f.float, "--out", f.int8)
		works(t, f.root, "train", "--corpus", f.book, "--context", "16", "--model", "micro", "--steps", "2", "--out", f.text)
		f.adapter = filepath.Join(f.root, "fixture-adapter")
		works(t, f.root, "lora", "--model", f.text, "--corpus", f.book, "--rank", "2", "--alpha", "8", "--lr", "0.1", "--steps", "3", "--out", f.adapter)
		write(t, filepath.Join(f.root, "animals.gbnf"), "root ::= \"quick \" animal # one of two\nanimal ::= \"fox\" | \"dog\"")
		works(t, f.root, "eval", "--model", f.text, "--corpus", f.book, "--confidence", "--calibration", filepath.Join(f.root, "calibration.json"))
		f.transcript = filepath.Join(f.root, "transcript.json")
		works(t, f.root, "generate", "--model", f.text, "--prompt", "the", "--max-tokens", "20", "--temperature", "1", "--transcript", f.transcript)
	})
	if fixtures.text == "" {
		t.Fatal("the fixtures could not be made")
	}
}

// pipelineArgs is a short pipeline; --corpus and --out are missing.
const pipelineArgs = "pipeline --preset quick --context 16 --json"

var whole struct {
	once sync.Once
	out  output
	dir  string
}

// wholePipeline is such a pipeline over the fixtures' corpus without an interruption: what it wrote, and its folder, which
// is the one that it makes where none is named.
func wholePipeline(t testing.TB) (output, string) {
	t.Helper()
	need(t)
	whole.once.Do(func() {
		whole.out = works(t, fixtures.root, append(strings.Fields(pipelineArgs+" --corpus"), fixtures.book)...)
		whole.dir = filepath.Join(fixtures.root, "mito-out", "book")
	})
	if whole.dir == "" {
		t.Fatal("the pipeline failed")
	}
	return whole.out, whole.dir
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
}

func read(t testing.TB, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// copyDir copies a folder, so that a test may spoil it.
func copyDir(t testing.TB, from string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "model")
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	return to
}
