package bench

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"mito/backend/cpu"
	"mito/engine/checkpoint"
	"mito/engine/compress/lora"
	pruning "mito/engine/compress/prune"
	"mito/engine/compress/quant"
	"mito/engine/decode"
	"mito/engine/distill"
	"mito/engine/eval"
	"mito/engine/pipeline"
	"mito/engine/runs"
	"mito/engine/task"
)

// What the combination is made of: the plain student and what teaches the others, the share of zero blocks, and of the steps
// those that train with the student's arithmetic.
const (
	plainShape, teachingShape = "edge", "char"
	combinedSparsity          = 0.75
	combinedAware             = 0.1
)

// combination is an experiment on what techniques bring together, each on top of those before.
type combination struct {
	m     *meter
	b     *cpu.Backend
	w     *pipeline.Workload
	dir   string
	plain *measuredModel
}

// measuredModel is what is known of one of its models.
type measuredModel struct {
	bytes int64 // of its weights on disk
	loss  float64
	speed *probe
}

// labCombination trains a plain float student and, in as many steps, one that a teacher teaches and of whose 4x8 blocks few live;
// rounds both, the second to fewer bits too by training; guesses ahead for it, and adapts it to another text.
func labCombination(m *meter) (err error) {
	c := &combination{m: m, b: cpu.New(m.o.Threads)}
	if c.dir, err = os.MkdirTemp("", "mito-combination"); err != nil {
		return err
	}
	m.keep(closer(func() { os.RemoveAll(c.dir) })) // runtimes read from it until the end
	defer func() { err = errors.Join(err, c.b.Close()) }()
	recipe := pipeline.RecipeOf("text")
	if c.w, err = pipeline.OpenText(m.o.Corpus, recipe.Text); err != nil {
		return err
	}
	if err := c.rounded(); err != nil {
		return err
	}
	last, err := c.sparse()
	if err != nil {
		return err
	}
	if err := c.speculated(last); err != nil {
		return err
	}
	if m.o.AdaptTo == "" {
		return nil
	}
	return c.adapted(last)
}

// at names a folder of the experiment.
func (c *combination) at(name string) string { return filepath.Join(c.dir, name) }

// fit trains a model of a shape for a share of the steps.
func (c *combination) fit(name, shape string, share float64, change func(*pipeline.FitOptions)) (string, error) {
	recipe := pipeline.RecipeOf("text")
	s, err := pipeline.ShapeOf(shape)
	if err != nil {
		return "", err
	}
	o := pipeline.FitOptions{
		Name: name, Dir: c.at(name), Config: s.At(c.w.Tokenizer.VocabSize(), c.w.Context), Init: recipe.Init, Train: recipe.Train,
		Rows: recipe.Rows, Split: task.Train, Judge: task.Test,
	}
	o.Train.Steps = max(2, int(share*float64(c.m.steps(labSteps))))
	if change != nil {
		change(&o)
	}
	c.m.note(fmt.Sprintf("combination: %s, %d steps", name, o.Train.Steps))
	f, err := pipeline.Fit(c.m.ctx, c.b, c.w, o, pipeline.Silent{})
	if err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	return f.Dir, nil
}

// rounded measures the plain student, as it is and rounded.
func (c *combination) rounded() error {
	dir, err := c.fit("plain", plainShape, 1, nil)
	if err != nil {
		return err
	}
	if c.plain, err = c.measure("plain float student", dir, c.w); err != nil {
		return err
	}
	c.m.value("combination/plain float student, loss", unitNats, c.plain.loss)
	c.m.value("combination/plain float student, bytes", unitBytes, float64(c.plain.bytes))
	int8 := c.at("int8")
	if _, _, err := pipeline.Quantize(c.m.ctx, dir, int8, quant.Options{}); err != nil {
		return err
	}
	_, err = c.against("INT8", int8)
	return err
}

// sparse measures the student with few blocks in INT8 and in fewer bits, and returns the last one's folder.
func (c *combination) sparse() (dir string, err error) {
	teaching, err := c.fit("teacher", teachingShape, 1, nil)
	if err != nil {
		return "", err
	}
	teacher, err := pipeline.OpenTeacher(c.b, teaching)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, teacher.Close()) }()
	taught := func(o *pipeline.FitOptions) {
		o.Teachers, o.Distill = []*pipeline.Teacher{teacher}, distill.Defaults()
	}
	sparse, err := c.fit("sparse", plainShape, 1-combinedAware, func(o *pipeline.FitOptions) {
		taught(o)
		o.Sparse = &pruning.Training{Method: pruning.GMP, Sparsity: combinedSparsity}
	})
	if err != nil {
		return "", err
	}
	for _, x := range []struct{ name, bits string }{
		{fmt.Sprintf("INT8, a teacher and %.0f%% zero 4x8 blocks", 100*combinedSparsity), "8"},
		{fmt.Sprintf("4 bits, a teacher and %.0f%% zero 4x8 blocks", 100*combinedSparsity), "4"},
	} {
		rules, err := quant.ParseRules(x.bits)
		if err != nil {
			return "", err
		}
		start, err := pipeline.OpenStart(sparse)
		if err != nil {
			return "", err
		}
		if dir, err = c.fit("bits-"+x.bits, plainShape, combinedAware, func(o *pipeline.FitOptions) {
			taught(o)
			o.Start, o.Aware = start, &pipeline.Aware{Share: 1, Rules: rules}
			o.Train.LR, o.Train.MuonLR, o.Train.Decay = 1e-3, 4e-3, 1
		}); err != nil {
			return "", err
		}
		if _, err := c.against(x.name, dir); err != nil {
			return "", err
		}
	}
	return dir, nil
}

// against measures a student and adds its rows.
func (c *combination) against(name, dir string) (*measuredModel, error) {
	x, err := c.measure(name, dir, c.w)
	if err != nil {
		return nil, err
	}
	name = "combination/" + name + ", "
	c.m.value(name+"loss against the plain student", unitTimes, x.loss/c.plain.loss)
	c.m.value(name+"bytes of the plain student against its", unitTimes, float64(c.plain.bytes)/float64(x.bytes))
	c.m.combine(Result{Name: name + "decoding against the plain student", Unit: unitTimes, Threads: 1, Experiment: true}, x.speed, c.plain.speed, divide)
	return x, nil
}

// measure finds the loss and the size of a model, and lets every round measure its speed.
func (c *combination) measure(name, dir string, w *pipeline.Workload) (*measuredModel, error) {
	rt, err := decode.Open(dir, decode.Options{Threads: 1})
	if err != nil {
		return nil, err
	}
	c.m.keep(rt)
	info, err := os.Stat(filepath.Join(dir, checkpoint.WeightsName))
	if err != nil {
		return nil, err
	}
	x := &measuredModel{bytes: info.Size()}
	if x.loss, err = c.loss(rt, w); err != nil {
		return nil, err
	}
	run, err := steps(rt, 1)
	if err != nil {
		return nil, err
	}
	x.speed = c.m.hidden(Result{Name: "combination/" + name, Unit: unitTokens, Threads: 1}, run, nil)
	return x, nil
}

func (c *combination) loss(rt decode.Runtime, w *pipeline.Workload) (float64, error) {
	held, err := w.Eval(task.Test, 16)
	if err != nil {
		return 0, err
	}
	l, err := eval.Loss(c.m.ctx, rt, held)
	return l.PerToken(), err
}

// speculated compares text that is guessed ahead, where measurements as it goes say that this pays, with plain decoding.
func (c *combination) speculated(dir string) error {
	rt, err := decode.Open(dir, decode.Options{Threads: 1})
	if err != nil {
		return err
	}
	c.m.keep(rt)
	text := func(s decode.Speculator) (rate, error) {
		g, err := decode.NewGenerator(rt, decode.GeneratorOptions{Speculator: s})
		if err != nil {
			return nil, err
		}
		c.m.keep(g)
		const tokens = 128
		return rateOf(tokens, func() error {
			_, err := g.Generate(c.m.ctx, c.w.Opening(16), decode.GenerateOptions{MaxTokens: tokens, Slide: true, IgnoreEOS: true})
			return err
		}), nil
	}
	guessed, err := text(decode.NewAuto(guessed, decode.Named{Name: "ngram", Speculator: decode.NewNGram(guessed)}))
	if err != nil {
		return err
	}
	plain, err := text(nil)
	if err != nil {
		return err
	}
	const name = "combination/the last one, guessing ahead by n-grams, "
	a := c.m.hidden(Result{Name: name + "guessed", Unit: unitTokens, Threads: 1}, guessed, nil)
	b := c.m.hidden(Result{Name: name + "plain", Unit: unitTokens, Threads: 1}, plain, nil)
	c.m.combine(Result{Name: name + "greedy text against plain decoding", Unit: unitTimes, Threads: 1, Experiment: true}, a, b, divide)
	return nil
}

// adapted adapts the last student to another text by an adapter beside its INT8 weights.
func (c *combination) adapted(dir string) error {
	base, err := pipeline.OpenBase(c.m.ctx, dir, false)
	if err != nil {
		return err
	}
	o := pipeline.RecipeOf("text").Text
	o.Tokenizer = base.Tokenizer
	other, err := pipeline.OpenText(c.m.o.AdaptTo, o)
	if err != nil {
		return err
	}
	a := pipeline.AdaptOptions{
		Name: "adapter", Dir: c.at("adapter"), Lora: lora.Config{Rank: 4, Alpha: 8, Targets: lora.DefaultTargets()},
		Train: pipeline.AdaptTraining(), Rows: labRows, Split: task.Train, Judge: task.Test,
	}
	a.Train.Steps, a.Train.LR = c.m.steps(loraSteps), 2e-2
	c.m.note(fmt.Sprintf("combination: adapter, %d steps", a.Train.Steps))
	made, err := pipeline.Adapt(c.m.ctx, c.b, base, other, a, pipeline.Silent{})
	if err != nil {
		return err
	}
	list, err := pipeline.OpenAdapters(dir, []pipeline.AdapterDir{{Name: "other", Dir: made.Dir}})
	if err != nil {
		return err
	}
	rt, err := decode.Open(runs.ResolveModel(dir), decode.Options{Threads: 1, Adapters: list})
	if err != nil {
		return err
	}
	c.m.keep(rt)
	s, err := rt.NewSession(1)
	if err != nil {
		return err
	}
	if err := s.Adapt(0, "other"); err != nil {
		return err
	}
	const name = "combination/the last one with an adapter of rank 4, "
	x := c.m.hidden(Result{Name: name + "decoding", Unit: unitTokens, Threads: 1}, contexts(s, rt.Context(), rt.VocabSize()), nil)
	info, err := os.Stat(filepath.Join(made.Dir, lora.WeightsName))
	if err != nil {
		return err
	}
	c.m.value(name+"loss on the other text before", unitNats, made.Before.PerToken())
	c.m.value(name+"loss on the other text after", unitNats, made.After.PerToken())
	c.m.value(name+"bytes of the adapter", unitBytes, float64(info.Size()))
	c.m.combine(Result{Name: name + "decoding against the plain student", Unit: unitTimes, Threads: 1, Experiment: true}, x, c.plain.speed, divide)
	return nil
}
