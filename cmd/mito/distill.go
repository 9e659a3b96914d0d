package main

import (
	"github.com/spf13/cobra"

	"mito/engine/pipeline"
)

func newDistill() *cobra.Command {
	var (
		f        fitFlags
		teachers teacherFlags
		cache    bool
	)
	o := pipeline.RecipeOf("").Distill
	cmd := &cobra.Command{
		Use:     "distill",
		Short:   "Train a student on what one or more teachers say, and on the labels",
		Example: "  mito distill --teacher teacher --task tictactoe --arch micro --out student",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if err := f.check(cmd.Flags()); err != nil {
				return err
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
			start, err := f.start(cmd.Flags())
			if err != nil {
				return err
			}
			if start != nil {
				tok = start.Tokenizer
			}
			w, err := f.work.open(cmd, nil, tok)
			if err != nil {
				return err
			}
			if !cmd.Flags().Changed("temperature") {
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
			return f.run(cmd, b, w, fit)
		},
	}
	fs := cmd.Flags()
	f.register(fs, func(r pipeline.Recipe) string { return r.Student })
	teachers.register(fs, "folder of a teacher; given several times, their mean probabilities teach")
	fs.Float64Var(&o.Temperature, "temperature", o.Temperature, "temperature of the teachers' and the student's probabilities; 1 where their tokens differ and it is left out")
	fs.Float64Var(&o.Alpha, "alpha", o.Alpha, "weight of the labels; the rest is the teachers'")
	fs.BoolVar(&cache, "cache", false, "keep the teachers' outputs in the run folder and learn from the largest of them")
	fs.IntVar(&o.TopK, "top-k", o.TopK, "with --cache: probabilities kept for a token")
	return cmd
}
