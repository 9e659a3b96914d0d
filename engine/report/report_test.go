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
	"reflect"
	"slices"
	"strings"
	"testing"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"

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
	teacher := Candidate{
		Name: "teacher", Model: Model{Dir: "teacher", Params: 1234567, Bytes: 4938268, LossNats: 0.25, BitsPerByte: 0.36067},
		ActiveBytes: 4938268, Scheme: "float32", Bits: 32, Speed: 8123.4, Disturbed: true,
	}
	student := Candidate{
		Name: "student", Model: Model{Dir: "student", Params: 50000, Bytes: 200000, LossNats: 0.26, BitsPerByte: NotMeasured},
		ActiveBytes: 150000, Scheme: "float32", Bits: 32, Speed: 41234.5, Parent: "teacher",
	}
	compressed := Candidate{
		Name: "compressed", Model: Model{Dir: "compressed", Params: 50000, Bytes: 52000, LossNats: 0.2601, BitsPerByte: 0.37525},
		ActiveBytes: 40000, Scheme: "int8", Bits: 8, Speed: NotMeasured, Parent: "student",
		Digest: strings.Repeat("ab", 32), Variants: []string{"generic", "avx2"},
	}
	r := &Report{
		Schema: Schema, Task: "tictactoe", Seed: 1, Backend: "cpu", Seconds: 61.25,
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
		compressed.AddScore("against random: won/drawn/lost", "12/5/3 of 20 | 95%", games{20, 12, 5, 3, "random", 0.99}),
		compressed.AddScore("against perfect: won/drawn/lost", "0/17/3 of 20", games{20, 0, 17, 3, "perfect", 0.99}),
		student.AddScore("against perfect: won/drawn/lost", "0/20/0 of 20", games{20, 0, 20, 0, "perfect", 0.99}),
		r.Rows[0].AddScore("against random: won/drawn/lost", "9/9/2 of 20", games{20, 9, 9, 2, "random", 0.99}),
	); err != nil {
		t.Fatal(err)
	}
	r.SetCandidates([]Candidate{teacher, student, compressed})
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
		"":           {"task", "seed", "backend", "seconds", "teacher", "student", "compressed", "speed", "schema", "candidates", "front"},
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
	if got["schema"] != 2.0 {
		t.Errorf("schema %v", got["schema"])
	}
	list := got["candidates"].([]any)
	for i, want := range []string{"teacher", "student", "compressed"} {
		c := list[i].(map[string]any)
		for _, f := range append(slices.Clone(model), "name", "active_bytes", "scheme", "bits", "sparsity", "tok_s", "disturbed", "digest", "parent") {
			if _, ok := c[f]; !ok {
				t.Errorf("candidate %d lacks %s", i, f)
			}
		}
		if c["name"] != want || c["loss_nats"] != got[want].(map[string]any)["loss_nats"] || c["tok_s"] != got["speed"].(map[string]any)[want+"_tok_s"] {
			t.Errorf("candidate %d is %v, the report says %v", i, c, got[want])
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
	curves := []Series{{Name: "teacher", Points: []Point{{1, 3}, {2, 2}}}, {Name: "student", Points: []Point{{1, 3.5}, {2, 2.5}}}}
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
	r.Task, r.Notes, r.Command = evil, []string{evil}, evil
	c := &r.Candidates[0]
	c.Name, c.Dir, c.Parent, c.Scheme, c.Digest = evil, evil, evil, evil, evil
	c.Scores = []Result{{Name: evil, Text: evil}}
	r.Settings = map[string]any{evil: evil}
	c.Score = json.RawMessage(`{"a":"|"}`)
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
		many[i] = Series{Name: "run", Points: []Point{{0, float64(i)}, {1, float64(i) + 1}}}
	}
	for name, curves := range map[string][]Series{
		"two":           {{Name: "teacher <&>", Points: long[:50]}, {Name: "student", Points: long[:90]}},
		"long":          {{Name: "teacher", Points: long}},
		"none":          nil,
		"empty":         {{Name: "teacher", Points: nil}},
		"one point":     {{Name: "teacher", Points: []Point{{5, 2}}}},
		"constant":      {{Name: "teacher", Points: []Point{{1, 2}, {2, 2}, {3, 2}}}},
		"not finite":    {{Name: "teacher", Points: []Point{{1, math.NaN()}, {2, math.Inf(1)}, {3, 2}, {math.NaN(), 1}}}},
		"only NaN":      {{Name: "teacher", Points: []Point{{1, math.NaN()}}}},
		"extreme":       {{Name: "teacher", Points: []Point{{1, -math.MaxFloat64}, {2, math.MaxFloat64}, {3, math.SmallestNonzeroFloat64}}}},
		"many":          many,
		"no difference": {{Name: "a", Points: []Point{{1, 1e12}, {1, 1e12}}}},
		"one rounding":  {{Name: "a", Points: []Point{{1, 2}, {1e12, math.Nextafter(2, 3)}}}},
		"tiny":          {{Name: "a", Points: []Point{{0, 0}, {1e-300, 1e-300}}}},
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

// The legend lies beside the curves, not over them, and has room for its names.
func TestLegendOutside(t *testing.T) {
	points := []Point{{1, 3}, {2, 2}}
	p, legend, err := draft("x", []Series{{Name: "teacher", Points: points}, {Name: "student without the test positions", Points: points, Train: points}})
	if err != nil || p == nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(p.Legend, plot.New().Legend) {
		t.Error("the plot draws a legend of its own")
	}
	c := draw.New(vgsvg.New(pictureWidth, pictureHeight))
	left, right := layout(c, legend.widest)
	if left.Max.X > right.Min.X {
		t.Errorf("curves to %v, legend from %v", left.Max.X, right.Min.X)
	}
	if right.Max.X-right.Min.X < legend.widest || left.Max.X-left.Min.X < pictureWidth/2 {
		t.Errorf("legend %v wide of %v, curves %v", right.Max.X-right.Min.X, legend.widest, left.Max.X-left.Min.X)
	}
}

// The axis is logarithmic where the losses are of several sizes and none is zero.
func TestLogAxis(t *testing.T) {
	for _, c := range []struct {
		y   []float64
		log bool
	}{{[]float64{4, 0.5}, true}, {[]float64{2, 1}, false}, {[]float64{4, 0}, false}, {[]float64{4, -1}, false}, {[]float64{3}, false}, {[]float64{1e12, minLog}, true}} {
		var points []Point
		for i, y := range c.y {
			points = append(points, Point{float64(i), y})
		}
		for _, s := range []Series{{Name: "a", Points: points}, {Name: "a", Train: points}} {
			p, _, err := draft("x", []Series{s})
			if err != nil {
				t.Fatal(err)
			}
			if _, log := p.Y.Scale.(plot.LogScale); log != c.log {
				t.Errorf("%v: logarithmic %v", c.y, log)
			}
			if ticks := p.Y.Tick.Marker.Ticks(p.Y.Min, p.Y.Max); len(ticks) < 2 {
				t.Errorf("%v: %d ticks", c.y, len(ticks))
			}
		}
	}
	var labels []string
	for _, tick := range logTicks(0.3, 12) {
		labels = append(labels, tick.Label)
	}
	if got := strings.Join(labels, " "); got != "0.5 1 2 5 10" {
		t.Errorf("ticks %s", got)
	}
}

func TestFront(t *testing.T) {
	c := func(name string, loss, speed Number, bytes int64) Candidate {
		return Candidate{Name: name, Model: Model{LossNats: loss, BitsPerByte: NotMeasured, Bytes: bytes}, Speed: speed}
	}
	text := func(name string, loss, perByte Number) Candidate {
		return Candidate{Name: name, Model: Model{LossNats: loss, BitsPerByte: perByte, Bytes: 100}, Speed: 10}
	}
	for _, tc := range []struct {
		list []Candidate
		want string
	}{
		{nil, ""},
		{[]Candidate{text("long tokens", 3, 1), text("characters", 2, 1.5)}, "long tokens"},
		{[]Candidate{c("a", 1, 10, 100), c("b", 2, 20, 50), c("c", 3, 30, 10)}, "a b c"},
		{[]Candidate{c("a", 1, 10, 100), c("worse loss", 2, 10, 100), c("larger", 1, 10, 101), c("slower", 1, 9, 100)}, "a"},
		{[]Candidate{c("a", 1, 10, 100), c("the same", 1, 10, 100)}, "a the same"},
		{[]Candidate{c("a", 1, 10, 100), c("no speed", 0.5, NotMeasured, 1), c("no loss", NotMeasured, 99, 1), c("no bytes", 0.1, 99, 0)}, "a"},
		{[]Candidate{c("better in all", 1, 10, 10), c("worse in all", 2, 9, 11), c("only faster", 2, 11, 11)}, "better in all only faster"},
	} {
		if got := strings.Join(Front(tc.list), " "); got != tc.want {
			t.Errorf("%v: front %q, want %q", tc.list, got, tc.want)
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
