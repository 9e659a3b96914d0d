package pipeline

import (
	"context"
	"fmt"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"mito/backend"
	"mito/engine/arch"
	"mito/engine/checkpoint"
	"mito/engine/distill"
	"mito/engine/model"
	"mito/engine/runs"
	"mito/engine/task"
	"mito/engine/train"
)

// savedRun is what a state.json says of a run, as train writes it.
type savedRun struct {
	Step       int           `json:"step"`
	Model      arch.Config   `json:"model"`
	Options    train.Options `json:"options"`
	Source     string        `json:"source"`
	Objective  string        `json:"objective"`
	Judge      string        `json:"judge"`
	From       string        `json:"from"`
	Arithmetic string        `json:"arithmetic"`
}

func readRun(t *testing.T, dir string) (run savedRun) {
	t.Helper()
	f, err := checkpoint.Open(filepath.Join(dir, runs.LastDir))
	if err != nil {
		t.Fatal(err)
	}
	saved, err := f.State()
	if err != nil {
		t.Fatal(err)
	}
	if err := saved.Decode(&run); err != nil {
		t.Fatal(err)
	}
	return run
}

// objectiveOf is the hash of learning from the models in the folders; of the labels alone without any.
func objectiveOf(t *testing.T, b backend.Backend, o distill.Options, dirs ...string) string {
	t.Helper()
	if len(dirs) == 0 {
		return "labels"
	}
	var models []*model.Model
	for _, dir := range dirs {
		teacher, err := OpenTeacher(b, dir)
		if err != nil {
			t.Fatal(err)
		}
		defer teacher.Close()
		models = append(models, teacher.Model)
	}
	d, err := distill.New(models[0], train.NewLabels(b, nil, train.Defaults()), models, nil, o)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	return d.Hash()
}

// Every run of a pipeline is what the report says of it: the state of each says what it was trained on and judged by, with
// which seed, by which teachers.
func TestEveryRunIsWhatItMustBe(t *testing.T) {
	const seed = 11
	type want struct {
		name     string
		stage    func(p *Preset) Stage
		seed     uint64
		split    task.Split
		judge    task.Split
		teachers []string
	}
	teacher := func(p *Preset) Stage { return p.Teacher }
	student := func(p *Preset) Stage { return p.Student }
	assistant := func(p *Preset) Stage { s := p.Student; s.Shape = "mini"; return s }
	second := uint64(seed + 1<<32)
	for name, c := range map[string]struct {
		workload string
		options  Options
		runs     []want
		alone    bool // the preset has no teacher
	}{
		"two teachers, all positions": {workload: "tictactoe", options: Options{Teachers: 2}, runs: []want{
			{"teacher", teacher, seed, task.All, task.All, nil},
			{"teacher-2", teacher, second, task.All, task.All, nil},
			{"student", student, seed, task.All, task.All, []string{"teacher", "teacher-2"}},
			{"student-alone", student, seed, task.All, task.All, nil},
			{"student-held-out", student, seed, task.Train, task.Test, nil},
		}},
		"an assistant": {workload: "tictactoe", options: Options{Teachers: 2, Assistant: "mini"}, runs: []want{
			{"teacher", teacher, seed, task.All, task.All, nil},
			{"teacher-2", teacher, second, task.All, task.All, nil},
			{"assistant", assistant, seed, task.All, task.All, []string{"teacher", "teacher-2"}},
			{"student", student, seed, task.All, task.All, []string{"assistant"}},
			{"student-alone", student, seed, task.All, task.All, nil},
			{"student-held-out", student, seed, task.Train, task.Test, nil},
		}},
		"a split": {workload: "puzzle8", runs: []want{
			{"teacher", teacher, seed, task.Train, task.Test, nil},
			{"student", student, seed, task.Train, task.Test, []string{"teacher"}},
			{"student-alone", student, seed, task.Train, task.Test, nil},
		}},
		"no teacher": {workload: "puzzle8", alone: true, runs: []want{
			{"student", student, seed, task.Train, task.Test, nil},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			p := tiny(t, c.workload)
			p.Games = 2
			if c.alone {
				p.Teacher = Stage{}
			}
			b, w, out := openBackend(t), openTask(t, c.workload, p), filepath.Join(t.TempDir(), "out")
			o := c.options
			o.Preset, o.Out, o.Seed, o.Threads, o.Measure = p, out, seed, 2, once
			r, err := Run(context.Background(), b, w, o, Silent{})
			if err != nil {
				t.Fatal(err)
			}
			folders, err := filepath.Glob(filepath.Join(out, "*", runs.LastDir, checkpoint.ConfigName))
			if err != nil || len(folders) != len(c.runs) {
				t.Errorf("%d runs, want %d (%v)", len(folders), len(c.runs), err)
			}
			for _, want := range c.runs {
				s := want.stage(&p)
				got := readRun(t, filepath.Join(out, want.name))
				source, err := w.Source(want.split, s.Rows, want.seed)
				if err != nil {
					t.Fatal(err)
				}
				eval, err := w.Eval(want.judge, fitRows(w.Context))
				if err != nil {
					t.Fatal(err)
				}
				shape, err := ShapeOf(s.Shape)
				if err != nil {
					t.Fatal(err)
				}
				s.Train.Seed = want.seed
				s.Train.SaveEvery, s.Train.EvalEvery = got.Options.SaveEvery, got.Options.EvalEvery // bits do not depend on them
				var dirs []string
				for _, teacher := range want.teachers {
					dirs = append(dirs, filepath.Join(out, teacher))
				}
				for what, pair := range map[string][2]any{
					"step":       {got.Step, s.Train.Steps},
					"options":    {got.Options, s.Train},
					"model":      {got.Model, shape.At(w.Tokenizer.VocabSize(), w.Context)},
					"data":       {got.Source, source.Hash()},
					"evaluation": {got.Judge, eval.Hash()},
					"teachers":   {got.Objective, objectiveOf(t, b, p.Distill, dirs...)},
					"begin":      {got.From, ""},
					"arithmetic": {got.Arithmetic, train.Arithmetic(b.Info())},
				} {
					if !reflect.DeepEqual(pair[0], pair[1]) {
						t.Errorf("%s: %s %v, want %v", want.name, what, pair[0], pair[1])
					}
				}
			}
			teachers := max(1, o.Teachers)
			if c.alone {
				if teachers = 0; r.Teacher.Dir != "" || r.Teacher.LossNats.Measured() || r.Speed.Teacher.Measured() {
					t.Errorf("the report has a teacher: %+v", r.Teacher)
				}
			}
			if got, want := fmt.Sprint(r.Settings["teachers"], r.Settings["assistant"]), fmt.Sprint(teachers, o.Assistant); got != want {
				t.Errorf("the report says teachers and assistant %q, want %q", got, want)
			}
			var names, parents []string
			for _, c := range r.Candidates {
				names, parents = append(names, c.Name), append(parents, c.Parent)
			}
			list := map[string]string{
				"two teachers, all positions": "teacher teacher-2 student compressed |   teacher student",
				"an assistant":                "teacher teacher-2 assistant student compressed |   teacher assistant student",
				"a split":                     "teacher student compressed |  teacher student",
				"no teacher":                  "student compressed |  student",
			}[name]
			if got := strings.Join(names, " ") + " | " + strings.Join(parents, " "); got != list {
				t.Errorf("candidates %q, want %q", got, list)
			}
		})
	}
}

// Several teachers and an assistant are refused where the preset trains no teacher, before anything is written.
func TestTeachersOfNone(t *testing.T) {
	p := tiny(t, "puzzle8")
	p.Teacher = Stage{}
	out := filepath.Join(t.TempDir(), "out")
	for _, o := range []Options{{Teachers: 2}, {Assistant: "mini"}} {
		o.Preset, o.Out = p, out
		if _, err := Run(t.Context(), nil, nil, o, Silent{}); err == nil || !strings.Contains(err.Error(), "has no teacher") {
			t.Errorf("%d teachers, assistant %q: %v", o.Teachers, o.Assistant, err)
		}
	}
	given := Options{Preset: p, Teachers: 1, Given: []string{"folder"}}
	if err := given.CheckTeachers(); err != nil {
		t.Error(err)
	}
}
