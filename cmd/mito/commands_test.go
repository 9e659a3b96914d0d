package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestHelp(t *testing.T) {
	for _, args := range []string{
		"", "help", "--help", "pipeline --help", "train --help", "distill --help", "quantize --help", "eval --help", "generate --help",
		"verify --help", "bench --help", "task", "task --help", "task describe --help", "info --help", "version --help", "logits --help", "tokens --help", "export --help", "import --help", "help train", "help task list",
	} {
		o := works(t, "", strings.Fields(args)...)
		if !strings.Contains(o.stdout, "Usage:") || strings.Contains(o.stdout, "true|false") || o.stderr != "" {
			t.Errorf("mito %s: stdout %q, stderr %q", args, o.stdout, o.stderr)
		}
	}
}

// Wrong use is exit status 2 and a message that says what to do.
func TestWrongUse(t *testing.T) {
	need(t)
	for _, c := range []struct{ args, says string }{
		{"nothing", `unknown command "nothing"`},
		{"export --model x --out y", "takes one format: hf"},
		{"import tflite --from x --out y", `unknown format "tflite"; known: hf`},
		{"logits --model x --out y --tokens 1,b", `"b" is not the id of a token`},
		{"--nothing", "unknown flag"},
		{"pipeline nothing", `unknown argument "nothing"`},
		{"trian --task tictactoe", `unknown command "trian" for "mito"; did you mean train?`},
		{"task lst", "did you mean list?"},
		{"help trian", "did you mean train?"},
		{"train --stesp 3", `unknown flag --stesp for "mito train"; did you mean --steps?`},
		{"pipeline --seed x", `--seed is "x", want a whole number, 0 or more`},
		{"pipeline --threads 1000000", "--threads is 1000000, want 1 to 1024"},
		{"eval --model x --task tictactoe --threads 999999999999", "want 1 to 1024"},
		{"bench decode --threads 2000", "2 to 1024"},
		{"pipeline --task go", "tictactoe, connect4, puzzle8"},
		{"pipeline --preset huge", "known: default, "},
		{"pipeline --backend abacus", "abacus"},
		{"pipeline --precision int3", "int3"},
		{"pipeline --task tictactoe --corpus x", "--task and --corpus contradict"},
		{"pipeline --context 5", "--context and --task contradict"},
		{"pipeline --corpus x --positions 5", "--positions and --corpus contradict"},
		{"pipeline --corpus x --context 0", "--context is 0"},
		{"pipeline --corpus x --held-out 1", "--held-out is 1"},
		{"train --corpus x --out x --held-out 1", "mito eval --all"},
		{"train --task tictactoe --out x --micro-batches 1000", "--micro-batches is 1000, want at most the 256 sequences"},
		{"pipeline --corpus x --bpe -1", "--bpe is -1"},
		{"pipeline --games 0", "--games is 0"},
		{"pipeline --teachers 0", "--teachers is 0"},
		{"pipeline --task puzzle8 --preset standard --teachers 2", "puzzle8 has no teacher"},
		{"pipeline --task puzzle8 --preset standard --assistant mini", "give --teacher DIR, or another preset"},
		{"pipeline --assistant huge", "huge"},
		{"pipeline --threads 0", "--threads is 0"},
		{"pipeline --resume", "--resume needs --out"},
		{"pipeline --depth 4", "depth"},
		{"pipeline --positions -1", "positions"},
		{"train --out x", "--task NAME"},
		{"train --task tictactoe", "--out is missing"},
		{"train --task tictactoe --out x --model huge", "known: pico, pico2, nano, micro"},
		{"train --task tictactoe --out x --steps 0", "steps is 0"},
		{"train --task tictactoe --out x --lr -1", "learning rate"},
		{"train --task tictactoe --out x --batch -1", "--batch is -1"},
		{"train --task tictactoe --out x --optimizer sgd", "adamw or muon"},
		{"train --task tictactoe --out x --schedule up", "constant, cosine or wsd"},
		{"train --task tictactoe --out x --split test", "train or all"},
		{"train --task tictactoe --out x --optimizer adamw --muon-lr 1", "--muon-lr and --optimizer adamw contradict"},
		{"train --task tictactoe --out x --schedule cosine --decay 0.1", "--decay and --schedule cosine contradict"},
		{"train --task tictactoe --out x --schedule constant --min-lr 0.1", "--min-lr and --schedule constant contradict"},
		{"train --task tictactoe --out x --labels shared --smoothing 0.1", "smoothing"},
		{"train --task tictactoe --out x --log-every 0", "--log-every is 0"},
		{"train --corpus x --out x --labels shared", "--labels and --corpus contradict"},
		{"distill --task tictactoe --out x", "--teacher is missing"},
		{"distill --task tictactoe --out x --teacher y --top-k 3", "--top-k and a run without --cache contradict"},
		{"distill --task tictactoe --out x --teacher y --alpha 2", "alpha is 2"},
		{"distill --task tictactoe --out x --teacher y --temperature 0", "temperature is 0"},
		{"quantize", "--model and --out"},
		{"quantize --model x --out y --method guess", "search rtn sigma gptq"},
		{"quantize --model x --out y --task tictactoe", "--calibrate and --qat, which are missing"},
		{"eval", "--model is missing"},
		{"eval --model x", "--task NAME"},
		{"eval --model x --task tictactoe --games 0", "--games is 0"},
		{"eval --model x --task tictactoe --games 10000000", "want 1 to 100000"},
		{"eval --model x --task tictactoe --split half", "train, test or all"},
		{"eval --model x --corpus y --opponent perfect", "--opponent and --corpus contradict"},
		{"eval --model FLOAT --task tictactoe --opponent nobody", "random, perfect"},
		{"eval --model x --task tictactoe --all", "--all and --task contradict"},
		{"eval --model x --corpus y --all --held-out 0.2", "--held-out and --all contradict"},
		{"eval --model TEXT --corpus BOOK --context 10000000", "has a context of 16"},
		{"quantize --model TEXT --out y --calibrate 2 --corpus BOOK --context 17", "has a context of 16"},
		{"quantize --model TEXT --out y --calibrate 100000000 --corpus BOOK", "--calibrate is 100000000, want 1 to 1048576 sequences"},
		{"verify --model x --digest=", "64 hexadecimal digits"},
		{"verify --model x --digest 12", "64 hexadecimal digits"},
		{"distill --task tictactoe --out x --teacher y --temperature 1e-300", "--temperature is 1e-300"},
		{"generate", "--model is missing"},
		{"generate --model x", "--prompt is missing"},
		{"generate --model x --prompt a --stdin --json", "--stdin and --prompt contradict"},
		{"generate --model x --stdin", "--stdin needs --json"},
		{"generate --model x --prompt a --top-k 3", "--temperature"},
		{"generate --model x --prompt a --temperature -1", "temperature"},
		{"generate --model x --prompt a --temperature 1 --top-p 2", "top-p"},
		{"generate --model x --prompt a --max-tokens -1", "--max-tokens is -1"},
		{"generate --model x --prompt a --stop=", "--stop is empty"},
		{"verify", "--model is missing"},
		{"task nothing", `unknown command "nothing"`},
		{"task describe", "takes one task"},
		{"task describe go", `unknown task "go"`},
		{"task examples tictactoe --split half", "half"},
		{"task examples puzzle8 --depth 3", "depth"},
	} {
		args := strings.Fields(strings.NewReplacer("FLOAT", fixtures.float, "TEXT", fixtures.text, "BOOK", fixtures.book).Replace(c.args))
		dir := t.TempDir()
		fails(t, dir, exitUsage, []string{c.says, "mito: ", "--help"}, args...)
		if left, _ := os.ReadDir(dir); len(left) > 0 {
			t.Errorf("mito %s left %v", c.args, left)
		}
	}
}

// With --json stdout is one object with the fields that scripts rely on, and progress stays on stderr.
func TestJSON(t *testing.T) {
	need(t)
	dir := t.TempDir()
	student := filepath.Join(dir, "student")
	fit := "dir params steps loss_nats bits_per_byte seconds backend seed task"
	for _, c := range []struct{ args, fields string }{
		{"train --task puzzle8 --positions 60 --model micro --steps 2 --batch 4 --out train", fit},
		{"distill --task tictactoe --positions 200 --teacher FLOAT --teacher FLOAT --cache --model micro --steps 2 --batch 4 --out " + student, fit},
		{"quantize --model " + student + " --out q", "dir params bytes scheme digest matrices"},
		{"quantize --model " + student + " --out qc --calibrate 20 --task tictactoe", "dir params bytes scheme digest matrices"},
		{"eval --model q --task tictactoe --positions 200 --games 4 --opponent perfect", "task loss_nats bits_per_byte tokens score"},
		{"eval --model TEXT --corpus BOOK", "task loss_nats bits_per_byte tokens score"},
		{"verify --model q", "digest identical variants parts"},
		{"generate --model TEXT --prompt the --max-tokens 4", "text tokens end"},
		{"task list", "tasks"},
		{"task describe connect4", "name description alphabet"},
		{"info", "version platform backends models presets"},
		{"version", "version go platform"},
		{"eval --model TEXT --corpus BOOK --all", "task loss_nats bits_per_byte tokens score"},
	} {
		args := strings.NewReplacer("FLOAT", fixtures.float, "TEXT", fixtures.text, "BOOK", fixtures.book).Replace(c.args)
		o := works(t, dir, append(strings.Fields(args), "--json")...)
		got := o.object(t)
		for _, f := range strings.Fields(c.fields) {
			if _, ok := got[f]; !ok {
				t.Errorf("mito %s: the object lacks %q: %s", c.args, f, o.stdout)
			}
		}
	}
	o := works(t, dir, "eval", "--model", "q", "--task", "tictactoe", "--positions", "200", "--games", "4", "--quiet", "--json")
	score, _ := o.object(t)["score"].(map[string]any)
	for _, f := range []string{"games", "win", "draw", "loss", "opponent", "own_legal"} {
		if _, ok := score[f]; !ok {
			t.Errorf("the score lacks %q", f)
		}
	}
	if o.stderr != "" {
		t.Errorf("--quiet wrote %q", o.stderr)
	}
}

func TestPipeline(t *testing.T) {
	o, out := wholePipeline(t)
	r := o.object(t)
	model := "dir params bytes loss_nats bits_per_byte score"
	for object, fields := range map[string]string{
		"teacher": model, "student": model, "compressed": model + " scheme sparsity digest",
		"speed": "teacher_tok_s student_tok_s compressed_tok_s",
	} {
		in, _ := r[object].(map[string]any)
		for _, f := range strings.Fields(fields) {
			if _, ok := in[f]; !ok {
				t.Errorf("%s lacks %q", object, f)
			}
		}
	}
	for _, name := range []string{"report.md", "report.json", "loss.svg"} {
		if info, err := os.Stat(filepath.Join(out, name)); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
	shipped := filepath.Join(out, r["compressed"].(map[string]any)["dir"].(string))
	digest := r["compressed"].(map[string]any)["digest"].(string)
	works(t, "", "verify", "--model", shipped, "--digest", digest)
	works(t, "", "verify", "--model", shipped, "--digest", strings.ToUpper(digest))
	if o := mito(t, "", "verify", "--model", shipped, "--digest", "00"+digest[2:]); o.code != exitFailure || !strings.Contains(o.stderr, "expected 00") {
		t.Errorf("verify with another digest: exit status %d, %s", o.code, o.stderr)
	}
	// A second run does not write over the first.
	fails(t, "", exitFailure, []string{"already holds a run", "--resume", "--out"}, "pipeline", "--corpus", fixtures.book, "--out", out)
}

func TestGenerate(t *testing.T) {
	need(t)
	o := works(t, "", "generate", "--model", fixtures.text, "--prompt", "the ", "--max-tokens", "40")
	if n := len([]rune(strings.TrimSuffix(o.stdout, "\n"))); n != 40 || o.stderr != "" {
		t.Errorf("%d characters, want 40, past the context of 16: %q, stderr %q", n, o.stdout, o.stderr)
	}
	if o := works(t, "", "generate", "--model", fixtures.text, "--prompt", "the "); len(o.stdout) != 16-4+1+1 {
		t.Errorf("without a limit: %q, want the rest of the context, one more and a line end", o.stdout)
	}
	draw := func(seed string) string {
		return works(t, "", "generate", "--model", fixtures.text, "--prompt", "the ", "--max-tokens", "12",
			"--temperature", "2", "--top-k", "20", "--top-p", "0.99", "--min-p", "0.001", "--seed", seed).stdout
	}
	if one, again, two := draw("1"), draw("1"), draw("2"); one != again || one == two {
		t.Error("the seed does not decide the draws")
	}
	all := works(t, "", "generate", "--model", fixtures.text, "--prompt", "the ", "--max-tokens", "8").stdout
	stop := all[3:5]
	if o := works(t, "", "generate", "--model", fixtures.text, "--prompt", "the ", "--max-tokens", "8", "--stop", stop); o.stdout != all[:strings.Index(all, stop)]+"\n" {
		t.Errorf("stopped before %q: %q of %q", stop, o.stdout, all)
	}
	long := mito(t, "", "generate", "--model", fixtures.text, "--prompt", strings.Repeat("the ", 10), "--max-tokens", "8")
	if long.code != exitFailure || !strings.Contains(long.stderr, "40 tokens, the context 16") {
		t.Errorf("a prompt that is too long: %d, %s", long.code, long.stderr)
	}
	fails(t, "", exitFailure, []string{"日", "vocabulary"}, "generate", "--model", fixtures.text, "--prompt", "日", "--json")
}

// One answer a line, in order, each at once; bad lines do not stop the good ones.
func TestGenerateLines(t *testing.T) {
	need(t)
	cmd := command(t, "", "generate", "--model", fixtures.int8, "--stdin", "--json")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	answers := json.NewDecoder(out)
	type answer struct {
		Text   *string `json:"text"`
		Tokens []int32 `json:"tokens"`
		Error  string  `json:"error"`
		Line   int     `json:"line"`
	}
	first := ""
	for i, c := range []struct {
		line string
		bad  string
	}{
		{`{"prompt": "012345678=", "max_tokens": 1}`, ""},
		{`{"prompt": "012345678="`, "not an object"},
		{`{"prompt": "日", "max_tokens": 1}`, "vocabulary"},
		{`{"prompt": "", "max_tokens": 1}`, "no tokens"},
		{`{"max_tokens": 1}`, `"prompt" is missing`},
		{`{"prompt": "012345678=", "max_tokens": 0}`, `"max_tokens" is 0`},
		{`{"prompt": "012345678=", "max_tokens": 1.5}`, "max_tokens"},
		{`{"prompt": "012345678=", "max_token": 1}`, "max_token"},
		{`{"prompt": "012345678=0", "max_tokens": 1}`, "11 tokens, the context 10"},
		{`[]`, "not an object"},
		{`{"prompt": "012345678=", "max_tokens": 1} {}`, "more than one"},
		{`{"prompt": "012345678=", "max_tokens": 1}`, ""},
	} {
		// The answer must come before the next line is sent.
		if _, err := fmt.Fprintf(in, "\n%s\n", c.line); err != nil {
			t.Fatal(err)
		}
		var a answer
		if err := answers.Decode(&a); err != nil {
			t.Fatalf("%s: %v\n%s", c.line, err, stderr.String())
		}
		if c.bad != "" {
			if a.Line != 2*i+2 || a.Text != nil || !strings.Contains(a.Error, c.bad) {
				t.Errorf("%s: %+v", c.line, a)
			}
			continue
		}
		if a.Text == nil || len(a.Tokens) != 1 || len(*a.Text) != 1 || a.Error != "" {
			t.Fatalf("%s: %+v", c.line, a)
		}
		if first == "" {
			first = *a.Text
		}
		if *a.Text != first {
			t.Errorf("the same prompt gave %q, then %q", first, *a.Text)
		}
	}
	in.Close()
	if err := cmd.Wait(); cmd.ProcessState.ExitCode() != exitFailure || !strings.Contains(stderr.String(), "10 of 12 lines") {
		t.Errorf("%v, %s", err, stderr.String())
	}
	good := command(t, "", "generate", "--model", fixtures.int8, "--stdin", "--json")
	good.Stdin = strings.NewReader(`{"prompt": "012345678=", "max_tokens": 1}`) // without a line end
	if o := finish(t, good); o.code != 0 || !strings.HasPrefix(o.stdout, `{"text":"`) || strings.Count(o.stdout, "\n") != 1 {
		t.Errorf("%+v", o)
	}
}
