package pipeline

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"mito/backend"
	"mito/engine/compress/quant"
	"mito/engine/data"
	"mito/engine/decode"
	"mito/engine/report"
	"mito/engine/runs"
	"mito/engine/student"
	"mito/engine/task"
	"mito/engine/verify"
)

// Options of a pipeline.
type Options struct {
	Preset    Preset
	Out       string
	Seed      uint64
	Threads   int    // of the runtimes that decode
	Resume    bool   // continue what Out holds
	Teachers  int    // their mean probabilities teach; fewer than one means one
	Assistant string // model preset of a model between teacher and student, arXiv:1902.03393; "" for none
	Command   string // for the report
	Version   string
	Measure   decode.MeasureOptions // how long the speed of decoding is measured
}

// job is a pipeline under way.
type job struct {
	Options
	b backend.Backend
	w *Workload
	p Progress
	r *report.Report

	ships    task.Split // what the models that ship are trained on
	judges   task.Split // what every model is evaluated on
	teachers []*Teacher
	fitted   map[string]*Fitted
	curves   []report.Series
	eval     data.Eval
}

// Run goes the whole way: teacher, distilled student, INT8 student, proof and report, all in the folder Out. When ctx is
// done, what was fitted is saved and Resume goes on from there.
func Run(ctx context.Context, b backend.Backend, w *Workload, o Options, p Progress) (_ *report.Report, err error) {
	began := time.Now()
	if err := CheckOutput(o.Out, o.Resume); err != nil {
		return nil, err
	}
	j := &job{Options: o, b: b, w: w, p: p, fitted: map[string]*Fitted{}, ships: task.Train, judges: task.Test}
	if o.Preset.ShipAll {
		j.ships, j.judges = task.All, task.All
	}
	defer func() {
		for _, t := range j.teachers {
			closing(t, &err)
		}
	}()
	if err := j.begin(); err != nil {
		return nil, err
	}
	if _, err := os.Stat(filepath.Join(o.Out, TeacherDir)); err == nil {
		j.note("This run was resumed; its seconds are those since then.")
	}
	lock, err := runs.Claim(o.Out, o.Resume)
	if err != nil {
		return nil, err
	}
	defer closing(closer(lock.Release), &err)
	for _, step := range []func(context.Context) error{j.teach, j.learn, j.compare, j.compress, j.judge} {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("stopped: %w", err)
		}
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	j.r.Seconds = report.Number(time.Since(began).Seconds())
	return j.r, j.r.Save(o.Out, j.curves)
}

func (j *job) begin() error {
	info := j.b.Info()
	j.r = &report.Report{
		Task: j.w.Name, Seed: j.Seed, Backend: info.Name, Version: j.Version, Command: j.Command,
		Machine:  fmt.Sprintf("%s, %d threads", info.Device, info.Threads),
		Settings: j.settings(),
		Seeds:    map[string]uint64{"models": j.Seed, "games": j.Seed},
	}
	var err error
	if j.r.Splits, err = j.w.Splits(); err != nil {
		return err
	}
	if j.eval, err = j.w.Eval(j.judges, evalRows); err != nil {
		return err
	}
	_, err = j.w.Source(j.ships, 1, j.Seed)
	return err
}

// settings is everything that the result depends on beside the seeds.
func (j *job) settings() map[string]any {
	p := &j.Preset
	return map[string]any{
		"preset": p.Name, "data": j.w.Settings, "ship_all": p.ShipAll, "games": p.Games,
		"teacher": p.Teacher, "student": p.Student, "distill": p.Distill,
		"teachers": max(1, j.Teachers), "assistant": j.Assistant,
	}
}

// fit trains one model of the pipeline into a folder of its own.
func (j *job) fit(ctx context.Context, name string, s Stage, seed uint64, split, judge task.Split, teachers []*Teacher) (*Fitted, error) {
	shape, err := ShapeOf(s.Shape)
	if err != nil {
		return nil, err
	}
	s.Train.Seed = seed
	s.Train.SaveEvery = max(25, s.Train.Steps/4)
	dir := filepath.Join(j.Out, name)
	f, err := Fit(ctx, j.b, j.w, FitOptions{
		Name: name, Dir: dir, Resume: j.Resume, Config: shape.At(j.w.Tokenizer.VocabSize(), j.w.Context), Init: s.Init,
		Train: s.Train, Rows: s.Rows, Split: split, Judge: judge, Teachers: teachers, Distill: j.Preset.Distill,
	}, j.p)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	j.fitted[name] = f
	records, err := report.ReadMetrics(filepath.Join(dir, runs.MetricsName))
	if err != nil {
		return nil, err
	}
	j.curves = append(j.curves, report.Series{Name: name, Points: report.Points(records, "loss/train")})
	return f, nil
}

// teach fits the teachers and, where one is asked for, the assistant that learns from them and teaches the student.
func (j *job) teach(ctx context.Context) error {
	for i := range max(1, j.Teachers) {
		name := TeacherDir
		if i > 0 {
			name = fmt.Sprintf("teacher-%d", i+1)
		}
		f, err := j.fit(ctx, name, j.Preset.Teacher, j.Seed+uint64(i)<<32, j.ships, j.judges, nil)
		if err != nil {
			return err
		}
		t, err := OpenTeacher(j.b, f.Dir)
		if err != nil {
			return err
		}
		j.teachers = append(j.teachers, t)
	}
	if j.Assistant == "" {
		return nil
	}
	stage := j.Preset.Student
	stage.Shape = j.Assistant
	f, err := j.fit(ctx, "assistant", stage, j.Seed, j.ships, j.judges, j.teachers)
	if err != nil {
		return err
	}
	assistant, err := OpenTeacher(j.b, f.Dir)
	if err != nil {
		return err
	}
	for _, t := range j.teachers {
		err = errors.Join(err, t.Close())
	}
	j.teachers = []*Teacher{assistant}
	return err
}

// learn distils the student.
func (j *job) learn(ctx context.Context) error {
	_, err := j.fit(ctx, StudentDir, j.Preset.Student, j.Seed, j.ships, j.judges, j.teachers)
	return err
}

// compare trains the same student without a teacher and, where the shipped one has seen all positions, without the
// test positions.
func (j *job) compare(ctx context.Context) error {
	if _, err := j.fit(ctx, "student-alone", j.Preset.Student, j.Seed, j.ships, j.judges, nil); err != nil {
		return err
	}
	if !j.Preset.ShipAll {
		return nil
	}
	_, err := j.fit(ctx, "student-held-out", j.Preset.Student, j.Seed, task.Train, task.Test, nil)
	return err
}

// compress quantises the student and proves its bits.
func (j *job) compress(ctx context.Context) error {
	dir := filepath.Join(j.Out, CompressedDir)
	return stage(j.p, "INT8", 0, func() (string, error) {
		w, _, err := quantize(ctx, j.fitted[StudentDir].Dir, dir, quant.Options{}, runs.CheckReplaceable)
		if err != nil {
			return "", err
		}
		proof, err := verify.Student(ctx, w, func() (*student.Weights, error) { return quant.Load(dir) })
		if err != nil {
			return "", err
		}
		if !proof.Identical {
			return "", fmt.Errorf("the INT8 student computes different bits in different variants: run mito verify --model %s", dir)
		}
		j.r.Compressed = report.Compressed{Scheme: "int8", Sparsity: 0, Digest: proof.Digest, Variants: proof.Names()}
		return fmt.Sprintf("%d bytes, the same digest in %d variants", w.Bytes(), len(proof.Variants)), nil
	})
}

// judge evaluates, scores and times the models and fills the report.
func (j *job) judge(ctx context.Context) error {
	for _, m := range []struct {
		name, dir string
		model     *report.Model
		speed     *report.Number
	}{
		{"teacher", j.fitted[TeacherDir].Dir, &j.r.Teacher, &j.r.Speed.Teacher},
		{"student", j.fitted[StudentDir].Dir, &j.r.Student, &j.r.Speed.Student},
		{"compressed student", filepath.Join(j.Out, CompressedDir), &j.r.Compressed.Model, &j.r.Speed.Compressed},
	} {
		if err := j.measure(ctx, m.name, m.dir, m.model, m.speed); err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
	}
	if err := j.rowOf("student alone", "student-alone", "the same steps without a teacher; the student's loss is beside it"); err != nil {
		return err
	}
	if j.Preset.ShipAll {
		if err := j.rowOf("student without the test positions", "student-held-out", "loss on test positions that it never saw"); err != nil {
			return err
		}
		j.note("What ships was trained on all positions of the task, which can be listed; its loss is on these positions. The held-out loss is that of the student without the test positions.")
	}
	if j.w.Task != nil {
		j.note("The least loss that the several right answers allow is %.4f nats on the positions evaluated.", j.w.EntropyFloor(j.judges))
	}
	if err := j.baseline(ctx); err != nil {
		return err
	}
	j.note("INT8 against its float student: loss %+.3f%%.", 100*(float64(j.r.Compressed.LossNats)/float64(j.r.Student.LossNats)-1))
	return nil
}

func (j *job) note(format string, args ...any) {
	j.r.Notes = append(j.r.Notes, fmt.Sprintf(format, args...))
}

// measure fills one model's part of the report.
func (j *job) measure(ctx context.Context, name, dir string, m *report.Model, speed *report.Number) (err error) {
	rt, err := decode.Open(dir, decode.Options{Threads: j.Threads})
	if err != nil {
		return err
	}
	defer closing(rt, &err)
	m.Dir, m.Params, m.Bytes = relative(j.Out, dir), int64(rt.Params()), int64(rt.Bytes())
	loss, err := decode.Loss(ctx, rt, j.eval)
	if err != nil {
		return err
	}
	m.LossNats, m.BitsPerByte = report.Number(loss.PerToken()), report.Number(loss.BitsPerByte())
	rate, err := decode.Measure(ctx, rt, j.Measure)
	if err != nil {
		return err
	}
	*speed = report.Number(rate.TokensPerSecond)
	if j.w.Task == nil {
		return nil
	}
	player, err := decode.NewPlayer(ctx, rt, evalRows)
	if err != nil {
		return err
	}
	return j.play(ctx, name, player, m, j.opponents())
}

// rowOf reports a student that does not ship.
func (j *job) rowOf(name, dir, note string) error {
	f := j.fitted[dir]
	rt, err := decode.Open(f.Dir, decode.Options{Threads: j.Threads})
	if err != nil {
		return err
	}
	j.r.Rows = append(j.r.Rows, report.Row{
		Name: name, Note: note, TokensPerSecond: report.NotMeasured,
		Model: report.Model{
			Dir: relative(j.Out, f.Dir), Params: int64(rt.Params()), Bytes: int64(rt.Bytes()),
			LossNats: report.Number(f.Loss.PerToken()), BitsPerByte: report.Number(f.Loss.BitsPerByte()),
		},
	})
	return rt.Close()
}

func relative(out, dir string) string {
	if rel, err := filepath.Rel(out, dir); err == nil {
		return rel
	}
	return dir
}
