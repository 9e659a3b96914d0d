package report

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mito/engine/checkpoint"
)

var update = flag.Bool("update", false, "write the golden files")

type games struct {
	Games    int     `json:"games"`
	Win      int     `json:"win"`
	Draw     int     `json:"draw"`
	Loss     int     `json:"loss"`
	Opponent string  `json:"opponent"`
	OwnLegal float64 `json:"own_legal"`
}

func sample(t *testing.T) *Report {
	t.Helper()
	r := &Report{
		Task: "tictactoe", Seed: 1, Backend: "cpu", Seconds: 61.25,
		Teacher: Model{Dir: "teacher", Params: 1234567, Bytes: 4938268, LossNats: 0.25, BitsPerByte: 0.36067, Score: nil},
		Student: Model{Dir: "student", Params: 50000, Bytes: 200000, LossNats: 0.26, BitsPerByte: NotMeasured},
		Compressed: Compressed{
			Model:  Model{Dir: "compressed", Params: 50000, Bytes: 52000, LossNats: 0.2601, BitsPerByte: 0.37525},
			Scheme: "int8", Sparsity: 0, Digest: strings.Repeat("ab", 32),
		},
		Speed:   Speed{Teacher: 8123.4, Student: 41234.5, Compressed: NotMeasured},
		Version: "0.1.0",
		Machine: "2 cores",
		Command: "mito pipeline --task tictactoe --seed 1",
		Settings: map[string]any{
			"student": map[string]any{"steps": 2000, "train": struct {
				LR        float64 `json:"lr"`
				Optimizer string  `json:"optimizer"`
			}{0.001, "adamw"}}, "assistant": "", "layers": []int{1, 2}, "empty": map[string]int{},
		},
		Seeds:  map[string]uint64{"data": math.MaxUint64, "init": 7},
		Splits: []Split{{Name: "train", Examples: 4520, Hash: "00ff"}, {Name: "test", Tokens: 900, Hash: "ff00"}},
		Rows: []Row{
			{
				Name: "student trained alone", Model: Model{Params: 50000, LossNats: 0.3, BitsPerByte: NotMeasured},
				TokensPerSecond: NotMeasured, Note: "same steps",
			},
			{Name: "student distilled", Model: Model{Params: 50000, LossNats: 0.26, BitsPerByte: NotMeasured}, TokensPerSecond: NotMeasured},
		},
		Notes: []string{"The shipped student trains on all positions; its held-out loss comes from a run that does not."},
	}
	if err := errors.Join(
		r.Compressed.AddScore("against random: won/drawn/lost", "12/5/3 of 20 | 95%", games{20, 12, 5, 3, "random", 0.99}),
		r.Compressed.AddScore("against perfect: won/drawn/lost", "0/17/3 of 20", games{20, 0, 17, 3, "perfect", 0.99}),
		r.Student.AddScore("against perfect: won/drawn/lost", "0/20/0 of 20", games{20, 0, 20, 0, "perfect", 0.99}),
		r.Rows[0].AddScore("against random: won/drawn/lost", "9/9/2 of 20", games{20, 9, 9, 2, "random", 0.99}),
	); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestMarkdownGolden(t *testing.T) {
	r := sample(t)
	r.Curves = CurvesName
	var b bytes.Buffer
	if err := r.WriteMarkdown(&b); err != nil {
		t.Fatal(err)
	}
	const path = "testdata/report.md"
	if *update {
		if err := os.WriteFile(path, b.Bytes(), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("got\n%s", b.String())
	}
}

// The names that scripts rely on.
func TestJSONFields(t *testing.T) {
	var b bytes.Buffer
	if err := sample(t).WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	dec := json.NewDecoder(&b)
	if err := dec.Decode(&got); err != nil {
		t.Fatal(err)
	}
	if _, err := dec.Token(); err != io.EOF {
		t.Error("more than one JSON value")
	}
	model := []string{"dir", "params", "bytes", "loss_nats", "bits_per_byte", "score"}
	for object, fields := range map[string][]string{
		"":           {"task", "seed", "backend", "seconds", "teacher", "student", "compressed", "speed"},
		"teacher":    model,
		"student":    model,
		"compressed": append(slices.Clone(model), "scheme", "sparsity", "digest"),
		"speed":      {"teacher_tok_s", "student_tok_s", "compressed_tok_s"},
	} {
		in := got
		if object != "" {
			in = got[object].(map[string]any)
		}
		for _, f := range fields {
			if _, ok := in[f]; !ok {
				t.Errorf("%s lacks %s", object, f)
			}
		}
	}
	score := got["compressed"].(map[string]any)["score"].(map[string]any)
	if score["games"] != 20.0 || score["opponent"] != "random" {
		t.Error(score)
	}
	if v, ok := got["student"].(map[string]any)["bits_per_byte"]; !ok || v != nil {
		t.Errorf("not measured should be null, is %v", v)
	}
}

func TestSaveAndRead(t *testing.T) {
	dir := t.TempDir()
	curves := []Series{{"teacher", []Point{{1, 3}, {2, 2}}}, {"student", []Point{{1, 3.5}, {2, 2.5}}}}
	if err := sample(t).Save(dir, curves); err != nil {
		t.Fatal(err)
	}
	r, err := Read(filepath.Join(dir, JSONName))
	if err != nil {
		t.Fatal(err)
	}
	if r.Compressed.Digest != sample(t).Compressed.Digest || r.Student.BitsPerByte.Measured() ||
		r.Seeds["data"] != math.MaxUint64 || r.Curves != CurvesName || len(r.Rows) != 2 || r.Rows[0].LossNats != 0.3 {
		t.Errorf("%+v", r)
	}
	var a, b bytes.Buffer
	if err := errors.Join(r.WriteMarkdown(&a)); err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(filepath.Join(dir, MarkdownName))
	if err != nil || a.String() != string(want) {
		t.Errorf("what was read back renders otherwise (%v):\n%s", err, a.String())
	}
	if err := r.WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	if saved, err := os.ReadFile(filepath.Join(dir, JSONName)); err != nil || b.String() != string(saved) {
		t.Error("read and written again, report.json is other", err)
	}
	if _, err := os.Stat(filepath.Join(dir, CurvesName)); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(filepath.Join(dir, JSONName), []byte(`{"task":"a","task":"b"}`), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(filepath.Join(dir, JSONName)); !errors.Is(err, checkpoint.ErrDuplicate) {
		t.Error(err)
	}
}

func TestMarkdownCannotBeBroken(t *testing.T) {
	r := sample(t)
	evil := "a|b\n| c `d` <e> *f*"
	r.Task, r.Teacher.Dir, r.Notes, r.Command = evil, evil, []string{evil}, evil
	r.Teacher.Scores = []Result{{Name: evil, Text: evil}}
	r.Settings = map[string]any{evil: evil}
	r.Student.Score = json.RawMessage(`{"a":"|"}`)
	var b bytes.Buffer
	if err := r.WriteMarkdown(&b); err != nil {
		t.Fatal(err)
	}
	want := 0 // bars in a line of the table, 0 outside of one
	for line := range strings.Lines(b.String()) {
		bars := 0
		if strings.HasPrefix(line, "|") {
			bars = strings.Count(line, "|") - strings.Count(line, `\|`)
		}
		if want == 0 || bars == 0 {
			want = bars
		}
		if bars != want {
			t.Errorf("%d columns, the table has %d: %s", bars-1, want-1, line)
		}
		if strings.Contains(line, "<e>") && !strings.HasPrefix(line, "    ") {
			t.Errorf("raw HTML in %s", line)
		}
	}
	r.Settings = map[string]any{"f": func() {}}
	if err := r.WriteMarkdown(io.Discard); err == nil {
		t.Error("a function as a setting")
	}
}

func TestNumbers(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", -1234: "-1,234", math.MinInt64: "-9,223,372,036,854,775,808",
	} {
		if got := thousands(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
	for n, want := range map[Number]string{
		0: "0", 1.234: "1.23", 99.96: "100", 8123.4: "8,123", -1: none, Number(math.Inf(1)): none, 1e300: none,
	} {
		if got := rate(n); got != want {
			t.Errorf("%v: %s, want %s", n, got, want)
		}
	}
}

func TestCurves(t *testing.T) {
	long := make([]Point, 100_000)
	for i := range long {
		long[i] = Point{float64(i), 1 / float64(i+1)}
	}
	many := make([]Series, 12)
	for i := range many {
		many[i] = Series{"run", []Point{{0, float64(i)}, {1, float64(i) + 1}}}
	}
	for name, curves := range map[string][]Series{
		"two":           {{"teacher <&>", long[:50]}, {"student", long[:90]}},
		"long":          {{"teacher", long}},
		"none":          nil,
		"empty":         {{"teacher", nil}},
		"one point":     {{"teacher", []Point{{5, 2}}}},
		"constant":      {{"teacher", []Point{{1, 2}, {2, 2}, {3, 2}}}},
		"not finite":    {{"teacher", []Point{{1, math.NaN()}, {2, math.Inf(1)}, {3, 2}, {math.NaN(), 1}}}},
		"only NaN":      {{"teacher", []Point{{1, math.NaN()}}}},
		"extreme":       {{"teacher", []Point{{1, -math.MaxFloat64}, {2, math.MaxFloat64}, {3, math.SmallestNonzeroFloat64}}}},
		"many":          many,
		"no difference": {{"a", []Point{{1, 1e12}, {1, 1e12}}}},
		"one rounding":  {{"a", []Point{{1, 2}, {1e12, math.Nextafter(2, 3)}}}},
		"tiny":          {{"a", []Point{{0, 0}, {1e-300, 1e-300}}}},
	} {
		var a, b bytes.Buffer
		if err := WriteCurves(&a, "Loss & <title>", curves); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if err := WriteCurves(&b, "Loss & <title>", curves); err != nil || !bytes.Equal(a.Bytes(), b.Bytes()) {
			t.Errorf("%s: drawn twice, it differs (%v)", name, err)
		}
		if a.Len() > 100_000 {
			t.Errorf("%s: %d bytes", name, a.Len())
		}
		dec := xml.NewDecoder(&a)
		for {
			if _, err := dec.Token(); err == io.EOF {
				break
			} else if err != nil {
				t.Errorf("%s: not well-formed XML: %v", name, err)
				break
			}
		}
	}
}

func TestThinKeepsTheMean(t *testing.T) {
	points := make([]Point, 1201)
	for i := range points {
		points[i] = Point{float64(i), float64(i % 3)}
	}
	got := thin(points, 600)
	if len(got) > 600 || got[0].X != 1 || got[0].Y != 1 || got[400].X != 1200 || got[400].Y != 0 {
		t.Errorf("%d points, first %v, last %v", len(got), got[0], got[len(got)-1])
	}
}
