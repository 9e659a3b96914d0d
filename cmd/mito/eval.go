package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/spf13/cobra"

	"mito/engine/decode"
	"mito/engine/pipeline"
	"mito/engine/report"
	"mito/engine/task"
)

func newEval() *cobra.Command {
	var (
		machine  machineFlags
		work     workFlags
		output   outputFlags
		model    string
		split    string
		opponent string
		games    int
		seed     uint64
	)
	cmd := &cobra.Command{
		Use:     "eval",
		Short:   "Loss of a model on held-out data, and its score at a task",
		Example: "  mito eval --model mito-out/tictactoe/compressed --task tictactoe --opponent perfect",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if model == "" {
				return usagef("--model is missing: the folder of a model")
			}
			if err := work.check(cmd.Flags(), "split", "opponent", "games", "seed"); err != nil {
				return err
			}
			if err := machine.check(); err != nil {
				return err
			}
			switch sp := task.Split(split); {
			case sp != task.Train && sp != task.Test && sp != task.All:
				return usagef("--split is %q, want train, test or all", split)
			case games < 1:
				return usagef("--games is %d, want 1 or more", games)
			}
			dir, err := modelFolder("--model", model)
			if err != nil {
				return err
			}
			rt, err := decode.Open(dir, decode.Options{Threads: machine.threads})
			if err != nil {
				return err
			}
			defer closing(rt, &err)
			if rt.Tokenizer() == nil {
				return fmt.Errorf("%s has no tokenizer.json, so nothing can be written for it", model)
			}
			if !cmd.Flags().Changed("context") {
				work.context = rt.Context()
			}
			w, err := work.open(cmd.Context(), cmd.Flags(), nil, rt.Tokenizer())
			if err != nil {
				return err
			}
			e, err := w.Eval(task.Split(split), 64)
			if err != nil {
				return err
			}
			loss, err := decode.Loss(cmd.Context(), rt, e)
			if err != nil {
				return err
			}
			r := evalResult{Task: w.Name, LossNats: report.Number(loss.PerToken()), BitsPerByte: report.Number(loss.BitsPerByte()), Tokens: int64(math.Round(loss.Weight))}
			words := ""
			if w.Task != nil {
				player, err := decode.NewPlayer(cmd.Context(), rt, 64)
				if err != nil {
					return err
				}
				p := newProgress(output.quiet)
				p.Start("playing", games)
				s, err := w.Task.Score(cmd.Context(), player, task.ScoreOptions{
					Games: games, Opponent: opponent, Seed: seed, Progress: func(done, _ int) { p.Update(done, "") },
				})
				if err != nil {
					p.End(pipeline.Stopped)
					if unknown := (*task.OpponentError)(nil); errors.As(err, &unknown) {
						return usage(err)
					}
					return err
				}
				p.End("done")
				words = s.String()
				if r.Score, err = json.Marshal(s); err != nil {
					return err
				}
			}
			return output.print(r, func(stdout io.Writer) {
				fmt.Fprintf(stdout, "loss %.4f nats, %.4f bits per byte over %d tokens\n", r.LossNats, r.BitsPerByte, r.Tokens)
				if words != "" {
					fmt.Fprintln(stdout, words)
				}
			})
		},
	}
	fs := cmd.Flags()
	work.register(fs)
	machine.registerThreads(fs)
	output.register(fs)
	fs.StringVar(&model, "model", "", "folder of the model, float or INT8 (required)")
	fs.StringVar(&split, "split", string(task.Test), "task: positions to evaluate the loss on: train, test or all")
	fs.StringVar(&opponent, "opponent", "", "task: opponent to play; the weakest where it is left out")
	fs.IntVar(&games, "games", task.DefaultGames, "task: games or boards")
	fs.Uint64Var(&seed, "seed", 1, "seed of the opponent or the boards")
	return cmd
}

type evalResult struct {
	Task        string          `json:"task"`
	LossNats    report.Number   `json:"loss_nats"`
	BitsPerByte report.Number   `json:"bits_per_byte"`
	Tokens      int64           `json:"tokens"` // whose loss counts
	Score       json.RawMessage `json:"score"`
}
