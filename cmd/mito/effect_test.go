package main

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"mito/bench"
	"mito/engine/eval"
	"mito/engine/pipeline"
)

// outcome is what a command line did.
type outcome struct {
	code           int
	stdout, stderr string
	line           string
	out            string // the folder that OUT stood for
}

// file reads a file of OUT.
func (o *outcome) file(t testing.TB, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(o.out, name))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return string(text)
}

// does runs a command line in this process. OUT stands for a fresh folder, or for old.
func does(t testing.TB, old, line, stdin string) (o outcome) {
	t.Helper()
	o.line = line
	if o.out = old; old == "" {
		o.out = filepath.Join(t.TempDir(), "out")
	}
	args := strings.Fields(strings.NewReplacer("OUT", o.out, "FLOAT", fixtures.float, "INT8", fixtures.int8, "TEXT", fixtures.text, "BOOK", fixtures.book, "ADAPTER", fixtures.adapter,
		"TRANSCRIPT", fixtures.transcript, "CALIBRATION", filepath.Join(fixtures.root, "calibration.json"), "GRAMMAR", filepath.Join(fixtures.root, "animals.gbnf"),
		"CONFIG", filepath.Join(fixtures.root, "silu.json"), "ORDERS", filepath.Join(fixtures.root, "orders.tsv"), "SCORER", os.Args[0]).Replace(line))
	var stdout, stderr bytes.Buffer
	o.code = run(t.Context(), args, streams{strings.NewReader(stdin), &stdout, &stderr})
	// What no two runs have in common is not what a flag does.
	o.stdout = regexp.MustCompile(`"seconds": [0-9.e+-]+`).ReplaceAllString(strings.ReplaceAll(stdout.String(), o.out, "OUT"), `"seconds": 0`)
	o.stderr = stderr.String()
	return o
}

// effect says what a flag does to a command line.
type effect struct {
	base string // the command line without the flag; the command's own where it is ""
	flag string // the flag with a value other than the default's
	does check
}

type check func(t *testing.T, without, with outcome)

// differs wants another content of a file.
func differs(name string) check {
	return func(t *testing.T, without, with outcome) {
		succeeded(t, without, with)
		if without.file(t, name) == with.file(t, name) {
			t.Errorf("%s is the same with and without", name)
		}
	}
}

// keeps wants the same content of a file: the flag says how to compute, not what. beside checks what it does do.
func keeps(name string, beside check) check {
	return func(t *testing.T, without, with outcome) {
		succeeded(t, without, with)
		if without.file(t, name) != with.file(t, name) {
			t.Errorf("%s differs with and without", name)
		}
		if beside != nil {
			beside(t, without, with)
		}
	}
}

// prints wants another result.
func prints(t *testing.T, without, with outcome) {
	succeeded(t, without, with)
	if without.stdout == with.stdout {
		t.Errorf("the result is the same with and without: %s", with.stdout)
	}
}

// printsSame wants the same result.
func printsSame(t *testing.T, without, with outcome) {
	succeeded(t, without, with)
	if without.stdout != with.stdout {
		t.Errorf("the result is %s, without the flag %s", with.stdout, without.stdout)
	}
}

// holds wants words that were not there without the flag.
func holds(name, words string) check {
	return func(t *testing.T, without, with outcome) {
		succeeded(t, without, with)
		if strings.Contains(without.file(t, name), words) || !strings.Contains(with.file(t, name), words) {
			t.Errorf("%s without %q:\n%s", name, words, with.file(t, name))
		}
	}
}

// counts wants a number of lines with some words.
func counts(name, words string, without, with int) check {
	return func(t *testing.T, a, b outcome) {
		succeeded(t, a, b)
		if n, m := strings.Count(a.file(t, name), words), strings.Count(b.file(t, name), words); n != without || m != with {
			t.Errorf("%s has %q %d times, without the flag %d", name, words, m, n)
		}
	}
}

// isRefused wants wrong use with words that tell why.
func isRefused(words string) check {
	return func(t *testing.T, without, with outcome) {
		succeeded(t, without)
		if with.code != exitUsage || !strings.Contains(with.stderr, words) {
			t.Errorf("exit status %d, %s", with.code, with.stderr)
		}
	}
}

// fixes wants a command line that fails without the flag.
func fixes(words string) check {
	return func(t *testing.T, without, with outcome) {
		succeeded(t, with)
		if without.code == 0 || !strings.Contains(without.stderr, words) {
			t.Errorf("without the flag: exit status %d, %s", without.code, without.stderr)
		}
	}
}

// printsJSON wants one object where there was text.
func printsJSON(t *testing.T, without, with outcome) {
	succeeded(t, without, with)
	o := output{stdout: with.stdout}
	if o.object(t); strings.HasPrefix(without.stdout, "{") {
		t.Errorf("an object without the flag: %s", without.stdout)
	}
}

// silences wants nothing on stderr, which a command that shows its progress had.
func silences(t *testing.T, without, with outcome) {
	succeeded(t, without, with)
	if with.stderr != "" {
		t.Errorf("stderr: %s", with.stderr)
	}
	if shows := without.stderr != ""; shows != (without.code == 0 && strings.Contains(without.stderr, "...")) {
		t.Errorf("stderr without the flag: %s", without.stderr)
	}
}

func succeeded(t *testing.T, list ...outcome) {
	t.Helper()
	for _, o := range list {
		if o.code != 0 {
			t.Fatalf("exit status %d, %s", o.code, o.stderr)
		}
	}
}

// resumes runs the line with and without --resume where a run lies already.
func resumes(base string) effect {
	return effect{base, "--resume", func(t *testing.T, without, _ outcome) {
		succeeded(t, without)
		if again := does(t, without.out, without.line, ""); again.code != exitFailure || !strings.Contains(again.stderr, "already holds a run") {
			t.Errorf("again: exit status %d, %s", again.code, again.stderr)
		}
		succeeded(t, does(t, without.out, without.line+" --resume", ""))
	}}
}

// every command has these.
var everywhere = map[string]effect{
	"json":  {"", "--json", printsJSON},
	"quiet": {"", "--quiet", silences},
}

// TestEveryFlag runs every flag of every command against the command line without it. A flag without a row fails.
func TestEveryFlag(whole *testing.T) {
	t := whole
	need(t)
	exchange(t)
	t.Chdir(t.TempDir())
	rows := commandEffects()
	plain := map[string]outcome{} // of lines without the flag
	eachCommand(newRoot(), func(cmd *cobra.Command) {
		path := strings.TrimPrefix(cmd.CommandPath(), "mito ")
		c, ok := rows[path]
		if !ok {
			t.Errorf("no rows for mito %s", path)
			return
		}
		seen := map[string]bool{"help": true, "version": true} // TestHelp and TestVersion
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			if seen[f.Name] {
				return
			}
			seen[f.Name] = true
			effects := c.flags[f.Name]
			if len(effects) == 0 {
				e, ok := everywhere[f.Name]
				if !ok {
					t.Errorf("mito %s --%s has no row: what does it change?", path, f.Name)
					return
				}
				effects = []effect{e}
			}
			for _, e := range effects {
				if e.base == "" {
					e.base = c.base
				}
				t.Run(strings.ReplaceAll(path, " ", "-")+"/"+f.Name, func(t *testing.T) {
					if !strings.Contains(e.flag, "--"+f.Name) {
						t.Fatalf("the row of --%s has %q", f.Name, e.flag)
					}
					line := path + " " + e.base
					without, ok := plain[line]
					if !ok || f.Name == "resume" { // which goes on in the folder
						without = does(whole, "", line, c.stdin)
						plain[line] = without
					}
					e.does(t, without, does(t, "", line+" "+e.flag, c.stdin))
				})
			}
		})
		for name := range c.flags {
			if !seen[name] {
				t.Errorf("mito %s has no flag --%s", path, name)
			}
		}
	})
}

// exchange makes pipelines and benchmarks short.
func exchange(t *testing.T) {
	t.Setenv(asScorer, "1")
	measuring = eval.MeasureOptions{Runs: 1, Time: time.Microsecond}
	presetOf = func(workload, name string) (pipeline.Preset, error) {
		p, err := pipeline.PresetOf(workload, name)
		p.Task.Positions, p.Games, p.Opponents = 100, 2, []string{"random"}
		if workload == "puzzle8" || workload == "examples" || workload == "list" { // which have none
			p.Opponents = nil
		}
		p.Student.Shape, p.Student.Rows, p.Student.Train.Steps = "micro", 4, 2
		if p.Teacher.Shape != "" {
			p.Teacher.Shape, p.Teacher.Rows, p.Teacher.Train.Steps = "micro", 4, 2
		}
		if name == "quick" {
			p.Student.Train.Steps = 3
		}
		return p, err
	}
	runBench = func(_ context.Context, name string, o bench.Options) (*bench.Report, error) {
		o.Progress(0, 1, "a row")
		return &bench.Report{Bench: name, Rounds: o.Rounds, Level: o.Level, Results: []bench.Result{
			{Name: "threads", Value: float64(o.Threads)}, {Name: "patience", Value: o.Patience.Seconds()},
			{Name: o.Only + o.Corpus + o.AdaptTo, Value: float64(o.Steps), Experiment: true}}}, nil
	}
	t.Cleanup(func() {
		measuring, presetOf, runBench = eval.MeasureOptions{}, pipeline.PresetOf, bench.Run
	})
}

// A task's batch and a text's have sizes of their own where none is given.
func TestDefaultBatch(t *testing.T) {
	need(t)
	for line, want := range map[string]string{
		"--task tictactoe --positions 200": `"rows": 256,`,
		"--corpus BOOK --context 8":        `"rows": 12,`,
	} {
		o := does(t, "", "train --arch micro --steps 1 --out OUT "+line, "")
		succeeded(t, o)
		if state := o.file(t, "last/state.json"); !strings.Contains(state, want) {
			t.Errorf("%s: no %s in %s", line, want, state)
		}
	}
}

// A model that is trained on all positions is judged on all of them, another on the test positions.
func TestJudgedSplit(t *testing.T) {
	need(t)
	for _, c := range []struct{ split, judged, other string }{{"train", "test", "all"}, {"all", "all", "test"}} {
		o := does(t, "", "train --task tictactoe --positions 200 --arch micro --steps 3 --batch 8 --out OUT --json --split "+c.split, "")
		succeeded(t, o)
		loss := func(o outcome) float64 { return (&output{stdout: o.stdout}).object(t)["loss_nats"].(float64) }
		eval := func(split string) float64 {
			return loss(does(t, o.out, "eval --model OUT --task tictactoe --positions 200 --games 1 --json --split "+split, ""))
		}
		if got, want, other := loss(o), eval(c.judged), eval(c.other); got-want > 1e-4 || want-got > 1e-4 || got-other < 1e-4 && other-got < 1e-4 {
			t.Errorf("trained on %s: loss %v, on %s %v, on %s %v", c.split, got, c.judged, want, c.other, other)
		}
	}
}

// failsWith wants a failure that the line without the flag has not.
func failsWith(words string) check {
	return func(t *testing.T, without, with outcome) {
		succeeded(t, without)
		if with.code != exitFailure || !strings.Contains(with.stderr, words) {
			t.Errorf("exit status %d, %s", with.code, with.stderr)
		}
	}
}

// printsWhole wants one of some texts on stdout, which was another without the flag.
func printsWhole(texts ...string) check {
	return func(t *testing.T, without, with outcome) {
		prints(t, without, with)
		if got := strings.TrimSuffix(with.stdout, "\n"); !slices.Contains(texts, got) {
			t.Errorf("printed %q", got)
		}
	}
}

func holdsOneFile(t *testing.T, dir string) {
	t.Helper()
	if list, err := os.ReadDir(dir); err != nil || len(list) != 1 {
		t.Errorf("%s holds %v, %v", dir, list, err)
	}
}
