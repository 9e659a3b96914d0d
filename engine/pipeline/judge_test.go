package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"mito/engine/arch"
	"mito/engine/compress/quant"
	"mito/engine/data"
	"mito/engine/decode"
	"mito/engine/eval"
	"mito/engine/quiet"
	"mito/engine/report"
	"mito/engine/runs"
	"mito/engine/task"
)

// lossOf is the loss of a saved model in the runtime that decodes.
func lossOf(t *testing.T, dir string, e data.Eval) data.Loss {
	t.Helper()
	rt, err := decode.Open(dir, decode.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer rt.Close()
	loss, err := eval.Loss(t.Context(), rt, e)
	if err != nil {
		t.Fatal(err)
	}
	return loss
}

// Every loss of a report is that of the saved model in the runtime that decodes, on the split that its run was judged by;
// the notes and the baseline are computed from the same numbers.
func TestReportedNumbers(t *testing.T) {
	p := tiny(t, "tictactoe")
	w, out := openTask(t, "tictactoe", p), filepath.Join(t.TempDir(), "out")
	const seed = 5
	r, err := Run(context.Background(), openBackend(t), w, Options{Preset: p, Out: out, Seed: seed, Threads: 2, Measure: once}, Silent{})
	if err != nil {
		t.Fatal(err)
	}
	evals := map[task.Split]data.Eval{}
	for _, split := range []task.Split{task.All, task.Test} {
		if evals[split], err = w.Eval(split, evalRows); err != nil {
			t.Fatal(err)
		}
	}
	check := func(name string, m report.Model, split task.Split) {
		t.Helper()
		loss := lossOf(t, filepath.Join(out, m.Dir), evals[split])
		if float64(m.LossNats) != loss.PerToken() || float64(m.BitsPerByte) != loss.BitsPerByte() {
			t.Errorf("%s: loss %v and %v bits per byte, decoding it has %v and %v", name, m.LossNats, m.BitsPerByte, loss.PerToken(), loss.BitsPerByte())
		}
	}
	for _, c := range r.Candidates {
		check(c.Name, c.Model, task.All)
		// The last evaluation in training sums float32 losses of the training backend: the same number, rounded otherwise.
		if c.Scheme == "float32" {
			records, err := report.ReadMetrics(filepath.Join(out, c.Name, runs.MetricsName))
			if err != nil {
				t.Fatal(err)
			}
			points := report.Points(records, "loss/eval")
			if len(points) < 2 {
				t.Errorf("%s: %d evaluations make its curve", c.Name, len(points))
			}
			if last := points[len(points)-1].Y; math.Abs(last-float64(c.LossNats)) > 1e-5*last {
				t.Errorf("%s: evaluated %.9f in training, decoding it has %.9f", c.Name, last, c.LossNats)
			}
		}
	}
	rows := map[string]report.Row{}
	for _, row := range r.Rows {
		rows[row.Name] = row
	}
	check("alone", rows["student alone"].Model, task.All)
	check("held out", rows["student without the test positions"].Model, task.Test)

	if got := change(0.5, 0.55); got != "+10.000%" {
		t.Errorf("from 0.5 to 0.55 nats: %s", got)
	}
	note := fmt.Sprintf("INT8 against its float student: loss %s.", change(r.Student.LossNats, r.Compressed.LossNats))
	if notes := strings.Join(r.Notes, "\n"); !strings.Contains(notes, note) {
		t.Errorf("the notes do not say %q:\n%s", note, notes)
	}

	baseline, err := w.Task.Score(t.Context(), task.RandomPlayer(seed+1), task.ScoreOptions{Games: p.Games, Opponent: w.Task.Opponents()[0], Seed: seed})
	if err != nil {
		t.Fatal(err)
	}
	want, err := json.Marshal(baseline)
	if err != nil {
		t.Fatal(err)
	}
	if got := rows["random moves"]; string(got.Score) != string(want) || len(got.Scores) != 1 {
		t.Errorf("random moves scored %s (%d scores), want %s", got.Score, len(got.Scores), want)
	}

	if r.Schema != report.Schema || strings.Join(r.Front, " ") != strings.Join(report.Front(r.Candidates), " ") || len(r.Front) == 0 {
		t.Errorf("schema %d, front %v", r.Schema, r.Front)
	}
	if c := r.Candidates[len(r.Candidates)-1]; c.Bits != 8 || c.Scheme != "int8" || c.ActiveBytes != c.Bytes || c.Digest != r.Compressed.Digest {
		t.Errorf("INT8: %+v", c)
	}
}

// A speed that others disturbed is marked, and measured again before while there is patience.
func TestDisturbedSpeedsAreMarked(t *testing.T) {
	p := tiny(t, "tictactoe")
	w, out := openTask(t, "tictactoe", p), t.TempDir()
	f := fitTiny(t, w, FitOptions{Dir: filepath.Join(out, "m")})
	var ticks quiet.Load
	for _, busy := range []bool{true, false} {
		j := &job{Options: Options{Preset: p, Out: out, Threads: 1, Measure: once}, w: w, p: Silent{}, judges: task.Test, evals: map[task.Split]data.Eval{},
			made: map[string]made{"m": {dir: f.Dir}}, watch: quiet.Watch{Clock: func() (quiet.Load, bool) {
				ticks.Total += 100
				if busy {
					ticks.Busy += 100
				}
				return ticks, true
			}, Pause: func() {}}}
		j.Preset.Games = 2
		c, err := j.measure(t.Context(), entry{name: "m", judge: task.Test})
		if err != nil || c.Disturbed != busy || !c.Speed.Measured() {
			t.Errorf("busy %v: disturbed %v, %v tok/s, %v", busy, c.Disturbed, c.Speed, err)
		}
	}
}

// A table that is only looked up gives one row to a token.
func TestActiveBytes(t *testing.T) {
	p := tiny(t, "tictactoe")
	w := openTask(t, "tictactoe", p)
	for name, untied := range map[string]bool{"micro": false, "llama": true, "gpt": false} {
		shape, err := ShapeOf(name)
		if err != nil {
			t.Fatal(err)
		}
		c := shape.At(w.Tokenizer.VocabSize(), w.Context)
		f := fitTiny(t, w, FitOptions{Dir: filepath.Join(t.TempDir(), "m"), Config: c})
		rt, err := decode.Open(f.Dir, decode.Options{})
		if err != nil {
			t.Fatal(err)
		}
		want := int64(rt.Bytes())
		if untied {
			want -= int64(4 * (c.VocabSize - 1) * c.HiddenSize)
		}
		if name == "gpt" { // learned positions
			want -= int64(4 * (c.Context - 1) * c.HiddenSize)
		}
		if got, err := activeBytes(f.Dir, rt, int64(rt.Bytes())); err != nil || got != want {
			t.Errorf("%s: %d bytes active of %d, want %d (%v)", name, got, rt.Bytes(), want, err)
		}
		if err := rt.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// In a student a row of a table that is only looked up is its weights and its scale, or its codes, a factor of a byte for each 32 of them and its scale; every layer may have such a table.
func TestActiveBytesOfStudents(t *testing.T) {
	w := openTask(t, "tictactoe", tiny(t, "tictactoe"))
	for _, x := range []struct {
		shape string
		ple   int
		bits  string
		row   func(c arch.Config) int // what the rows of the tables take, together
	}{
		{"micro", 0, "", func(arch.Config) int { return 0 }},
		{"llama", 0, "", func(c arch.Config) int { return c.HiddenSize + 4 }},
		{"llama", 0, "4", func(c arch.Config) int { return c.HiddenSize/2 + c.HiddenSize/32 + 4 }},
		{"micro", 8, "", func(c arch.Config) int { return c.Layers * (8 + 4) }},
		{"micro", 8, "4", func(c arch.Config) int { return c.Layers * (8/2 + 1 + 4) }},
	} {
		shape, err := ShapeOf(x.shape)
		if err != nil {
			t.Fatal(err)
		}
		c := shape.At(w.Tokenizer.VocabSize(), w.Context)
		c.PLEDim = x.ple
		f := fitTiny(t, w, FitOptions{Dir: filepath.Join(t.TempDir(), "m"), Config: c})
		var o quant.Options
		if x.bits != "" {
			if o.Bits, err = quant.ParseRules(x.bits); err != nil {
				t.Fatal(err)
			}
		}
		dir := filepath.Join(t.TempDir(), "q")
		if _, _, err := quantize(t.Context(), f.Dir, dir, o, runs.CheckReplaceable); err != nil {
			t.Fatal(err)
		}
		rt, err := decode.Open(dir, decode.Options{})
		if err != nil {
			t.Fatal(err)
		}
		stored, err := storedBytes(dir, rt)
		if err != nil {
			t.Fatal(err)
		}
		want := stored - int64((c.VocabSize-1)*x.row(c))
		if got, err := activeBytes(dir, rt, stored); err != nil || got != want {
			t.Errorf("%s, per-layer embeddings of %d, bits %q: %d bytes active of %d, want %d (%v)", x.shape, x.ple, x.bits, got, stored, want, err)
		}
		if err := rt.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// fitTiny fits a model of one step.
func fitTiny(t *testing.T, w *Workload, o FitOptions) *Fitted {
	t.Helper()
	f, err := Fit(context.Background(), openBackend(t), w, tinyFit(t, w, o), Silent{})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// tinyFit fills the options of a fitting of one step of a micro model.
func tinyFit(t *testing.T, w *Workload, o FitOptions) FitOptions {
	t.Helper()
	r := RecipeOf("tictactoe")
	if o.Config.Layers == 0 {
		shape, err := ShapeOf("micro")
		if err != nil {
			t.Fatal(err)
		}
		o.Config = shape.At(w.Tokenizer.VocabSize(), w.Context)
	}
	if o.Train.Steps == 0 {
		o.Train = r.Train
		o.Train.Steps = 1
	}
	o.Name, o.Init, o.Rows, o.Split, o.Judge = "tiny", r.Init, 8, task.Train, task.Test
	return o
}

// An evaluation divides by exactly the weight of its split, and its loss is that of the decoding runtime but for rounding.
func TestEvaluator(t *testing.T) {
	p := tiny(t, "tictactoe")
	w := openTask(t, "tictactoe", p)
	f := fitTiny(t, w, FitOptions{Dir: filepath.Join(t.TempDir(), "m")})
	b := openBackend(t)
	m, err := OpenTeacher(b, f.Dir)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	for _, split := range []task.Split{task.Train, task.Test} {
		eval, err := w.Eval(split, 7)
		if err != nil {
			t.Fatal(err)
		}
		e, err := newEvaluator(m.Model, eval)
		if err != nil {
			t.Fatal(err)
		}
		got, err := e.loss(t.Context())
		if err = errors.Join(err, e.Close()); err != nil {
			t.Fatal(err)
		}
		want := lossOf(t, f.Dir, eval)
		if got.Weight != want.Weight || got.Bytes != want.Bytes || math.Abs(got.Nats-want.Nats) > 1e-5*want.Nats {
			t.Errorf("%s: %+v, decoding has %+v", split, got, want)
		}
	}
}

// The loss that a run is judged by does not depend on how many sequences are evaluated at once.
func TestFitRows(t *testing.T) {
	for length, want := range map[int]int{0: 64, 1: 64, 64: 64, 65: 63, 1024: 4, 4096: 1, 1 << 20: 1} {
		if got := fitRows(length); got != want {
			t.Errorf("context %d: %d rows, want %d", length, got, want)
		}
	}
	w := openText(t, strings.Repeat(fox, 60), TextOptions{Context: 16, HeldOut: 0.2})
	f := fitTiny(t, w, FitOptions{Dir: filepath.Join(t.TempDir(), "m")})
	m, err := OpenTeacher(openBackend(t), f.Dir)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	for _, rows := range []int{1, 3, evalRows} {
		eval, err := w.Eval(task.Test, rows)
		if err != nil {
			t.Fatal(err)
		}
		e, err := newEvaluator(m.Model, eval)
		if err != nil {
			t.Fatal(err)
		}
		loss, err := e.loss(t.Context())
		if err = errors.Join(err, e.Close()); err != nil || loss != f.Loss {
			t.Errorf("%d rows at once: %v (%v), the run ended at %v", rows, loss, err, f.Loss)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if e, err = newEvaluator(m.Model, eval); err != nil {
			t.Fatal(err)
		}
		if _, err := e.loss(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("stopped: %v", err)
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestEvalEvery(t *testing.T) {
	for _, c := range []struct{ steps, step, eval, want int }{
		{500, 256, 256, 50},      // cheap: ten evaluations
		{300, 256, 256 * 18, 60}, // a tenth of the time buys five
		{60, 256, 256 * 18, 30},  // two at least
		{1, 256, 256 * 18, 1},
		{2000, 768, 111_540, 500},
	} {
		if got := evalEvery(c.steps, c.step, c.eval); got != c.want {
			t.Errorf("%+v: every %d steps", c, got)
		}
	}
}

// The picture shows cross-entropies, never a distillation's objective.
func TestCurve(t *testing.T) {
	records := []report.Record{
		{Step: 1, Values: map[string]float64{"loss/train": 0.1, "loss/ce": 3, "loss/kd": 0.01}},
		{Step: 1, Values: map[string]float64{"loss/eval": 2.5}},
		{Step: 2, Values: map[string]float64{"loss/train": 0.05, "loss/ce": 2, "loss/kd": 0.02}},
	}
	s := curve("student", false, records)
	if fmt.Sprint(s) != "{student [{1 2.5}] [{1 3} {2 2}]}" {
		t.Errorf("distilled: %v", s)
	}
	for i := range records {
		delete(records[i].Values, "loss/ce")
	}
	if s = curve("student", true, records); fmt.Sprint(s) != "{student (on test positions) [{1 2.5}] [{1 0.1} {2 0.05}]}" {
		t.Errorf("alone: %v", s)
	}
}
