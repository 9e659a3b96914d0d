package pipeline

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"mito/backend"
	"mito/engine/data"
	"mito/engine/eval"
	"mito/engine/quiet"
	"mito/engine/report"
	"mito/engine/runs"
	"mito/engine/task"
)

// Options of a pipeline.
type Options struct {
	Preset    Preset
	Out       string
	Seed      uint64
	Threads   int      // of the runtimes that decode
	Resume    bool     // continue what Out holds
	Given     []string // folders of models that teach as they are; none are trained then
	Teachers  int      // their mean probabilities teach; fewer than one means one, where the preset has a teacher
	Assistant string   // model preset of a model between teacher and student, arXiv:1902.03393; "" for none
	Choice    *Choice  // the student that a budget leaves room for; nil without a budget
	Command   string   // for the report
	Version   string
	Measure   eval.MeasureOptions // how long the speed of decoding is measured
	Scorer    task.Marker         // marks the answers of an Exact task too; nil for none
	Patience  time.Duration       // how long, in all, to measure again the speeds that other programs disturbed
}

// taught says that the student has a teacher.
func (o *Options) taught() bool { return len(o.Given) > 0 || o.Preset.Teacher.Shape != "" }

// searches says that students are searched for under a budget, which the student teaches.
func (o *Options) searches() bool { return o.Choice != nil && o.Choice.Search }

// CheckTeachers refuses several teachers, and an assistant, of a preset that trains no teacher.
func (o *Options) CheckTeachers() error {
	if !o.taught() && (o.Teachers > 1 || o.Assistant != "") {
		return fmt.Errorf("the preset %s of %s has no teacher, so there is nothing for several of them or an assistant to do: give --teacher DIR, or another preset", o.Preset.Name, o.Preset.For)
	}
	return nil
}

// job is a pipeline under way.
type job struct {
	Options
	b backend.Backend
	w *Workload
	p Progress
	r *report.Report

	ships    task.Split // what the models that ship are trained on
	judges   task.Split // what they are evaluated on
	evals    map[task.Split]data.Eval
	teachers []*Teacher
	made     map[string]made // by the name of the entry
	curves   []report.Series
	watch    quiet.Watch
}

// Run goes the whole way: teacher, distilled student, INT8 student, proof and report, all in the folder Out. When ctx is
// done, what was fitted is saved and Resume goes on from there.
func Run(ctx context.Context, b backend.Backend, w *Workload, o Options, p Progress) (_ *report.Report, err error) {
	began := time.Now()
	if err := o.CheckTeachers(); err != nil {
		return nil, err
	}
	if err := CheckOutput(o.Out, o.Resume); err != nil {
		return nil, err
	}
	if o.Choice != nil {
		o.Preset.Student.Shape, w.Context = o.Choice.Shape, o.Choice.Context
	}
	j := &job{Options: o, b: b, w: w, p: p, ships: task.Train, judges: task.Test, evals: map[task.Split]data.Eval{},
		made: map[string]made{}, watch: quiet.Watch{Patience: o.Patience}}
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
	if err := j.openGiven(); err != nil {
		return nil, err
	}
	if _, err := os.Stat(filepath.Join(o.Out, j.plan()[len(o.Given)].name)); err == nil {
		j.note("This run was resumed; its seconds are those since then.")
	}
	lock, err := runs.Claim(o.Out, o.Resume)
	if err != nil {
		return nil, err
	}
	defer closing(closer(lock.Release), &err)
	for _, e := range j.plan() {
		if err := stopped(ctx); err != nil {
			return nil, err
		}
		if j.made[e.name], err = e.make(ctx); err != nil {
			return nil, err
		}
	}
	if err := stopped(ctx); err != nil {
		return nil, err
	}
	if err := j.judge(ctx); err != nil {
		return nil, err
	}
	j.r.Seconds = report.Number(time.Since(began).Seconds())
	return j.r, j.r.Save(o.Out, j.curves)
}

func stopped(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("stopped: %w", err)
	}
	return nil
}

func (j *job) begin() error {
	info := j.b.Info()
	j.r = &report.Report{
		Schema: report.Schema,
		Task:   j.w.Name, Seed: j.Seed, Backend: info.Name, Version: j.Version, Command: j.Command,
		Machine:  fmt.Sprintf("%s, %d threads", info.Device, info.Threads),
		Settings: j.settings(),
		Seeds:    map[string]uint64{"models": j.Seed, "games": j.Seed},
	}
	j.r.Notes = append(j.r.Notes, j.w.Notes...)
	if !j.taught() {
		text := "No teacher: the labels of the data teach the student."
		if j.searches() {
			text += " The smaller students of the search under the budget learn from that student too."
		}
		j.note("%s", text)
	}
	var err error
	if j.r.Splits, err = j.w.Splits(); err != nil {
		return err
	}
	if _, err = j.eval(j.judges); err != nil {
		return err
	}
	_, err = j.w.Source(j.ships, 1, j.Seed)
	return err
}

// settings is everything that the result depends on beside the seeds.
func (j *job) settings() map[string]any {
	p := &j.Preset
	s := map[string]any{
		"preset": p.Name, "data": j.w.Settings, "ship_all": p.ShipAll, "games": p.Games,
		"teacher": p.Teacher, "student": p.Student, "distill": p.Distill,
		"teachers": max(1, j.Teachers), "assistant": j.Assistant,
	}
	if j.Choice != nil {
		s["budget"] = j.Choice.Budget
	}
	if len(j.Given) > 0 {
		s["teacher"], s["teachers"] = j.Given, len(j.Given)
	}
	if !j.taught() {
		s["teacher"], s["teachers"] = nil, 0
		if !j.searches() {
			s["distill"] = nil
		}
	}
	return s
}
