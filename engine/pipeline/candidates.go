package pipeline

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"mito/engine/checkpoint"
	"mito/engine/compress/quant"
	"mito/engine/report"
	"mito/engine/runs"
	"mito/engine/student"
	"mito/engine/task"
	"mito/engine/tokenizer"
	"mito/engine/verify"
)

// The models in the folder of a pipeline that are not those of report.TeacherName and so on.
const (
	assistantDir = "assistant"
	aloneDir     = "student-alone"
	heldOutDir   = "student-held-out"
)

// entry is one model that a pipeline makes, in the folder of its name. The list of plan is all that has to know of it.
type entry struct {
	name   string
	parent string     // the entry that it is made from or taught by
	judge  task.Split // evaluated on
	make   func(ctx context.Context) (made, error)

	// A model that only stands beside the candidates for comparison has the name and the note of its row.
	row, note string
}

// made is what came of an entry.
type made struct {
	dir      string // model folder
	scheme   string
	bits     float64 // of a weight of the matrices
	sparsity float64
	digest   string
	variants []string            // that the digest was the same in
	foreign  tokenizer.Tokenizer // of a given teacher; nil for the workload's
}

// floats are the weights that a fitting leaves.
func floats(f *Fitted, err error) (made, error) {
	if err != nil {
		return made{}, err
	}
	return made{dir: f.Dir, scheme: "float32", bits: 32}, nil
}

// plan lists what the pipeline makes, in the order in which it is made and reported.
func (j *job) plan() []entry {
	var list []entry
	for i, dir := range j.Given {
		list = append(list, entry{name: teacherName(i), make: func(context.Context) (made, error) {
			return made{dir: dir, scheme: "float32", bits: 32, foreign: j.teachers[i].Tokenizer}, nil
		}})
	}
	trained := max(1, j.Teachers)
	if len(j.Given) > 0 || !j.taught() {
		trained = 0
	}
	for i := range trained {
		list = append(list, entry{name: teacherName(i), make: func(ctx context.Context) (made, error) { return j.teach(ctx, i) }})
	}
	parent := ""
	if j.taught() {
		parent = TeacherDir
	}
	if j.Assistant != "" {
		list = append(list, entry{name: assistantDir, parent: parent, make: j.assist})
		parent = assistantDir
	}
	list = append(list, entry{name: StudentDir, parent: parent, make: func(ctx context.Context) (made, error) {
		return floats(j.fit(ctx, StudentDir, j.Preset.Student, j.Seed, j.ships, j.judges, j.teachers))
	}})
	if j.taught() {
		list = append(list, entry{name: aloneDir, row: "student alone", note: "the same steps without a teacher; the student's loss is beside it",
			make: func(ctx context.Context) (made, error) {
				return floats(j.fit(ctx, aloneDir, j.Preset.Student, j.Seed, j.ships, j.judges, nil))
			}})
	}
	if j.Preset.ShipAll {
		list = append(list, entry{
			name: heldOutDir, judge: task.Test, row: "student without the test positions", note: "loss on test positions that it never saw",
			make: func(ctx context.Context) (made, error) {
				return floats(j.fit(ctx, heldOutDir, j.Preset.Student, j.Seed, task.Train, task.Test, nil))
			}})
	}
	list = append(list, entry{name: CompressedDir, parent: StudentDir, make: j.compress})
	for i := range list {
		if list[i].judge == "" {
			list[i].judge = j.judges
		}
	}
	return list
}

func teacherName(i int) string {
	if i == 0 {
		return TeacherDir
	}
	return fmt.Sprintf("%s-%d", TeacherDir, i+1)
}

// openGiven opens the teachers that are given, before anything is made for them.
func (j *job) openGiven() error {
	for _, dir := range j.Given {
		t, err := OpenTeacher(j.b, dir)
		if err != nil {
			return err
		}
		j.teachers = append(j.teachers, t)
	}
	return nil
}

// teach fits a teacher and opens it.
func (j *job) teach(ctx context.Context, i int) (made, error) {
	m, err := floats(j.fit(ctx, teacherName(i), j.Preset.Teacher, j.Seed+uint64(i)<<32, j.ships, j.judges, nil))
	if err != nil {
		return m, err
	}
	t, err := OpenTeacher(j.b, m.dir)
	if err != nil {
		return m, err
	}
	j.teachers = append(j.teachers, t)
	return m, nil
}

// assist fits a model between the teachers and the student, which teaches the student in their place.
func (j *job) assist(ctx context.Context) (made, error) {
	stage := j.Preset.Student
	stage.Shape = j.Assistant
	m, err := floats(j.fit(ctx, assistantDir, stage, j.Seed, j.ships, j.judges, j.teachers))
	if err != nil {
		return m, err
	}
	assistant, err := OpenTeacher(j.b, m.dir)
	if err != nil {
		return m, err
	}
	for _, t := range j.teachers {
		err = errors.Join(err, t.Close())
	}
	j.teachers = []*Teacher{assistant}
	return m, err
}

// compress quantises the student and proves its bits.
func (j *job) compress(ctx context.Context) (m made, err error) {
	m = made{dir: filepath.Join(j.Out, CompressedDir), scheme: "int8"}
	if j.Choice != nil && j.Choice.Search {
		if m.sparsity, err = j.squeeze(ctx, m.dir); err != nil {
			return m, err
		}
	}
	err = stage(j.p, "INT8", 0, func() (string, error) {
		if j.Choice == nil || !j.Choice.Search {
			if _, _, err := quantize(ctx, j.made[StudentDir].dir, m.dir, quant.Options{}, runs.CheckReplaceable); err != nil {
				return "", err
			}
		}
		w, f, coarse, err := openStudent(m.dir)
		if err != nil {
			return "", err
		}
		m.bits = meanBits(w, coarse)
		proof, err := verify.Student(ctx, w, func() (*student.Weights, error) { return quant.Load(m.dir) })
		if err != nil {
			return "", err
		}
		if !proof.Identical {
			return "", fmt.Errorf("the INT8 student computes different bits in different variants: run mito verify --model %s", m.dir)
		}
		m.digest, m.variants = proof.Digest, proof.Names()
		if j.Choice != nil {
			if err := j.afford(w, coarse); err != nil {
				return "", err
			}
		}
		return fmt.Sprintf("%d bytes, the same digest in %d variants", f.Weights.Bytes(), len(proof.Variants)), nil
	})
	return m, err
}

// openStudent reads an INT8 student, and the bits of its modules that have fewer than 8.
func openStudent(dir string) (*student.Weights, *checkpoint.Folder, map[string]int, error) {
	f, err := checkpoint.Open(dir)
	if err != nil {
		return nil, nil, nil, err
	}
	w, err := quant.Read(f)
	if err != nil {
		return nil, nil, nil, err
	}
	q, err := f.Quantization()
	return w, f, q.Codes(), err
}

// meanBits is the mean over the weights of the matrices.
func meanBits(w *student.Weights, coarse map[string]int) float64 {
	bits, weights := 0, 0
	_ = w.Visit(func(name string, m *student.Matrix, _ *[]float32) error {
		if m != nil {
			bits, weights = bits+len(m.Q)*cmp.Or(coarse[name], checkpoint.WholeBits), weights+len(m.Q)
		}
		return nil
	})
	return float64(bits) / float64(weights)
}

// fit trains one model of the pipeline into a folder of its own.
func (j *job) fit(ctx context.Context, name string, s Stage, seed uint64, split, judge task.Split, teachers []*Teacher) (*Fitted, error) {
	shape, err := ShapeOf(s.Shape)
	if err != nil {
		return nil, err
	}
	eval, err := j.eval(judge)
	if err != nil {
		return nil, err
	}
	s.Train.Seed = seed
	s.Train.SaveEvery = max(25, s.Train.Steps/4)
	if s.Train.EvalEvery == 0 {
		s.Train.EvalEvery = evalEvery(s.Train.Steps, s.Rows*j.w.Context, int(eval.Batches())*eval.TokensPerStep())
	}
	dir := filepath.Join(j.Out, name)
	f, err := Fit(ctx, j.b, j.w, FitOptions{
		Name: name, Dir: dir, Resume: j.Resume, Config: shape.At(j.w.Tokenizer.VocabSize(), j.w.Context), Init: s.Init,
		Train: s.Train, Rows: s.Rows, Split: split, Judge: judge, Teachers: teachers, Distill: j.Preset.Distill,
	}, j.p)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	records, err := report.ReadMetrics(filepath.Join(dir, runs.MetricsName))
	if err != nil {
		return nil, err
	}
	j.curves = append(j.curves, curve(name, judge != j.judges, records))
	return f, nil
}

// maxEvaluations is how many points the curve of a model has at most.
const maxEvaluations = 10

// evalEvery is the number of steps between the evaluations that make the curve of a model: ten of them, fewer where they
// would take more than about a tenth of the run's time, but two at least. A forward pass is a third of a step.
func evalEvery(steps, stepTokens, evalTokens int) int {
	afford := steps * stepTokens * 3 / (10 * max(1, evalTokens))
	n := min(max(afford, 2), maxEvaluations)
	return (steps + n - 1) / n
}

// curve is what the metrics of a run give for the picture: cross-entropies, never the objective of a distillation, which
// is another quantity.
func curve(name string, elsewhere bool, records []report.Record) report.Series {
	s := report.Series{Name: name, Points: report.Points(records, "loss/eval"), Train: report.Points(records, "loss/ce")}
	if len(s.Train) == 0 {
		s.Train = report.Points(records, "loss/train")
	}
	if elsewhere {
		s.Name += " (on test positions)"
	}
	return s
}
