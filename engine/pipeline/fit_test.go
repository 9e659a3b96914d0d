package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mito/engine/checkpoint"
	"mito/engine/compress/quant"
	"mito/engine/data"
	"mito/engine/distill"
	"mito/engine/model"
	"mito/engine/report"
	"mito/engine/runs"
	"mito/engine/task"
	"mito/engine/tokenizer"
	"mito/engine/train"
)

func openText(t *testing.T, text string, o TextOptions) *Workload {
	t.Helper()
	path := filepath.Join(t.TempDir(), "corpus.txt")
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	w, err := OpenText(path, o)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

const fox = "the quick brown fox jumps over the lazy dog; "

// A BPE learns from the training part alone: what is held out must not shape the tokens that it is judged in.
func TestBPELearnsFromTheTrainingPart(t *testing.T) {
	text := strings.Repeat(fox, 40) + strings.Repeat("zyzzyva! ", 50)
	const size = 300
	w := openText(t, text, TextOptions{Context: 16, HeldOut: 0.2, BPE: size})
	train, held, err := data.Split(text, 0.2)
	if err != nil {
		t.Fatal(err)
	}
	want, err := tokenizer.TrainBPE(train.Text, size, tokenizer.EndOfText)
	if err != nil {
		t.Fatal(err)
	}
	all, err := tokenizer.TrainBPE(train.Text+held.Text, size, tokenizer.EndOfText)
	if err != nil {
		t.Fatal(err)
	}
	if want.Hash() == all.Hash() {
		t.Fatal("the held-out part changes nothing: the test could not fail")
	}
	if w.Tokenizer.Hash() != want.Hash() {
		t.Error("the BPE is not that of the training part")
	}
}

// overlapping is a task whose splits share a position.
type overlapping struct{ task.Task }

func (o overlapping) Examples(ctx context.Context, split task.Split) ([]data.Example, error) {
	list, err := o.Task.Examples(ctx, split)
	if err != nil || split != task.Test {
		return list, err
	}
	train, err := o.Task.Examples(ctx, task.Train)
	return append(list, train[3]), err
}

func TestOverlapIsRefused(t *testing.T) {
	tasks, err := task.New("tictactoe", task.Options{Positions: 300, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fromTask(t.Context(), tasks, nil, rowOptions{}); err != nil {
		t.Fatal(err)
	}
	var over *data.OverlapError
	if _, err := fromTask(t.Context(), overlapping{tasks}, nil, rowOptions{}); !errors.As(err, &over) {
		t.Errorf("got %v, want a *data.OverlapError", err)
	}
}

// The end of text is saved with the model, and with its INT8 student.
func TestEndOfTextIsSaved(t *testing.T) {
	w := openText(t, strings.Repeat(fox, 60), TextOptions{Context: 16, HeldOut: 0.2, BPE: 280})
	f := fitTiny(t, w, FitOptions{Dir: filepath.Join(t.TempDir(), "m")})
	small := filepath.Join(t.TempDir(), "int8")
	if _, _, err := Quantize(t.Context(), f.Dir, small, quant.Options{}); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{f.Dir, small} {
		folder, err := checkpoint.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		if g := folder.Generation; g == nil || !slices.Equal([]int32(g.EOS), []int32{w.Tokenizer.EOS()}) || w.Tokenizer.EOS() < 0 {
			t.Errorf("%s: generation %+v, the tokenizer ends with %d", dir, g, w.Tokenizer.EOS())
		}
	}
}

// unsynced is a log that cannot reach the disk.
type unsynced struct{ metricsLog }

var errSync = errors.New("the disk is gone")

func (unsynced) Sync() error { return errSync }

// The log is on the disk before a checkpoint is: what a resumed run goes on from must not be newer than its log.
func TestLogIsSyncedBeforeTheCheckpoint(t *testing.T) {
	w := openTask(t, "tictactoe", tiny(t, "tictactoe"))
	dir := filepath.Join(t.TempDir(), "m")
	fitTiny(t, w, FitOptions{Dir: dir})
	last := filepath.Join(dir, runs.LastDir)
	if err := os.RemoveAll(last); err != nil {
		t.Fatal(err)
	}
	err := withFit(t, w, FitOptions{Dir: dir}, func(f *fit) error {
		log, err := report.OpenMetrics(filepath.Join(t.TempDir(), "log.jsonl"), -1)
		if err != nil {
			return err
		}
		defer log.Close()
		f.metrics = unsynced{log}
		return f.save(false)
	})
	if !errors.Is(err, errSync) {
		t.Errorf("got %v, want the error of the log", err)
	}
	if _, err := checkpoint.Open(last); err == nil {
		t.Error("the checkpoint was written before its log was on the disk")
	}
}

// A student whose vocabulary has the size of its teacher's but other characters is refused: the teacher cannot read them.
func TestDistillComparesTokenizers(t *testing.T) {
	one, two := openText(t, strings.Repeat("abcd", 60), TextOptions{Context: 8, HeldOut: 0.2}), openText(t, strings.Repeat("abce", 60), TextOptions{Context: 8, HeldOut: 0.2})
	if one.Tokenizer.VocabSize() != two.Tokenizer.VocabSize() {
		t.Fatal("the vocabularies have other sizes: the test could not fail")
	}
	b := openBackend(t)
	teacher, err := OpenTeacher(b, fitTiny(t, one, FitOptions{Dir: filepath.Join(t.TempDir(), "t")}).Dir)
	if err != nil {
		t.Fatal(err)
	}
	defer teacher.Close()
	var other *tokenizer.UnknownCharError
	for w, refused := range map[*Workload]bool{one: false, two: true} {
		o := tinyFit(t, w, FitOptions{Dir: filepath.Join(t.TempDir(), "s"), Teachers: []*Teacher{teacher}, Distill: distill.Defaults()})
		if _, err := Fit(context.Background(), b, w, o, Silent{}); errors.As(err, &other) != refused || !refused && err != nil {
			t.Errorf("refused %v: %v", refused, err)
		}
	}
}

// A student of characters or of bytes learns from a teacher with a BPE of its own, one with a BPE does not, and the run goes
// on after a stop with the same bits.
func TestDistillAcrossTokens(t *testing.T) {
	text := strings.Repeat("the cat sat on the mat, the dog ate the rat. ", 40)
	teacherWork := openText(t, text, TextOptions{Context: 16, HeldOut: 0.2, BPE: 270})
	b := openBackend(t)
	teacher, err := OpenTeacher(b, fitTiny(t, teacherWork, FitOptions{Dir: filepath.Join(t.TempDir(), "t")}).Dir)
	if err != nil {
		t.Fatal(err)
	}
	defer teacher.Close()
	bytes, err := Bytes()
	if err != nil {
		t.Fatal(err)
	}
	for name, o := range map[string]TextOptions{"characters": {}, "bytes": {Tokenizer: bytes}} {
		o.Context, o.HeldOut = 8, 0.2
		w := openText(t, text, o)
		for _, cache := range []bool{false, true} {
			fit := tinyFit(t, w, FitOptions{Dir: filepath.Join(t.TempDir(), "s"), Teachers: []*Teacher{teacher}, Distill: distill.Options{Temperature: 1, Alpha: 0.5, TopK: 4}, Cache: cache})
			f, err := Fit(context.Background(), b, w, fit, Silent{})
			if err != nil || !(f.Loss.PerToken() < 6) {
				t.Fatalf("%s, cache %v: %v, %v", name, cache, f, err)
			}
			records, err := report.ReadMetrics(filepath.Join(fit.Dir, runs.MetricsName))
			if kd := report.Points(records, "loss/kd"); err != nil || len(kd) == 0 || !(kd[0].Y > 0) {
				t.Errorf("%s: no loss of a teacher: %v, %v", name, kd, err)
			}
		}
	}
	w := openText(t, text, TextOptions{Context: 8, HeldOut: 0.2, BPE: 262})
	var other *distill.TokenizerError
	if _, err := Fit(context.Background(), b, w, tinyFit(t, w, FitOptions{Dir: filepath.Join(t.TempDir(), "s"), Teachers: []*Teacher{teacher}, Distill: distill.Defaults()}), Silent{}); !errors.As(err, &other) {
		t.Errorf("a student with a BPE of its own: %v", err)
	}
}

// Where a tokenizer puts tokens before a text, a teacher reads them, and so does a student of the same tokens, which keeps the
// template: what it is asked with later is what it learnt with.
func TestDistillWithATemplate(t *testing.T) {
	text := strings.Repeat("the cat sat on the mat, the dog ate the rat. ", 40)
	bpe, err := tokenizer.TrainBPE(text, 270, "<s>")
	if err != nil {
		t.Fatal(err)
	}
	file, _ := bpe.MarshalJSON()
	var top map[string]any
	if err := json.Unmarshal(file, &top); err != nil {
		t.Fatal(err)
	}
	begin := int32(bpe.VocabSize() - 1)
	top["post_processor"] = map[string]any{
		"type": "TemplateProcessing", "pair": []any{},
		"single":         []any{map[string]any{"SpecialToken": map[string]any{"id": "<s>", "type_id": 0}}, map[string]any{"Sequence": map[string]any{"id": "A", "type_id": 0}}},
		"special_tokens": map[string]any{"<s>": map[string]any{"id": "<s>", "ids": []int32{begin}, "tokens": []string{"<s>"}}},
	}
	file, _ = json.Marshal(top)
	tok, err := tokenizer.Parse(file)
	if err != nil {
		t.Fatal(err)
	}
	w := openText(t, text, TextOptions{Context: 8, HeldOut: 0.2, Tokenizer: tok})
	source, err := w.Source(task.Train, 2, 1)
	if err != nil {
		t.Fatal(err)
	}
	held, err := w.Eval(task.Test, 2)
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := w.Foreign(tok, task.Test, 8)
	if err != nil {
		t.Fatal(err)
	}
	for name, s := range map[string]data.Source{"training": source, "evaluation": held, "a teacher's evaluation": foreign} {
		var b data.Batch
		if err := s.Fill(&b, 0); err != nil || b.Inputs[0] != begin || b.Inputs[b.Time] != begin || b.Inputs[1] == begin {
			t.Errorf("%s: rows %v, %v", name, b.Inputs, err)
		}
	}
	b := openBackend(t)
	teacher, err := OpenTeacher(b, fitTiny(t, w, FitOptions{Dir: filepath.Join(t.TempDir(), "t")}).Dir)
	if err != nil {
		t.Fatal(err)
	}
	defer teacher.Close()
	o := tinyFit(t, w, FitOptions{Dir: filepath.Join(t.TempDir(), "s"), Teachers: []*Teacher{teacher}, Distill: distill.Defaults()})
	if _, err := Fit(context.Background(), b, w, o, Silent{}); err != nil {
		t.Fatal(err)
	}
	saved, err := tokenizer.Load(runs.ResolveModel(o.Dir))
	if err != nil {
		t.Fatal(err)
	}
	if before, _ := saved.Template(); len(before) != 1 || before[0] != begin {
		t.Errorf("the student's tokenizer puts %v before a text", before)
	}
}

// A distillation logs its two parts beside its objective.
func TestDistillationLogsItsParts(t *testing.T) {
	w := openTask(t, "tictactoe", tiny(t, "tictactoe"))
	b := openBackend(t)
	teacher, err := OpenTeacher(b, fitTiny(t, w, FitOptions{Dir: filepath.Join(t.TempDir(), "t")}).Dir)
	if err != nil {
		t.Fatal(err)
	}
	defer teacher.Close()
	dir := filepath.Join(t.TempDir(), "s")
	if _, err := Fit(context.Background(), b, w, tinyFit(t, w, FitOptions{Dir: dir, Teachers: []*Teacher{teacher}, Distill: distill.Defaults()}), Silent{}); err != nil {
		t.Fatal(err)
	}
	records, err := report.ReadMetrics(filepath.Join(dir, runs.MetricsName))
	if err != nil {
		t.Fatal(err)
	}
	v := records[0].Values
	if sum := (v["loss/ce"] + v["loss/kd"]) / 2; !(v["loss/ce"] > 0) || sum < v["loss/train"]*(1-1e-6) || sum > v["loss/train"]*(1+1e-6) {
		t.Errorf("logged %v: the objective is the mean of its parts", v)
	}
}

// A run on a corpus whose held-out part has changed is not resumed: its best checkpoint was chosen by another measure.
func TestResumeRefusesAnotherHeldOutText(t *testing.T) {
	text := strings.Repeat(fox, 60)
	o := TextOptions{Context: 16, HeldOut: 0.25}
	dir := filepath.Join(t.TempDir(), "m")
	fitTiny(t, openText(t, text, o), FitOptions{Dir: dir})
	changed := openText(t, text[:len(text)-9]+"lazy fox;", o)
	_, err := Fit(context.Background(), openBackend(t), changed, tinyFit(t, changed, FitOptions{Dir: dir, Resume: true}), Silent{})
	if err == nil || !strings.Contains(err.Error(), "evaluated on other held-out data") {
		t.Errorf("got %v, want a refusal that names the held-out data", err)
	}
	same := openText(t, text, o)
	if _, err := Fit(context.Background(), openBackend(t), same, tinyFit(t, same, FitOptions{Dir: dir, Resume: true}), Silent{}); err != nil {
		t.Error(err)
	}
}

// A finished run gets more steps when it is asked to, and its log goes on where it ended.
func TestExtendedRun(t *testing.T) {
	w := openTask(t, "tictactoe", tiny(t, "tictactoe"))
	dir := filepath.Join(t.TempDir(), "m")
	o := tinyFit(t, w, FitOptions{Dir: dir})
	o.Train.Steps, o.Train.LogEvery = 4, 1
	fitTiny(t, w, o)
	o.Train.Steps, o.Resume = 9, true
	if _, err := Fit(context.Background(), openBackend(t), w, o, Silent{}); err == nil || !strings.Contains(err.Error(), "steps 4, now 9") {
		t.Errorf("more steps without being asked to extend: %v", err)
	}
	o.Extend = true
	f := fitTiny(t, w, o)
	records, err := report.ReadMetrics(filepath.Join(dir, runs.MetricsName))
	if err != nil {
		t.Fatal(err)
	}
	rates := report.Points(records, "lr")
	if f.Steps != 9 || len(rates) != 9 {
		t.Fatalf("%d steps, %d of them logged", f.Steps, len(rates))
	}
	for _, r := range rates[4:] {
		if want := o.Train.LR * o.Train.Rate(int(r.X)-1); r.Y != want {
			t.Errorf("step %v: rate %g, the schedule of 9 steps has %g", r.X, r.Y, want)
		}
	}
	if got := readRun(t, dir); got.Step != 9 || got.Options.Steps != 9 {
		t.Errorf("the state stands at step %d of %d", got.Step, got.Options.Steps)
	}
}

// A run that begins with a model's weights has its loss before the first step, and says with which weights it began.
func TestStart(t *testing.T) {
	w := openTask(t, "tictactoe", tiny(t, "tictactoe"))
	from := tinyFit(t, w, FitOptions{Dir: filepath.Join(t.TempDir(), "m")})
	from.Train.Steps = 20
	f := fitTiny(t, w, from)
	s, err := OpenStart(filepath.Dir(f.Dir))
	if err != nil {
		t.Fatal(err)
	}
	if s.Tokenizer.Hash() != w.Tokenizer.Hash() || !s.Config.Equal(from.Config) {
		t.Errorf("opened %+v", s)
	}
	dir := filepath.Join(t.TempDir(), "again")
	o := tinyFit(t, w, FitOptions{Dir: dir, Start: s})
	o.Train.LR, o.Train.MuonLR = 1e-30, 1e-30 // learns nothing
	g := fitTiny(t, w, o)
	if g.Loss != f.Loss {
		t.Errorf("a run that learns nothing ends at %v, it began at %v", g.Loss, f.Loss)
	}
	hash, err := checkpoint.FileSHA256(filepath.Join(f.Dir, checkpoint.WeightsName))
	if err != nil {
		t.Fatal(err)
	}
	if got := readRun(t, dir); got.From != hash {
		t.Errorf("the state says that it began with %q, want %q", got.From, hash)
	}
	o.Resume, o.Start = true, nil
	if _, err := Fit(context.Background(), openBackend(t), w, o, Silent{}); err == nil || !strings.Contains(err.Error(), "--from") {
		t.Errorf("resumed without its beginning: %v", err)
	}

	// What cannot be begun with leaves nothing behind.
	int8 := filepath.Join(t.TempDir(), "int8")
	if _, _, err := Quantize(t.Context(), f.Dir, int8, quant.Options{}); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenStart(int8); err == nil || !strings.Contains(err.Error(), "INT8") {
		t.Errorf("an INT8 student: %v", err)
	}
	other := openTask(t, "puzzle8", tiny(t, "puzzle8"))
	refused := filepath.Join(t.TempDir(), "refused")
	for says, o := range map[string]FitOptions{
		"another tokenizer":    tinyFit(t, other, FitOptions{Dir: refused, Start: s, Config: s.Config}),
		"another architecture": tinyFit(t, w, FitOptions{Dir: refused, Start: s}),
	} {
		on := w
		if says == "another tokenizer" {
			on = other
		} else {
			o.Config.RoPETheta++
		}
		if _, err := Fit(context.Background(), openBackend(t), on, o, Silent{}); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("got %v, want a refusal for %s", err, says)
		}
	}
	if _, err := os.Stat(refused); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a refused run left its folder (%v)", err)
	}
}

// withFit calls f with a fitting that has not begun.
func withFit(t *testing.T, w *Workload, o FitOptions, f func(*fit) error) (err error) {
	t.Helper()
	o = tinyFit(t, w, o)
	m, err := model.New(openBackend(t), o.Config, true)
	if err != nil {
		return err
	}
	defer closing(m, &err)
	if err := o.initialize(m, w); err != nil {
		return err
	}
	source, err := w.Source(o.Split, o.Rows, o.Train.Seed)
	if err != nil {
		return err
	}
	tr, err := train.New(m, source, nil, o.Train)
	if err != nil {
		return err
	}
	defer closing(tr, &err)
	return f(&fit{FitOptions: o, w: w, t: tr, p: Silent{}, config: o.Config})
}
