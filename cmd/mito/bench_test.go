package main

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mito/bench"
)

func TestBenchWrongUse(t *testing.T) {
	for _, args := range [][]string{
		{"bench"}, {"bench", "nothing"}, {"bench", "kernels", "decode"}, {"bench", "kernels", "--rounds", "0"},
		{"bench", "kernels", "--threads", "1"}, {"bench", "kernels", "--level", "sse9"}, {"info", "more"},
	} {
		if got := run(t.Context(), args, streams{strings.NewReader(""), io.Discard, io.Discard}); got != exitUsage {
			t.Errorf("%q: exit status %d, want %d", args, got, exitUsage)
		}
	}
}

func TestUpdateResults(t *testing.T) {
	path := filepath.Join(t.TempDir(), "results", "machine.md")
	for _, name := range []string{"kernels", "decode", "kernels"} {
		r := &bench.Report{Bench: name, Rounds: 1, Machine: bench.Machine{Processor: "A CPU", Cores: 2}}
		if err := updateResults(path, r); err != nil {
			t.Fatal(err)
		}
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if s := string(raw); strings.Count(s, "## kernels\n") != 1 || strings.Count(s, "## decode\n") != 1 || !strings.HasPrefix(s, "# A CPU") {
		t.Errorf("got\n%s", s)
	}
	if left, err := filepath.Glob(path + ".*"); err != nil || len(left) > 0 {
		t.Errorf("left %v, %v", left, err)
	}
}

// What info prints as JSON names every part of the program.
func TestInfo(t *testing.T) {
	i, err := gather()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(i)
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(raw, &got); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"version", "platform", "machine", "backends", "models", "presets"} {
		if got[key] == nil {
			t.Errorf("no %s in %s", key, raw)
		}
	}
	if len(i.Backends) != 2 || !i.Backends[0].Available || !i.Backends[1].Available && i.Backends[1].Reason == "" {
		t.Errorf("backends %+v", i.Backends)
	}
	for _, m := range i.Models {
		if m.Params < 1000 {
			t.Errorf("%s has %d parameters", m.Name, m.Params)
		}
	}
	var text bytes.Buffer
	i.print(&text)
	for _, want := range []string{"Backends", "Kernels", "qgemm", "Models", "Pipelines", "tictactoe"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("%q is not in\n%s", want, text.String())
		}
	}
}
