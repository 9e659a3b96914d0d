package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"mito/engine/decode"
	"mito/engine/eval"
	"mito/engine/pipeline"
	"mito/engine/task"
)

func newDistill() *cobra.Command {
	var (
		f        fitFlags
		teachers teacherFlags
		cache    bool
		draftFor string
	)
	o := pipeline.RecipeOf("").Distill
	cmd := &cobra.Command{
		Use:   "distill",
		Short: "Train a student on what one or more teachers say, and on the labels",
		Long: `Train a student on what one or more teachers say, and on the labels.

With --draft-for the student becomes a draft that guesses for the model named there (mito generate --draft): that model is the
teacher, its probabilities as they are (--alpha 0, --temperature 1) and its context are learned, and in the end it is told how much
of the draft's guesses the model accepts on the held-out part.`,
		Example: "  mito distill --teacher teacher --task tictactoe --arch micro --out student\n" +
			"  mito distill --teacher gpt2-folder --tokenizer chars --corpus book.txt --arch edge --out student\n" +
			"  mito distill --draft-for book --corpus book.txt --arch micro --out draft",
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if err := f.check(cmd.Flags()); err != nil {
				return err
			}
			if draftFor != "" {
				if len(teachers.dirs) > 0 {
					return usagef("--draft-for and --teacher contradict each other: the model that is drafted for is the teacher")
				}
				teachers.dirs = []string{draftFor}
				if !cmd.Flags().Changed("alpha") {
					o.Alpha = 0
				}
				if !cmd.Flags().Changed("temperature") {
					o.Temperature = 1
				}
			}
			if len(teachers.dirs) == 0 {
				return usagef("--teacher is missing: the folder of a trained model; may be given several times")
			}
			if err := teachers.check(cmd.Flags()); err != nil {
				return err
			}
			if !cache {
				if err := without(cmd.Flags(), "a run without --cache", "top-k"); err != nil {
					return err
				}
			}
			if err := o.Validate(); err != nil {
				return usage(err)
			}
			tok, err := teachers.tokens()
			if err != nil {
				return err
			}
			b, err := f.machine.open(cmd, f.output.quiet)
			if err != nil {
				return err
			}
			defer closing(b, &err)
			if err := f.ranks.join(cmd, b, f.output.quiet); err != nil {
				return err
			}
			defer f.ranks.leave(&err)
			start, err := f.start(cmd.Flags())
			if err != nil {
				return err
			}
			if start != nil {
				tok = start.Tokenizer
			}
			if draftFor != "" {
				c, err := pipeline.OpenStart(teachers.dirs[0])
				if err != nil {
					return fmt.Errorf("--draft-for: %w", err)
				}
				if f.work.corpus != "" {
					if err := f.work.fitContext(cmd.Flags(), "--draft-for", draftFor, c.Config.Context); err != nil {
						return err
					}
				}
			}
			w, err := f.work.open(cmd, nil, tok)
			if err != nil {
				return err
			}
			if !cmd.Flags().Changed("temperature") && draftFor == "" {
				if err := teachers.temper(&o, w); err != nil {
					return err
				}
			}
			fit, err := f.options(cmd.Flags(), "distill", w, start)
			if err != nil {
				return err
			}
			for _, dir := range teachers.dirs {
				t, err := pipeline.OpenTeacher(b, dir)
				if err != nil {
					return err
				}
				defer closing(t, &err)
				fit.Teachers = append(fit.Teachers, t)
				if start == nil && teachers.same(w) { // many models have more logits than their tokenizer has ids, a round number
					fit.Config.VocabSize = max(fit.Config.VocabSize, t.Model.Config.VocabSize)
				}
			}
			fit.Distill, fit.Cache = o, cache
			if draftFor != "" {
				f.judge = func(dir string) (*eval.Acceptance, error) {
					return acceptance(cmd, teachers.dirs[0], dir, w, f.machine.threads)
				}
			}
			return f.run(cmd, b, w, fit)
		},
	}
	fs := cmd.Flags()
	f.register(fs, func(r pipeline.Recipe) string { return r.Student })
	teachers.register(fs, "folder of a teacher; given several times, their mean probabilities teach")
	fs.StringVar(&draftFor, "draft-for", "", "folder of a float model that the student is to guess ahead for, in place of --teacher")
	fs.Float64Var(&o.Temperature, "temperature", o.Temperature, "temperature of the teachers' and the student's probabilities; 1 where their tokens differ and it is left out")
	fs.Float64Var(&o.Alpha, "alpha", o.Alpha, "weight of the labels; the rest is the teachers'")
	fs.BoolVar(&cache, "cache", false, "keep the teachers' outputs in the run folder and learn from the largest of them")
	fs.IntVar(&o.TopK, "top-k", o.TopK, "with --cache: probabilities kept for a token")
	return cmd
}

// acceptance measures how much of a draft's guesses its target accepts.
func acceptance(cmd *cobra.Command, target, dir string, w *pipeline.Workload, threads int) (_ *eval.Acceptance, err error) {
	e, err := w.Eval(task.Test, evalRows(w.Context))
	if err != nil {
		return nil, err
	}
	t, err := decode.Open(target, decode.Options{Threads: threads})
	if err != nil {
		return nil, err
	}
	defer closing(t, &err)
	d, err := decode.Open(dir, decode.Options{Threads: threads})
	if err != nil {
		return nil, err
	}
	defer closing(d, &err)
	a, err := eval.Accepted(cmd.Context(), t, d, e)
	return &a, err
}
