package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"mito/engine/data"
	"mito/engine/decode"
	"mito/engine/eval"
	"mito/engine/pipeline"
	"mito/engine/report"
	"mito/engine/task"
)

// evalFlags are those of eval.
type evalFlags struct {
	machine  machineFlags
	work     workFlags
	output   outputFlags
	model    string
	split    string
	opponent string
	player   string
	games    int
	seed     uint64
	all      bool
	adapter  adapterFlags
	scorer   scorerFlag

	confidence  bool
	calibration string
}

func newEval() *cobra.Command {
	var f evalFlags
	cmd := &cobra.Command{
		Use:   "eval",
		Short: "Loss of a model on held-out data, and its score at a task",
		Long: `Compute the loss of a model on data that it was not trained on: the test positions of a task, or the end of a text. At
a task it plays too; of examples and of commands it answers the held-out prompts. With --all the whole text counts, for one that the model has never seen.

With --confidence, one half of the rows fits a temperature to the model's probabilities, and the other half says how far they can be
believed then: the calibration error, and how much is right where the model answers only when it is sure. --calibration
writes the temperature to a file for mito generate.`,
		Example: "  mito eval --model mito-out/tictactoe/compressed --task tictactoe --opponent perfect\n" +
			"  mito eval --model book/model --corpus another.txt --all",
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.check(cmd.Flags()); err != nil {
				return err
			}
			return f.run(cmd)
		},
	}
	fs := cmd.Flags()
	f.work.register(fs)
	f.machine.registerThreads(fs)
	f.output.register(fs)
	fs.StringVar(&f.model, "model", "", "folder of the model, float or INT8 (required)")
	f.adapter.register(fs, "")
	fs.StringVar(&f.split, "split", string(task.Test), "task, examples: positions to evaluate the loss on, of puzzle8 boards to begin with too, or prompts that are asked too: train, test or all")
	fs.BoolVar(&f.all, "all", false, "corpus: evaluate on the whole text, not only on its held-out end")
	fs.StringVar(&f.opponent, "opponent", "", "task: opponent to play; the weakest where it is left out")
	fs.StringVar(&f.player, "player", "", "puzzle8: how the model plays: policy, policy-without-repeats, and where it answers distances nearest, nearest-without-repeats; policy where it is left out")
	fs.IntVar(&f.games, "games", task.DefaultGames, "task, examples: games, boards or held-out prompts, at most")
	fs.Uint64Var(&f.seed, "seed", 1, "seed of the opponent or the boards")
	f.scorer.register(fs)
	fs.BoolVar(&f.confidence, "confidence", false, "fit a temperature; print the calibration error, and the accuracy at several coverages")
	fs.StringVar(&f.calibration, "calibration", "", "with --confidence: new file for the temperature, for mito generate --calibration")
	return cmd
}

func (f *evalFlags) check(fs *pflag.FlagSet) error {
	if f.model == "" {
		return usagef("--model is missing: the folder of a model")
	}
	switch {
	case f.work.corpus != "" && f.work.heldOut == 1: // all of it is held out
		f.all, f.work.heldOut = true, 0.5
	case f.work.corpus != "" && f.all:
		if err := without(fs, "--all", "held-out"); err != nil {
			return err
		}
	case f.work.task != "" || f.work.examples != "":
		if err := without(fs, f.work.flag(), "all"); err != nil {
			return err
		}
	}
	if len(f.adapter) > 1 {
		return usagef("--adapter is given %d times: one is evaluated at a time", len(f.adapter))
	}
	if err := f.work.check(fs, "split", "opponent", "player", "games", "seed", "scorer"); err != nil {
		return err
	}
	if err := f.scorer.check(f.work); err != nil {
		return err
	}
	if err := f.machine.check(); err != nil {
		return err
	}
	if sp := task.Split(f.split); sp != task.Train && sp != task.Test && sp != task.All {
		return usagef("--split is %q, want train, test or all", f.split)
	}
	if err := checkGames(f.games); err != nil {
		return err
	}
	if f.calibration != "" && !f.confidence {
		return usagef("--calibration needs --confidence, which fits what is written")
	}
	if f.work.corpus != "" {
		if f.split = string(task.Test); f.all {
			f.split = string(task.All)
		}
		f.work.only = task.Split(f.split)
	}
	return nil
}

// maxGames is beyond what an interval needs: it tells shares a third of a percent apart. All games are played side by side.
const maxGames = 100_000

func checkGames(n int) error {
	if n < 1 || n > maxGames {
		return usagef("--games is %d, want 1 to %d", n, maxGames)
	}
	return nil
}

func (f *evalFlags) run(cmd *cobra.Command) (err error) {
	dir, err := modelFolder("--model", f.model)
	if err != nil {
		return err
	}
	list, err := f.adapter.load(dir)
	if err != nil {
		return err
	}
	rt, err := decode.Open(dir, decode.Options{Threads: f.machine.threads, Adapters: list})
	if err != nil {
		return err
	}
	defer closing(rt, &err)
	if len(list) > 0 {
		if rt, err = decode.WithAdapter(rt, list[0].Name); err != nil {
			return err
		}
	}
	if rt.Tokenizer() == nil {
		return fmt.Errorf("%s has no tokenizer.json, so nothing can be written for it", f.model)
	}
	if err := f.work.fitContext(cmd.Flags(), "--model", f.model, rt.Context()); err != nil {
		return err
	}
	w, err := f.work.open(cmd, nil, rt.Tokenizer())
	if err != nil {
		return err
	}
	e, err := awaited(cmd.Context(), func() (data.Eval, error) { return w.Eval(task.Split(f.split), evalRows(w.Context)) })
	if err != nil {
		return err
	}
	loss, err := eval.Loss(cmd.Context(), rt, e)
	if err != nil {
		return err
	}
	r := evalResult{Task: w.Name, LossNats: report.Number(loss.PerToken()), BitsPerByte: report.Number(loss.BitsPerByte()), Tokens: int64(math.Round(loss.Weight))}
	if f.confidence {
		c, err := eval.Calibrate(cmd.Context(), rt, e)
		if err != nil {
			return err
		}
		r.Confidence = &c
		if f.calibration != "" {
			if err := saveCalibration(f.calibration, dir, c); err != nil {
				return err
			}
		}
	}
	words := ""
	if w.Task != nil {
		s, err := f.play(cmd, rt, w)
		if err != nil {
			return err
		}
		words = s.String()
		if r.Score, err = json.Marshal(s); err != nil {
			return err
		}
	}
	return f.output.print(cmd, r, func(stdout io.Writer) {
		fmt.Fprintf(stdout, "loss %.4f nats, %.4f bits per byte over %d tokens\n", r.LossNats, r.BitsPerByte, r.Tokens)
		if r.Confidence != nil {
			fmt.Fprintln(stdout, *r.Confidence)
		}
		if words != "" {
			fmt.Fprintln(stdout, words)
		}
	})
}

// evalRows is the number of sequences that are evaluated at once, on which no result depends: 64, and fewer where they are
// so long that a batch of them would take more than a few megabytes.
func evalRows(context int) int { return max(1, min(64, (1<<18)/context)) }

func (f *evalFlags) play(cmd *cobra.Command, rt decode.Runtime, w *pipeline.Workload) (s task.Score, err error) {
	player, err := pipeline.NewPlayer(cmd.Context(), rt, w.Task)
	if err != nil {
		return s, err
	}
	scorer, done, err := f.scorer.start()
	if err != nil {
		return s, err
	}
	defer done()
	p := newProgress(cmd, f.output.quiet)
	p.Start("playing", f.games)
	s, err = w.Task.Score(cmd.Context(), player, task.ScoreOptions{
		Games: f.games, Opponent: f.opponent, Player: f.player, Seed: f.seed, Split: task.Split(f.split), Marker: scorer, Progress: func(done, _ int) { p.Update(done, "") },
	})
	if err != nil {
		p.End(pipeline.Stopped)
		if opponent, player := (*task.OpponentError)(nil), (*task.PlayerNameError)(nil); errors.As(err, &opponent) || errors.As(err, &player) {
			return s, usage(err)
		}
		return s, err
	}
	p.End("done")
	return s, nil
}

type evalResult struct {
	Task        string          `json:"task"`
	LossNats    report.Number   `json:"loss_nats"`
	BitsPerByte report.Number   `json:"bits_per_byte"`
	Tokens      int64           `json:"tokens"` // whose loss counts
	Score       json.RawMessage `json:"score"`

	Confidence *eval.Calibration `json:"confidence,omitempty"`
}
