package pipeline

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mito/backend"
	"mito/backend/cpu"
	"mito/engine/checkpoint"
	"mito/engine/compress/quant"
	"mito/engine/eval"
	"mito/engine/files"
	"mito/engine/report"
	"mito/engine/runs"
	"mito/engine/student"
	"mito/engine/task"
)

// Every save waits for the disk, and the tests save some hundred times a few MB that nobody keeps: where the system has
// a folder in memory, they go there.
func TestMain(m *testing.M) {
	if dir, err := os.MkdirTemp("/dev/shm", "mito-test-"); err == nil {
		os.Setenv("TMPDIR", dir)
		defer os.RemoveAll(dir)
	}
	m.Run()
}

// tiny is a preset that runs in a second.
func tiny(t testing.TB, workload string) Preset {
	t.Helper()
	p, err := PresetOf(workload, "quick")
	if err != nil {
		t.Fatal(err)
	}
	p.Games = 20
	p.Student.Shape, p.Student.Rows, p.Student.Train.Steps = "micro", 32, 12
	if p.Teacher.Shape != "" {
		p.Teacher.Shape, p.Teacher.Rows, p.Teacher.Train.Steps = "micro", 32, 8
	}
	p.Task.Positions = 300
	if workload == "connect4" {
		p.Task.Depth, p.Opponents = 4, []string{"random", "depth-4"}
	}
	return p
}

// once measures speeds as briefly as can be.
var once = eval.MeasureOptions{Runs: 1, Time: 1}

func openBackend(t testing.TB) backend.Backend {
	t.Helper()
	b := cpu.New(2)
	t.Cleanup(func() { b.Close() })
	return b
}

func openTask(t testing.TB, name string, p Preset) *Workload {
	t.Helper()
	w, err := OpenTask(t.Context(), name, p.Task, nil)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func TestRunOnEveryWorkload(t *testing.T) {
	corpus := filepath.Join(t.TempDir(), "corpus.txt")
	if err := os.WriteFile(corpus, []byte(strings.Repeat("the quick brown fox jumps over the lazy dog; ", 60)), 0o666); err != nil {
		t.Fatal(err)
	}
	for _, workload := range append(task.Names(), "examples", "list", "text") {
		t.Run(workload, func(t *testing.T) {
			p := tiny(t, workload)
			var w *Workload
			var err error
			switch workload {
			case "text":
				w, err = OpenText(corpus, TextOptions{Context: 16, HeldOut: 0.2})
			case "list":
				w, err = OpenLines(sums(t), ExamplesOptions{HeldOut: 0.2, Seed: 1})
			case "examples":
				w, err = OpenExamples(t.Context(), sums(t), ExamplesOptions{HeldOut: 0.2, Seed: 1})
			default:
				w = openTask(t, workload, p)
			}
			if err != nil {
				t.Fatal(err)
			}
			out := filepath.Join(t.TempDir(), "out")
			r, err := Run(context.Background(), openBackend(t), w, Options{Preset: p, Out: out, Seed: 1, Threads: 2, Measure: once}, Silent{})
			if err != nil {
				t.Fatal(err)
			}
			checkReport(t, r, out, workload != "text" && workload != "list")
			checkShown(t, r, workload)
			if want := len(p.Opponents); want > 0 && len(r.Compressed.Scores) != want {
				t.Errorf("%d scores for %d opponents", len(r.Compressed.Scores), want)
			}
		})
	}
}

// checkShown checks the games and texts of a report.
func checkShown(t *testing.T, r *report.Report, workload string) {
	t.Helper()
	if workload == "text" {
		if len(r.Samples) != len(r.Candidates) || len(r.Samples[0].Text) != shownTokens || !strings.Contains(fox+fox, r.Samples[0].Prompt) {
			t.Errorf("texts %+v", r.Samples)
		}
		return
	}
	if workload == "list" {
		if len(r.Replays)+len(r.Samples) > 0 {
			t.Errorf("games or texts of a list: %+v %+v", r.Replays, r.Samples)
		}
		return
	}
	if workload == "commands" || workload == "examples" {
		if len(r.Samples) != shownAnswers || !strings.HasSuffix(r.Samples[0].Prompt, "=") || r.Samples[0].How == "" || len(r.Replays) > 0 {
			t.Errorf("answers %+v", r.Samples)
		}
		return
	}
	if len(r.Replays) == 0 || len(r.Samples) > 0 {
		t.Fatalf("%d games, %d texts", len(r.Replays), len(r.Samples))
	}
	for _, g := range r.Replays {
		f := g.Frames[0]
		if !strings.HasPrefix(g.Name, "compressed") || g.Cols > 0 && len(f.Cells)%g.Cols != 0 || f.By == "" || f.Move == "" || g.Frames[len(g.Frames)-1].By != "" {
			t.Errorf("game %+v", g)
		}
		if workload == "puzzle8" || workload == "mastermind" || workload == "lottery" {
			continue
		}
		// The model's stones are x whoever is to move.
		if x := strings.Count(g.Frames[1].Cells, "x"); g.Cols == 3 && (x == 1) != (f.By == "model") {
			t.Errorf("after a move of the %s the board is %q", f.By, g.Frames[1].Cells)
		}
	}
}

// checkReport checks what scripts rely on: files that are there, a student that loads to the digest of the report.
func checkReport(t *testing.T, r *report.Report, out string, scored bool) {
	t.Helper()
	for _, name := range []string{report.JSONName, report.MarkdownName, report.CurvesName, report.HTMLName} {
		if info, err := os.Stat(filepath.Join(out, name)); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
	if text, err := os.ReadFile(filepath.Join(out, report.MarkdownName)); err != nil {
		t.Error(err)
	} else {
		lines := []string{"| `data.", "| `distill.alpha", "| `student.train.steps", "| `student.init.fan_in"}
		if r.Settings["teachers"] == 0 {
			lines[1] = "- No teacher: "
		}
		for _, line := range lines {
			if !strings.Contains(string(text), "\n"+line) {
				t.Errorf("the report lacks a line that begins with %q", line)
			}
		}
	}
	saved, err := report.Read(filepath.Join(out, report.JSONName))
	if err != nil {
		t.Fatal(err)
	}
	if saved.Compressed.Digest != r.Compressed.Digest {
		t.Error("report.json has another digest than the run")
	}
	w, err := quant.Load(filepath.Join(out, r.Compressed.Dir))
	if err != nil {
		t.Fatal(err)
	}
	m, err := student.New(w, student.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if digest, err := student.Digest(m, student.DigestOptions{}); err != nil || digest != r.Compressed.Digest {
		t.Errorf("the saved student has digest %s (%v), the report says %s", digest, err, r.Compressed.Digest)
	}
	models := map[string]report.Model{"student": r.Student, "compressed": r.Compressed.Model}
	if r.Settings["teachers"] != 0 {
		models["teacher"] = r.Teacher
	}
	for name, m := range models {
		if m.Params == 0 || m.Bytes == 0 || !m.LossNats.Measured() || !m.BitsPerByte.Measured() {
			t.Errorf("%s: %+v", name, m)
		}
		if scored != (len(m.Score) > 0 && !bytes.Equal(m.Score, []byte("null"))) {
			t.Errorf("%s: score %s", name, m.Score)
		}
	}
	if r.Compressed.Bytes*3 > r.Student.Bytes {
		t.Errorf("the INT8 student has %d bytes, its float %d", r.Compressed.Bytes, r.Student.Bytes)
	}
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	for _, field := range []string{"task", "seed", "backend", "seconds", "teacher", "student", "compressed", "speed"} {
		if !bytes.Contains(text, []byte(`"`+field+`":`)) {
			t.Errorf("the JSON lacks %q", field)
		}
	}
}

// stopAt cancels a run when a stage has done so many steps, as ctrl-C does.
type stopAt struct {
	Silent
	stage, current string
	step           int
	cancel         context.CancelFunc
}

func (s *stopAt) Start(stage string, _ int) { s.current = stage }
func (s *stopAt) Update(done int, _ string) {
	if s.current == s.stage && done >= s.step {
		s.cancel()
	}
}

// A pipeline that was stopped anywhere and resumed ships bitwise the student of one that was not.
func TestResumedPipelineShipsTheSameBits(t *testing.T) {
	p := tiny(t, "tictactoe")
	p.Teacher.Train.LogEvery, p.Student.Train.LogEvery = 1, 1
	run := func(ctx context.Context, out string, resume bool, progress Progress) (*report.Report, error) {
		return Run(ctx, openBackend(t), openTask(t, "tictactoe", p), Options{Preset: p, Out: out, Seed: 3, Threads: 1, Resume: resume, Measure: once}, progress)
	}
	whole, err := run(context.Background(), filepath.Join(t.TempDir(), "whole"), false, Silent{})
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []struct {
		stage string
		step  int
	}{{"teacher", 3}, {"student", 5}} {
		out := filepath.Join(t.TempDir(), "part")
		ctx, cancel := context.WithCancel(context.Background())
		_, err := run(ctx, out, false, &stopAt{stage: at.stage, step: at.step, cancel: cancel})
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("stopped in %s: %v", at.stage, err)
		}
		if _, err := run(context.Background(), out, false, Silent{}); err == nil {
			t.Error("a folder that holds a run was begun anew without --resume")
		}
		again, err := run(context.Background(), out, true, Silent{})
		if err != nil {
			t.Fatal(err)
		}
		if again.Compressed.Digest != whole.Compressed.Digest {
			t.Errorf("stopped in %s at step %d and resumed: another student", at.stage, at.step)
		}
		records, err := report.ReadMetrics(filepath.Join(out, "teacher", runs.MetricsName))
		if err != nil {
			t.Fatal(err)
		}
		if n := len(report.Points(records, "loss/train")); n != p.Teacher.Train.Steps {
			t.Errorf("metrics of the resumed teacher have %d steps, want %d", n, p.Teacher.Train.Steps)
		}
	}
}

func TestAssistantAndSeveralTeachers(t *testing.T) {
	p := tiny(t, "tictactoe")
	out := filepath.Join(t.TempDir(), "out")
	r, err := Run(context.Background(), openBackend(t), openTask(t, "tictactoe", p),
		Options{Preset: p, Out: out, Seed: 1, Threads: 1, Teachers: 2, Assistant: "mini", Measure: once}, Silent{})
	if err != nil {
		t.Fatal(err)
	}
	checkReport(t, r, out, true)
	for _, name := range []string{"teacher", "teacher-2", "assistant", "student"} {
		if _, err := checkpoint.Open(filepath.Join(out, name, runs.ModelDir)); err != nil {
			t.Error(err)
		}
	}
}

func TestForeignFolderIsRefused(t *testing.T) {
	out := t.TempDir()
	precious := filepath.Join(out, "thesis.txt")
	if err := os.WriteFile(precious, []byte("years"), 0o666); err != nil {
		t.Fatal(err)
	}
	p := tiny(t, "tictactoe")
	_, err := Run(context.Background(), openBackend(t), openTask(t, "tictactoe", p), Options{Preset: p, Out: out, Seed: 1}, Silent{})
	var foreign *files.ForeignError
	if !errors.As(err, &foreign) {
		t.Errorf("got %v, want a *files.ForeignError", err)
	}
	if text, err := os.ReadFile(precious); err != nil || string(text) != "years" {
		t.Error("the file in the folder was touched")
	}
}

func TestDistillRefusesAnotherTokenizer(t *testing.T) {
	p := tiny(t, "tictactoe")
	b := openBackend(t)
	dir := filepath.Join(t.TempDir(), "teacher")
	w := openTask(t, "tictactoe", p)
	shape, err := ShapeOf("micro")
	if err != nil {
		t.Fatal(err)
	}
	o := FitOptions{Name: "teacher", Dir: dir, Config: shape.At(w.Tokenizer.VocabSize(), w.Context), Init: RecipeOf("tictactoe").Init, Train: p.Teacher.Train, Rows: 8, Split: task.Train, Judge: task.Test}
	o.Train.Steps = 1
	if _, err := Fit(context.Background(), b, w, o, Silent{}); err != nil {
		t.Fatal(err)
	}
	teacher, err := OpenTeacher(b, dir)
	if err != nil {
		t.Fatal(err)
	}
	defer teacher.Close()
	other := openTask(t, "puzzle8", tiny(t, "puzzle8"))
	o.Dir, o.Teachers, o.Distill = filepath.Join(t.TempDir(), "student"), []*Teacher{teacher}, p.Distill
	o.Config = shape.At(other.Tokenizer.VocabSize(), other.Context)
	if _, err := Fit(context.Background(), b, other, o, Silent{}); err == nil || !strings.Contains(err.Error(), "tokenizer") {
		t.Errorf("got %v, want a refusal that names the tokenizers", err)
	}
}

// A pipeline takes a teacher as it is: no teacher is trained, its loss is of its own tokens, and the bits per byte compare.
func TestGivenTeacher(t *testing.T) {
	text := strings.Repeat("the cat sat on the mat, the dog ate the rat. ", 60)
	teacher := fitTiny(t, openText(t, text, TextOptions{Context: 16, HeldOut: 0.2, BPE: 270}), FitOptions{Dir: filepath.Join(t.TempDir(), "t")}).Dir
	p := tiny(t, "text")
	w := openText(t, text, TextOptions{Context: 8, HeldOut: 0.2})
	p.Distill.Temperature = 1
	out := filepath.Join(t.TempDir(), "out")
	o := Options{Preset: p, Out: out, Seed: 1, Threads: 2, Given: []string{teacher}, Measure: once}
	r, err := Run(context.Background(), openBackend(t), w, o, Silent{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(out, TeacherDir)); err == nil {
		t.Error("a teacher was trained")
	}
	nats := float64(r.Teacher.LossNats) / math.Ln2
	if bits := float64(r.Teacher.BitsPerByte); !(bits > 0 && bits < nats) || !(r.Compressed.BitsPerByte > 0) || r.Teacher.Dir == "" {
		t.Errorf("bits per byte %v of %v nats; compressed %v", bits, nats, r.Compressed.BitsPerByte)
	}
	if !strings.Contains(strings.Join(r.Notes, " "), "compare bits per byte") {
		t.Errorf("nothing says that the losses cannot be compared: %v", r.Notes)
	}
	o.Resume = true
	if again, err := Run(context.Background(), openBackend(t), w, o, Silent{}); err != nil || again.Compressed.Digest != r.Compressed.Digest {
		t.Errorf("resumed: %v", err)
	}
	o.Out, o.Given, o.Resume = filepath.Join(t.TempDir(), "none"), []string{"nowhere"}, false
	if _, err := Run(context.Background(), openBackend(t), w, o, Silent{}); err == nil {
		t.Error("no teacher, and no error")
	}
}

func TestUnknownNames(t *testing.T) {
	var unknown *UnknownError
	if _, err := PresetOf("tictactoe", "huge"); !errors.As(err, &unknown) || len(unknown.Known) == 0 {
		t.Errorf("preset: %v", err)
	}
	if _, err := ShapeOf("huge"); !errors.As(err, &unknown) {
		t.Errorf("model preset: %v", err)
	}
	for _, p := range Presets() {
		for i, s := range []Stage{p.Student, p.Teacher} {
			if i > 0 && s.Shape == "" { // no teacher
				continue
			}
			shape, err := ShapeOf(s.Shape)
			if err != nil {
				t.Fatal(err)
			}
			if err := shape.At(16, 16).Validate(); err != nil {
				t.Error(err)
			}
			if err := s.Train.Validate(); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestResolvedModelIsTheRunsResult(t *testing.T) {
	if got := runs.ResolveModel(t.TempDir()); filepath.Base(got) == runs.ModelDir {
		t.Errorf("a folder without a model resolves to %s", got)
	}
}
