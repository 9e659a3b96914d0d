package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"mito/engine/compress/search"
	"mito/engine/eval"
	"mito/engine/pipeline"
	"mito/engine/report"
)

// presetOf and measuring are exchanged by tests, which have no time for a whole pipeline.
var (
	presetOf  = pipeline.PresetOf
	measuring eval.MeasureOptions
)

func newPipeline() *cobra.Command {
	var (
		machine   machineFlags
		work      workFlags
		output    outputFlags
		preset    string
		out       string
		seed      uint64
		resume    bool
		teachers  int
		assistant string
		games     int
		given     teacherFlags
		shape     string
		budget    string
		scorer    scorerFlag
	)
	cmd := &cobra.Command{
		Use:   "pipeline",
		Short: "From a task, examples or a text to a proven INT8 student, with a report",
		Long: `Train a teacher, distil it into a student, quantise the student to INT8, prove that its bits do not depend on
threads, batch or kernels, score all three and write a report. Without flags it does so for tictactoe. A preset without a teacher,
which mito info shows, trains the student on the labels of the data.`,
		Example: "  mito pipeline\n  mito pipeline --task connect4 --preset quick\n  mito pipeline --corpus book.txt --out book\n" +
			"  mito pipeline --examples orders.tsv --out orders\n" +
			"  mito pipeline --teacher gpt2-folder --tokenizer chars --arch edge --corpus book.txt",
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if work.kind() == "" {
				work.task = "tictactoe"
			}
			if err := work.check(cmd.Flags()); err != nil {
				return err
			}
			p, err := presetOf(work.kind(), preset)
			if err != nil {
				return usage(err)
			}
			if err := scorer.check(work); err != nil {
				return err
			}
			if cmd.Flags().Changed("games") {
				if err := checkGames(games); err != nil {
					return err
				}
				p.Games = games
			}
			if assistant != "" {
				if _, err := pipeline.ShapeOf(assistant); err != nil {
					return usagef("--assistant: %w", err)
				}
			}
			if shape != "" {
				if _, err := pipeline.ShapeOf(shape); err != nil {
					return usagef("--arch: %w", err)
				}
				p.Student.Shape = shape
			}
			limit, err := parseBudget(budget, shape)
			if err != nil {
				return err
			}
			if err := given.check(cmd.Flags()); err != nil {
				return err
			}
			if teachers < 1 {
				return usagef("--teachers is %d, want 1 or more", teachers)
			}
			learning := pipeline.Options{Preset: p, Given: given.dirs, Teachers: teachers, Assistant: assistant}
			if err := learning.CheckTeachers(); err != nil {
				return usage(err)
			}
			var lacks []string // what the command line lacks to name the folder
			if out == "" {
				if resume {
					return usagef("--resume needs --out: the folder of the run to continue")
				}
				if out, err = freshFolder(work); err != nil {
					return err
				}
				lacks = []string{"--out", out}
			}
			if err := pipeline.CheckOutput(out, resume); err != nil {
				return err
			}
			marker, done, err := scorer.start()
			if err != nil {
				return err
			}
			defer done()
			b, err := machine.open(cmd, output.quiet)
			if err != nil {
				return err
			}
			defer closing(b, &err)
			tok, err := given.tokens()
			if err != nil {
				return err
			}
			w, err := work.open(cmd, &p, tok)
			if err != nil {
				return err
			}
			if err := given.temper(&p.Distill, w); err != nil {
				return err
			}
			progress := newProgress(cmd, output.quiet)
			choice, err := chooseFor(cmd.Context(), w, limit, &p, progress)
			if err != nil {
				return err
			}
			r, err := pipeline.Run(cmd.Context(), b, w, pipeline.Options{
				Preset: p, Out: out, Seed: seed, Threads: machine.threads, Resume: resume, Given: given.dirs, Teachers: teachers,
				Assistant: assistant, Command: commandLine(), Version: programVersion(), Choice: choice, Measure: measuring, Patience: patience, Scorer: marker,
			}, progress)
			if err != nil {
				return resumable(cmd.Context(), err, resume, lacks...)
			}
			return output.print(cmd, r, func(stdout io.Writer) { summary(stdout, r, out) })
		},
	}
	fs := cmd.Flags()
	work.register(fs)
	work.registerTokenizer(fs)
	machine.register(fs)
	output.register(fs)
	fs.StringVar(&preset, "preset", "", "settings, as mito info lists them; the first of the workload where it is left out")
	fs.StringVar(&out, "out", "", "folder for everything; a fresh one under mito-out where it is left out")
	fs.Uint64Var(&seed, "seed", 1, "seed of models, batches and games")
	fs.BoolVar(&resume, "resume", false, "continue the run in --out, or begin it where there is none")
	fs.IntVar(&teachers, "teachers", 1, "teachers whose mean probabilities the student learns from")
	fs.StringVar(&assistant, "assistant", "", "architecture of an assistant between teacher and student, one of those that mito info lists")
	fs.StringVar(&shape, "arch", "", "architecture of the student, one of those that mito info lists; the preset's where it is left out")
	given.register(fs, "folder of a model that teaches as it is, in place of one that is trained; may be given several times")
	scorer.register(fs)
	fs.StringVar(&budget, "budget", "", "what the student may cost on a device: flash=BYTES with its code, ram=BYTES with the stack, tok_s=N tokens a second here; chooses the architecture, the context of a text, and what is pruned or has fewer bits; K and M are 1024 and 1024²")
	fs.IntVar(&games, "games", 0, "games, boards or held-out prompts of each score; the preset's number where it is left out")
	return cmd
}

// parseBudget reads --budget; nil for none.
func parseBudget(text, shape string) (*search.Budget, error) {
	if text == "" {
		return nil, nil
	}
	if shape != "" {
		return nil, usagef("--budget and --arch contradict each other: a budget chooses the architecture")
	}
	b, err := search.Parse(text)
	if err != nil {
		return nil, usagef("--%w", err)
	}
	return &b, nil
}

// chooseFor picks the student that a budget leaves room for and says which; nil without a budget.
func chooseFor(ctx context.Context, w *pipeline.Workload, b *search.Budget, preset *pipeline.Preset, p pipeline.Progress) (*pipeline.Choice, error) {
	if b == nil {
		return nil, nil
	}
	p.Start("budget", 0)
	c, err := w.Choose(ctx, *b, preset)
	if small := (*search.BudgetError)(nil); errors.As(err, &small) {
		p.End(pipeline.Stopped)
		return nil, usagef("--%w", small)
	}
	if err != nil {
		p.End(pipeline.Stopped)
		return nil, err
	}
	p.End(c.Why)
	return c, nil
}

// patience is how long a pipeline waits, in all, for a machine on which others are busy, to measure its speeds.
const patience = 5 * time.Second

// freshFolder names a folder under mito-out that is not there yet.
func freshFolder(work workFlags) (string, error) {
	name := work.task
	if path := work.path(); path != "" {
		name = strings.TrimSuffix(filepath.Base(filepath.Clean(path)), filepath.Ext(path))
	}
	for i := 1; i < 10000; i++ {
		dir := filepath.Join("mito-out", name)
		if i > 1 {
			dir = fmt.Sprintf("%s-%d", dir, i)
		}
		if _, err := os.Lstat(dir); os.IsNotExist(err) {
			return dir, nil
		}
	}
	return "", fmt.Errorf("mito-out is full of runs called %s; name another folder with --out", name)
}

func summary(w io.Writer, r *report.Report, out string) {
	fmt.Fprintf(w, "%-20s %12s %12s %12s %14s\n", "", "parameters", "bytes", "loss (nats)", "tokens/s")
	for i := range r.Candidates {
		c, mark := &r.Candidates[i], ""
		if c.Disturbed {
			mark = " (disturbed)"
		}
		fmt.Fprintf(w, "%-20s %12d %12d %12.4f %14.0f%s\n", c.Name, c.Params, c.Bytes, c.LossNats, c.Speed, mark)
	}
	for i, s := range r.Student.Scores {
		fmt.Fprintf(w, "\n%s\n", s.Name)
		for _, c := range r.Candidates {
			fmt.Fprintf(w, "%-20s %s\n", c.Name, c.Scores[i].Text)
		}
	}
	fmt.Fprintf(w, "\ndigest %s\n", r.Compressed.Digest)
	fmt.Fprintf(w, "%.0f s; the report is %s, the student that ships is %s\n", r.Seconds,
		filepath.Join(out, report.MarkdownName), filepath.Join(out, r.Compressed.Dir))
}

// closing closes at the end of a function and keeps the first error.
func closing(c interface{ Close() error }, err *error) {
	if e := c.Close(); *err == nil {
		*err = e
	}
}
