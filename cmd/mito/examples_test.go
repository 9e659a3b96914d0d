package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mito/engine/data"
	"mito/engine/task"
)

// orders are n lines of examples with four answers of several tokens between them.
func orders(n int) string {
	var b strings.Builder
	rng := rand.New(rand.NewPCG(1, 1))
	for i := range n {
		word, answer := "light", "led 1"
		if i%2 == 1 {
			word, answer = "fan", "fan 1"
		}
		way := "turn the " + word + " on"
		if i%4 > 1 {
			way, answer = word+" off", strings.Replace(answer, "1", "0", 1)
		}
		fmt.Fprintf(&b, "%s %d\t%s\n", way, rng.IntN(1000), answer)
	}
	return b.String()
}

// asScorer makes this program a scorer where it has no arguments.
const asScorer = "MITO_TEST_SCORER"

// markLines is this program as a scorer: an answer with a digit of 1 is right.
func markLines() {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		_, answer, _ := strings.Cut(lines.Text(), "\t")
		fmt.Println(strings.Count(answer, "1"))
	}
}

// TestExamples goes the way of a user's own task: train, quantize, eval, generate.
func TestExamples(t *testing.T) {
	need(t)
	t.Setenv(asScorer, "1")
	dir := t.TempDir()
	write(t, filepath.Join(dir, "orders.tsv"), orders(200)+"turn the fan on 1\tfan 1\nturn the fan on 1\tfan 1\nturn the fan on 1\tfan 0\n")
	trained := works(t, dir, strings.Fields("train --examples orders.tsv --arch micro --steps 60 --batch 32 --out run")...)
	for _, want := range []string{" repeats line ", `line 203 answers "turn the fan on 1" otherwise than line 201`, "4 different answers: the set is closed"} {
		if !strings.Contains(trained.stderr, want) {
			t.Errorf("no %q in %s", want, trained.stderr)
		}
	}
	works(t, dir, "quantize", "--model", "run", "--out", "int8")
	var r struct {
		Score struct {
			Prompts, Exact, Answers int
			Constrained             bool
			Interval                []float64 `json:"exact_interval"`
			Scorer                  struct {
				Marked, Right int
				Mean          float64
			}
		}
	}
	line := append(strings.Fields("eval --model int8 --examples orders.tsv --json --scorer"), os.Args[0])
	if err := json.Unmarshal([]byte(works(t, dir, line...).stdout), &r); err != nil {
		t.Fatal(err)
	}
	s := r.Score
	if s.Prompts < 15 || s.Exact < s.Prompts*9/10 || s.Answers != 4 || !s.Constrained || s.Interval[0] >= s.Interval[1] {
		t.Errorf("%+v", s)
	}
	if m := s.Scorer; m.Marked != s.Prompts || m.Right == 0 || m.Right == m.Marked || m.Mean != float64(m.Right)/float64(m.Marked) {
		t.Errorf("%+v", m)
	}
	if text := works(t, dir, "generate", "--model", "int8", "--prompt", "turn the light on 77=", "--max-tokens", "9").stdout; text != "led 1\n" {
		t.Errorf("generated %q", text)
	}
}

// What task examples writes of commands is a file of examples.
func TestTaskExamplesAreExamples(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "commands.tsv")
	write(t, path, works(t, dir, strings.Fields("task examples commands --positions 300")...).stdout)
	list, err := data.LoadTSV(path)
	if err != nil {
		t.Fatal(err)
	}
	made, err := task.New("commands", task.Options{Positions: 300, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	want, err := made.Examples(t.Context(), task.All)
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != len(want) || list[299].Prompt != want[299].Prompt || !slices.Equal(list[299].Answers, want[299].Answers) {
		t.Errorf("%d lines of %d; the last is %v", len(list), len(want), list[len(list)-1])
	}
}

func TestBadExamples(t *testing.T) {
	need(t)
	dir := t.TempDir()
	for _, c := range []struct{ text, says string }{
		{"a\t1\nb\n", "line 2: there is no tab"}, {"\t1\n", "line 1: the prompt is empty"}, {"a\t1\n\xff\t2\n", "line 2: it is not UTF-8"},
		{"", "holds no text"}, {"a\t1\n", "prompts that differ in their words: 1, where 2 are needed"},
		{"a\t1\nb\t2\n" + strings.Repeat("long ", 300) + "\t3\n", "line 3: prompt and answer take 1502 tokens where a row has 1024"},
	} {
		write(t, filepath.Join(dir, "bad.tsv"), c.text)
		fails(t, dir, exitFailure, []string{c.says}, strings.Fields("train --examples bad.tsv --arch micro --steps 1 --out out")...)
		if _, err := os.Stat(filepath.Join(dir, "out")); err == nil {
			t.Errorf("%s: a folder was made", c.says)
		}
	}
	fails(t, dir, exitFailure, []string{"missing.tsv"}, strings.Fields("train --examples missing.tsv --arch micro --steps 1 --out out")...)
	write(t, filepath.Join(dir, "good.tsv"), orders(40))
	fails(t, dir, exitFailure, []string{"the tokenizer has no end-of-text token", "trained on --examples"}, "eval", "--model", fixtures.text, "--examples", "good.tsv")
	fails(t, dir, exitFailure, []string{"the scorer false, at answer 1: it ended by itself"}, strings.Fields(
		"eval --model "+trainedOn(t, dir)+" --examples good.tsv --scorer false")...)
}

// trainedOn is a model of good.tsv.
func trainedOn(t *testing.T, dir string) string {
	works(t, dir, strings.Fields("train --examples good.tsv --arch micro --steps 1 --batch 4 --out good")...)
	return "good"
}
