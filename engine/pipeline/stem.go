package pipeline

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"mito/backend"
	"mito/engine/compress/lora"
	"mito/engine/data"
	"mito/engine/decode"
	"mito/engine/eval"
	"mito/engine/report"
	"mito/engine/runs"
	"mito/engine/task"
	"mito/engine/tokenizer"
	"mito/engine/train"
)

// Stem is a preset of adapters: one base that has seen a little of every task, as a stem cell has all genes, and an adapter for
// each of them.
type Stem struct {
	Name, About string
	Tasks       []StemTask
	Base        Stage
	Lora        lora.Config
	Rows        int
	Train       train.Options // of each adapter
}

// StemTask is a task and how much of it is used.
type StemTask struct {
	Name    string
	Options task.Options
}

// Stems lists the presets.
func Stems() []Stem {
	r := RecipeOf("tictactoe")
	base := r.stage("mini", 64, 80, 0.01)
	s := Stem{
		Name: "stem", About: "one base and an adapter for each of three tasks, about a minute",
		Tasks: []StemTask{
			{"tictactoe", task.Options{Positions: 3000, Seed: 1}}, {"connect4", task.Options{Positions: 2000, Depth: 4, Seed: 1}},
			{"puzzle8", task.Options{Positions: 4000, Seed: 1}},
		},
		Base: base, Lora: lora.Config{Rank: 8, Alpha: 16, Targets: lora.DefaultTargets()}, Rows: 64, Train: AdaptTraining(),
	}
	s.Train.Steps = 80
	return []Stem{s}
}

// StemOf finds a preset. Errors: *UnknownError.
func StemOf(name string) (Stem, error) {
	return find("preset of adapters", Stems(), name, func(s Stem) string { return s.Name })
}

// StemOptions of RunStem.
type StemOptions struct {
	Stem    Stem
	Out     string
	Seed    uint64
	Threads int // of the runtime that judges
	Resume  bool
}

// StemReport is what came of a Stem.
type StemReport struct {
	Dir           string        `json:"dir"`
	Params        int64         `json:"params"`         // of the base
	TrainedParams int64         `json:"trained_params"` // of one adapter
	Bytes         int64         `json:"bytes"`          // of the base
	SwitchMicros  float64       `json:"switch_us"`      // to send a sequence through another adapter, median
	Adapters      []StemAdapter `json:"adapters"`
}

// StemAdapter is the adapter of one task.
type StemAdapter struct {
	Name       string        `json:"name"`
	Dir        string        `json:"dir"`
	LossBefore report.Number `json:"loss_before"` // of the base on the task's test positions, nats a token
	LossAfter  report.Number `json:"loss_after"`
}

// RunStem trains a base on all tasks together and an adapter for each, then judges all of them in one runtime, which switches
// between them. Errors: those of Fit and Adapt.
func RunStem(ctx context.Context, b backend.Backend, o StemOptions, p Progress) (_ *StemReport, err error) {
	if err := CheckOutput(o.Out, true); err != nil {
		return nil, err
	}
	works, all, err := o.Stem.open(ctx)
	if err != nil {
		return nil, err
	}
	lock, err := runs.Claim(o.Out, true)
	if err != nil {
		return nil, err
	}
	defer closing(closer(lock.Release), &err)
	shape, err := ShapeOf(o.Stem.Base.Shape)
	if err != nil {
		return nil, err
	}
	trained := o.Stem.Base.Train
	trained.Seed = o.Seed
	fitted, err := Fit(ctx, b, all, FitOptions{
		Name: "base", Dir: filepath.Join(o.Out, "base"), Resume: o.Resume, Config: shape.At(all.Tokenizer.VocabSize(), all.Context),
		Init: o.Stem.Base.Init, Train: trained, Rows: o.Stem.Base.Rows, Split: task.Train, Judge: task.Test,
	}, p)
	if err != nil {
		return nil, fmt.Errorf("base: %w", err)
	}
	base, err := OpenBase(ctx, fitted.Dir, false)
	if err != nil {
		return nil, err
	}
	r := &StemReport{Dir: o.Out, Params: base.Floats.Config.Params()}
	var dirs []AdapterDir
	for _, w := range works {
		ao := AdaptOptions{
			Name: w.Name, Dir: filepath.Join(o.Out, w.Name), Resume: o.Resume, Lora: o.Stem.Lora, Train: o.Stem.Train, Rows: o.Stem.Rows,
			Split: task.Train, Judge: task.Test,
		}
		ao.Train.Seed = o.Seed
		a, err := Adapt(ctx, b, base, w, ao, p)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", w.Name, err)
		}
		r.TrainedParams = a.Adapter.Params()
		dirs = append(dirs, AdapterDir{w.Name, a.Dir})
		r.Adapters = append(r.Adapters, StemAdapter{Name: w.Name, Dir: a.Dir})
	}
	return r, r.judge(ctx, fitted.Dir, dirs, works, o.Threads)
}

// open opens the tasks with one tokenizer and one context, and all of them as one workload.
func (s *Stem) open(ctx context.Context) (works []*Workload, all *Workload, err error) {
	alphabet := ""
	for _, t := range s.Tasks {
		one, err := task.New(t.Name, t.Options)
		if err != nil {
			return nil, nil, err
		}
		alphabet += one.Alphabet()
	}
	tok, err := tokenizer.NewChars(alphabet)
	if err != nil {
		return nil, nil, err
	}
	all = &Workload{Name: s.Name, Tokenizer: tok, examples: map[task.Split][]data.Example{}}
	for _, t := range s.Tasks {
		w, err := OpenTask(ctx, t.Name, t.Options, tok)
		if err != nil {
			return nil, nil, err
		}
		works = append(works, w)
		all.Context = max(all.Context, w.Context)
		for split, examples := range w.examples {
			all.examples[split] = append(all.examples[split], examples...)
		}
	}
	for _, w := range works {
		w.Context = all.Context
	}
	return works, all, nil
}

// judge evaluates every task with and without its adapter, all in one runtime.
func (r *StemReport) judge(ctx context.Context, dir string, dirs []AdapterDir, works []*Workload, threads int) (err error) {
	list, err := OpenAdapters(dir, dirs)
	if err != nil {
		return err
	}
	rt, err := decode.Open(dir, decode.Options{Threads: threads, Adapters: list})
	if err != nil {
		return err
	}
	defer closing(rt, &err)
	r.Bytes = int64(rt.Bytes())
	for i, w := range works {
		for to, name := range map[*report.Number]string{&r.Adapters[i].LossBefore: "", &r.Adapters[i].LossAfter: dirs[i].Name} {
			adapted, err := decode.WithAdapter(rt, name)
			if err != nil {
				return err
			}
			e, err := w.Eval(task.Test, fitRows(w.Context))
			if err != nil {
				return err
			}
			loss, err := eval.Loss(ctx, adapted, e)
			if err != nil {
				return err
			}
			*to = report.Number(loss.PerToken())
		}
	}
	s, err := rt.NewSession(1)
	if err != nil {
		return err
	}
	var times []float64
	for i := range 101 {
		began := time.Now()
		if err := s.Adapt(0, dirs[i%len(dirs)].Name); err != nil {
			return err
		}
		times = append(times, float64(time.Since(began).Nanoseconds())/1000)
	}
	slices.Sort(times)
	r.SwitchMicros = times[len(times)/2]
	return nil
}
