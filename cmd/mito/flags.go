package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"mito/backend"
	_ "mito/backend/cpu"
	"mito/engine/checkpoint"
	"mito/engine/data"
	"mito/engine/files"
	"mito/engine/pipeline"
	"mito/engine/runs"
	"mito/engine/task"
	"mito/engine/tokenizer"
	"mito/kernels/parallel"
)

// machineFlags choose the backend.
type machineFlags struct {
	backend, precision string
	threads            int
	device             int // ordinal of the GPU
}

func (f *machineFlags) register(fs *pflag.FlagSet) {
	fs.StringVar(&f.backend, "backend", "auto", "auto, cpu or cuda")
	fs.StringVar(&f.precision, "precision", "bf16", "matrix products on a GPU: bf16, fp32, or bf16-cublaslt, which takes NVIDIA's library where that is faster; activations have "+
		"bfloat16 with bf16, but float32 with adapters, training for INT8, per-layer embeddings or several ranks, and with bf16-cublaslt where the library is found")
	f.registerThreads(fs)
}

func (f *machineFlags) registerThreads(fs *pflag.FlagSet) {
	fs.IntVar(&f.threads, "threads", min(runtime.GOMAXPROCS(0), parallel.MaxThreads), fmt.Sprintf("CPU threads, %d at most", parallel.MaxThreads))
}

func (f *machineFlags) check() error {
	if f.threads < 1 || f.threads > parallel.MaxThreads {
		return usagef("--threads is %d, want 1 to %d", f.threads, parallel.MaxThreads)
	}
	return nil
}

// open opens the backend. Why a preferred one was passed over goes to stderr.
func (f *machineFlags) open(cmd *cobra.Command, quiet bool) (backend.Backend, error) {
	if err := f.check(); err != nil {
		return nil, err
	}
	precision, err := backend.ParsePrecision(f.precision)
	if err != nil {
		return nil, usage(err)
	}
	b, skipped, err := backend.Open(f.backend, backend.Options{Threads: f.threads, Precision: precision, Device: f.device})
	if errors.Is(err, backend.ErrNotBuilt) {
		return nil, fmt.Errorf("--backend %s: this program was built without it; build it with -tags cuda, or take --backend cpu", f.backend)
	}
	if err != nil {
		if !known(f.backend) {
			return nil, usage(err)
		}
		return nil, err
	}
	for _, reason := range skipped {
		if !quiet && !errors.Is(reason, backend.ErrNotBuilt) {
			fmt.Fprintln(cmd.ErrOrStderr(), reason)
		}
	}
	return b, nil
}

func known(name string) bool {
	if name == "auto" {
		return true
	}
	for _, n := range backend.Names() {
		if n == name {
			return true
		}
	}
	return false
}

// workFlags choose a task, a file of examples, or a text.
type workFlags struct {
	task, corpus     string
	examples         string
	lines            bool
	positions, depth int
	format           string
	taskSeed         uint64
	context, bpe     int
	heldOut          float64
	fitted           bool       // context is that of a model
	only             task.Split // of a text, the only one that is used; "" for train and test
	filter           data.Filter
}

func (f *workFlags) register(fs *pflag.FlagSet) {
	fs.StringVar(&f.task, "task", "", "task to work on: "+strings.Join(task.Names(), ", "))
	fs.StringVar(&f.corpus, "corpus", "", "text file or folder to work on, instead of a task")
	fs.BoolVar(&f.lines, "lines", false, "corpus: a list with one item a line; items are shuffled, held out by line, and learned each by itself")
	fs.StringVar(&f.examples, "examples", "", "file of examples to work on, instead of a task: lines of a prompt, a tab and a right answer, or several with tabs between them")
	f.registerTask(fs)
	text := pipeline.RecipeOf("text").Text
	fs.IntVar(&f.context, "context", text.Context, "corpus, examples: tokens of a row; of examples and lists as many as the longest takes where it is left out")
	fs.Float64Var(&f.heldOut, "held-out", text.HeldOut, "corpus: share at the end of the text that is only evaluated on; examples, lists: share of the prompts or lines")
}

// registerTask registers what a task can be given.
func (f *workFlags) registerTask(fs *pflag.FlagSet) {
	fs.IntVar(&f.positions, "positions", 0, "task: at most so many labelled positions; 0 for the task's own number")
	fs.IntVar(&f.depth, "depth", 0, "connect4, othello: plies that the solver looks ahead; 0 for its default")
	fs.StringVar(&f.format, "format", "", "task: how positions and answers are written: connect4 moves (the stones in the order of play), puzzle8 distance (the moves left before the move); the task's own, or the model's, where it is left out")
	fs.Uint64Var(&f.taskSeed, "task-seed", 1, "task: seed of the positions where not all are used; examples, lists: seed of what is held out")
}

// registerTokenizer registers what a workload without a tokenizer of its own can be given.
func (f *workFlags) registerTokenizer(fs *pflag.FlagSet) {
	fs.IntVar(&f.bpe, "bpe", 0, "corpus, examples: vocabulary of a byte-level BPE; 0 for characters")
}

// kind is the name under which presets are listed: the task's, "examples", "list" or "text"; "" where nothing is chosen.
func (f *workFlags) kind() string {
	switch {
	case f.corpus != "" && f.lines:
		return "list"
	case f.corpus != "":
		return "text"
	case f.examples != "":
		return "examples"
	}
	return f.task
}

// flag is the flag that chose, path the file that it names, "" for a task.
func (f *workFlags) flag() string {
	switch {
	case f.corpus != "" && f.lines:
		return "--lines"
	case f.corpus != "":
		return "--corpus"
	case f.examples != "":
		return "--examples"
	}
	return "--task"
}

func (f *workFlags) path() string { return cmp.Or(f.corpus, f.examples) }

// check refuses flags that contradict each other. ofTask names further flags of the command that need a task.
func (f *workFlags) check(fs *pflag.FlagSet, ofTask ...string) error {
	switch {
	case f.task != "" && f.corpus != "":
		return usagef("--task and --corpus contradict each other: give one of them")
	case f.examples != "" && f.task != "":
		return usagef("--examples and --task contradict each other: give one of them")
	case f.examples != "" && f.corpus != "":
		return usagef("--examples and --corpus contradict each other: give one of them")
	case f.kind() == "":
		return usagef("what to work on? give --task NAME (%s), --examples FILE or --corpus PATH", strings.Join(task.Names(), ", "))
	case f.lines && f.corpus == "":
		return usagef("--lines says how a text is read: give --corpus PATH with it")
	case f.corpus != "":
		if f.lines {
			ofTask = append(ofTask, "filter-lines", "filter-runs")
		} else {
			ofTask = append(ofTask, "task-seed")
		}
		if err := without(fs, f.flag(), append(ofTask, "positions", "depth", "format")...); err != nil {
			return err
		}
		return f.checkText()
	case f.examples != "":
		if err := without(fs, "--examples", "positions", "depth", "format", "opponent", "player", "filter-lines", "filter-runs"); err != nil {
			return err
		}
		return f.checkText()
	}
	if err := without(fs, "--task", "context", "held-out", "bpe", "filter-lines", "filter-runs"); err != nil {
		return err
	}
	_, err := task.New(f.task, f.taskOptions(fs, nil))
	return usage(err)
}

// checkText checks what texts and examples can be given.
func (f *workFlags) checkText() error {
	switch {
	case f.context < 1:
		return usagef("--context is %d, want 1 or more", f.context)
	case f.heldOut == 1 && f.examples == "":
		return usagef("--held-out is 1, which leaves nothing to train on: want more than 0 and less than 1; mito eval --all evaluates a whole text")
	case !(f.heldOut > 0 && f.heldOut < 1):
		return usagef("--held-out is %v, want more than 0 and less than 1", f.heldOut)
	case f.bpe < 0:
		return usagef("--bpe is %d, want 0 (characters) or the size of a vocabulary", f.bpe)
	}
	return nil
}

// without refuses flags that were given but mean nothing beside another.
func without(fs *pflag.FlagSet, other string, names ...string) error {
	for _, name := range names {
		if fs.Changed(name) {
			return usagef("--%s and %s contradict each other: leave --%[1]s out", name, other)
		}
	}
	return nil
}

// open opens the workload. preset, if not nil, gives what no flag was set for; tok, if not nil, is used as it is.
func (f *workFlags) open(cmd *cobra.Command, preset *pipeline.Preset, tok tokenizer.Tokenizer) (*pipeline.Workload, error) {
	fs := cmd.Flags()
	return awaited(cmd.Context(), func() (*pipeline.Workload, error) {
		if f.examples != "" || f.lines {
			return f.openExamples(cmd, tok)
		}
		if f.corpus == "" {
			return pipeline.OpenTask(cmd.Context(), f.task, f.taskOptions(fs, preset), tok)
		}
		o := pipeline.TextOptions{Context: f.context, HeldOut: f.heldOut, BPE: f.bpe, Tokenizer: tok, Only: f.only, Filter: f.filter}
		if preset != nil && !fs.Changed("context") && preset.Text.Context > 0 {
			o.Context = preset.Text.Context
		}
		return pipeline.OpenText(f.corpus, o)
	})
}

// openExamples opens a file of examples, or a list, and tells what it found in it.
func (f *workFlags) openExamples(cmd *cobra.Command, tok tokenizer.Tokenizer) (*pipeline.Workload, error) {
	o := pipeline.ExamplesOptions{HeldOut: f.heldOut, Seed: f.taskSeed, BPE: f.bpe, Tokenizer: tok}
	if o.Most = f.context; !f.fitted {
		if o.Most = 0; cmd.Flags().Changed("context") {
			o.Context = f.context
		}
	}
	var w *pipeline.Workload
	var err error
	if f.lines {
		w, err = pipeline.OpenLines(f.corpus, o)
	} else {
		w, err = pipeline.OpenExamples(cmd.Context(), f.examples, o)
	}
	if err != nil {
		return nil, err
	}
	if quiet := cmd.Flags().Lookup("quiet"); quiet == nil || quiet.Value.String() != "true" {
		for _, note := range w.Notes {
			fmt.Fprintf(cmd.ErrOrStderr(), "%s: %s\n", f.path(), note)
		}
	}
	return w, nil
}

// openFor opens the workload for a change of the model of --model: with its tokenizer, within its context.
func (f *workFlags) openFor(cmd *cobra.Command, start *pipeline.Start, dir string) (*pipeline.Workload, error) {
	if err := f.fitContext(cmd.Flags(), "--model", dir, start.Config.Context); err != nil {
		return nil, err
	}
	return f.open(cmd, nil, start.Tokenizer)
}

// fitContext takes the context of a model where --context was left out, and refuses a longer one before anything is made
// for it.
func (f *workFlags) fitContext(fs *pflag.FlagSet, flag, dir string, context int) error {
	if !fs.Changed("context") {
		f.context, f.fitted = context, true
	}
	if f.context > context {
		return usagef("--context is %d, but %s %s has a context of %d: give that, or less", f.context, flag, dir, context)
	}
	return nil
}

func (f *workFlags) taskOptions(fs *pflag.FlagSet, preset *pipeline.Preset) task.Options {
	o := task.Options{Positions: f.positions, Depth: f.depth, Format: f.format, Seed: f.taskSeed}
	if preset == nil {
		return o
	}
	if !fs.Changed("positions") {
		o.Positions = preset.Task.Positions
	}
	if !fs.Changed("depth") {
		o.Depth = preset.Task.Depth
	}
	if !fs.Changed("format") {
		o.Format = preset.Task.Format
	}
	return o
}

// modelFolder finds the model that a flag names: a model folder, or the folder of a run.
func modelFolder(flag, dir string) (string, error) {
	at := runs.ResolveModel(dir)
	if _, err := files.Resolve(at); err != nil {
		return "", fmt.Errorf("%s: there is no folder %s", flag, dir)
	}
	if _, err := os.Stat(filepath.Join(at, checkpoint.ConfigName)); err == nil {
		return at, nil
	}
	if _, err := os.Stat(filepath.Join(at, pipeline.CompressedDir)); err == nil {
		return "", fmt.Errorf("%s: %s is the folder of a pipeline; name one of the models in it: %[2]s/%[3]s, %[2]s/%[4]s or %[2]s/%[5]s",
			flag, dir, pipeline.CompressedDir, pipeline.StudentDir, pipeline.TeacherDir)
	}
	return at, nil
}
