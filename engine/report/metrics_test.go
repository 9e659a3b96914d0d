package report

import (
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func writeMetrics(t *testing.T, path string, from, to int64) {
	t.Helper()
	m, err := OpenMetrics(path, from)
	if err != nil {
		t.Fatal(err)
	}
	for s := from + 1; s <= to; s++ {
		if err := m.Append(s, map[string]float64{"loss": 10 / float64(s+1), "lr": 1e-3}); err != nil {
			t.Fatal(err)
		}
		if s%4 == 0 { // an evaluation of the same step
			if err := m.Append(s, map[string]float64{"val_loss": 1}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
}

// A run that was killed at any byte of its log and resumed from any earlier step leaves the log of a run that was not.
func TestResumedLogIsTheUninterruptedOne(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "whole.jsonl")
	writeMetrics(t, path, -1, 9)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for cut := 0; cut <= len(whole); cut++ {
		// The checkpoint was of a step that had been synced whole.
		lastStep := int64(-1)
		records := strings.SplitAfter(string(whole[:cut]), "\n")
		for _, line := range records[:len(records)-1] {
			var r Record
			if err := json.Unmarshal([]byte(line), &r); err != nil {
				t.Fatal(err)
			}
			lastStep = r.Step - 1
		}
		path := filepath.Join(dir, "cut.jsonl")
		if err := os.WriteFile(path, whole[:cut], 0o666); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadMetrics(path); err != nil {
			t.Fatalf("cut at %d: %v", cut, err)
		}
		writeMetrics(t, path, lastStep, 9)
		if got, err := os.ReadFile(path); err != nil || string(got) != string(whole) {
			t.Fatalf("cut at %d, resumed from %d (%v):\n%s", cut, lastStep, err, got)
		}
	}
}

func TestMetricsErrors(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.jsonl")
	for name, c := range map[string]struct {
		text string
		line int // 0: readable
		n    int
	}{
		"torn in the middle of a line": {"{\"step\":1}\n{\"st", 0, 1},
		"torn, but with a line end":    {"{\"step\":1}\n\x00\x00\x00\n", 0, 1},
		"damaged in the middle":        {"{\"step\":1}\n{\"st\n{\"step\":3}\n", 2, 0},
		"no step":                      {"{\"loss\":1}\n{\"step\":3}\n", 1, 0},
		"step is text":                 {"{\"step\":\"1\"}\n{\"step\":3}\n", 1, 0},
		"endless line":                 {strings.Repeat(" ", maxLine+70<<10), 1, 0},
		"other fields":                 {"{\"step\":1,\"note\":\"x\",\"loss\":2}\n", 0, 1},
	} {
		if err := os.WriteFile(path, []byte(c.text), 0o666); err != nil {
			t.Fatal(err)
		}
		records, err := ReadMetrics(path)
		var le *LineError
		switch {
		case c.line == 0 && (err != nil || len(records) != c.n):
			t.Errorf("%s: %d records, %v", name, len(records), err)
		case c.line > 0 && (!errors.As(err, &le) || le.Line != c.line):
			t.Errorf("%s: %v, want line %d", name, err, c.line)
		}
		if m, err := OpenMetrics(path, 100); (err != nil) != (c.line > 0) {
			t.Errorf("%s, opened: %v", name, err)
		} else if err == nil {
			m.Close()
		}
	}
	m, err := OpenMetrics(path, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if err := m.Append(5, nil); err != nil {
		t.Fatal(err)
	}
	for _, step := range []int64{4, -1} {
		if m.Append(step, nil) == nil {
			t.Errorf("a record of step %d after 5", step)
		}
	}
	if m.Append(6, map[string]float64{"step": 1}) == nil {
		t.Error("a second step in one record")
	}
}

// Damage among the records that a resumed run keeps is told with what to do about it; what comes behind them is dropped,
// whatever it is.
func TestDamagedLogAtResume(t *testing.T) {
	dir := t.TempDir()
	good := "{\"step\":1}\n{\"step\":2}\n{\"step\":3}\n"
	for name, c := range map[string]struct {
		text string
		line int // 0: opens
	}{
		"a kept line":                {strings.Replace(good, `p":2`, `p"?2`, 1), 2},
		"a step became too large":    {strings.Replace(good, ":2", ":92", 1), 3},
		"a step became too small":    {strings.Replace(good, ":2", ":0", 1), 2},
		"rubbish behind":             {good + "\x00\x00\n\x00\n{\"step\":9}\n", 0},
		"later steps, one damaged":   {good + "{\"step\":4}\n{\"step\n{\"step\":6}\n", 0},
		"later steps in a bad order": {good + "{\"step\":6}\n{\"step\":5}\n", 0},
	} {
		path := filepath.Join(dir, "m.jsonl")
		if err := os.WriteFile(path, []byte(c.text), 0o666); err != nil {
			t.Fatal(err)
		}
		m, err := OpenMetrics(path, 3)
		if c.line == 0 {
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			m.Close()
			if text, err := os.ReadFile(path); err != nil || string(text) != good {
				t.Errorf("%s: %v, kept %q", name, err, text)
			}
			continue
		}
		var le *LineError
		if !errors.As(err, &le) || le.Line != c.line || !strings.Contains(err.Error(), "take this line out and try again") {
			t.Errorf("%s: %v, want line %d and what to do", name, err, c.line)
		}
		if text, err := os.ReadFile(path); err != nil || string(text) != c.text {
			t.Errorf("%s: %v, the file was changed to %q", name, err, text)
		}
	}
}

func TestRecordsKeepTheirBits(t *testing.T) {
	in := Record{1 << 53, map[string]float64{
		"a": 0.1, "b": math.SmallestNonzeroFloat64, "c": -math.MaxFloat64, "nan": math.NaN(), "inf": math.Inf(1), `q"<`: 1,
	}}
	text, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	var out Record
	if err := json.Unmarshal(text, &out); err != nil || out.Step != in.Step || len(out.Values) != len(in.Values) {
		t.Fatal(out, err)
	}
	for k, v := range in.Values {
		if got := out.Values[k]; got != v && !(math.IsNaN(got) && (math.IsNaN(v) || math.IsInf(v, 0))) {
			t.Errorf("%s: %v, want %v", k, got, v)
		}
	}
	points := Points([]Record{in, {2, map[string]float64{"a": 3}}, {3, map[string]float64{"nan": 1}}}, "nan")
	if len(points) != 1 || points[0] != (Point{3, 1}) {
		t.Error(points)
	}
}

// FuzzMetrics: whatever a file holds, opening it for a resume gives an error or a log that reads back.
func FuzzMetrics(f *testing.F) {
	f.Add([]byte("{\"step\":1,\"loss\":2}\n{\"step\":2,\"loss\":null}\n"), int64(1))
	f.Add([]byte("{\"step\":1}\n{\"st"), int64(9))
	f.Add([]byte("\n\n{}"), int64(0))
	f.Add([]byte("{\"step\":-3}\n"), int64(0))
	f.Fuzz(func(t *testing.T, data []byte, lastStep int64) {
		path := filepath.Join(t.TempDir(), "m.jsonl")
		if err := os.WriteFile(path, data, 0o666); err != nil {
			t.Fatal(err)
		}
		m, err := OpenMetrics(path, lastStep)
		if err != nil {
			return
		}
		if err := m.Append(math.MaxInt64, map[string]float64{"x": 1}); err != nil {
			t.Fatal(err)
		}
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
		records, err := ReadMetrics(path)
		if err != nil || len(records) == 0 || records[len(records)-1].Step != math.MaxInt64 {
			t.Fatal(records, err)
		}
		for _, r := range records[:len(records)-1] {
			if r.Step > lastStep {
				t.Fatalf("step %d is after %d", r.Step, lastStep)
			}
		}
	})
}
