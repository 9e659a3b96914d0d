package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"mito/backend"
	"mito/engine/compress/search"
	"mito/engine/pipeline"
	"mito/engine/train"
)

// searchFlags are those of the command.
type searchFlags struct {
	machine machineFlags
	work    workFlags
	output  outputFlags
	serve   serveFlags
	o       pipeline.SearchOptions
	budget  string

	// inWorker takes the place of the search in a worker, which runs trials of it.
	inWorker func(ctx context.Context, b backend.Backend, w *pipeline.Workload, o pipeline.SearchOptions) error
}

func newSearch() *cobra.Command { return new(searchFlags).command() }

func (f *searchFlags) command() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "search",
		Short: "Find the best INT8 students of a trained model under a budget of bytes, memory and speed",
		Long: `Try students of a trained float model: with fewer layers, heads and neurons; with 4x8 blocks of zeros, alike everywhere or
more of them where they cost least; with weights of fewer bits than 8, in all matrices, in those of attention or the MLP, or in each
what its measured sensitivity leaves it. All keep --budget before they are trained; many train for few steps, the best third for
three times as many, and so on up to --steps. What comes out is a front of sizes and losses in --out, with every student, and
beside it those that only have the same sparsity or the same bits everywhere. Trials are chosen on a tenth of the training data;
the held-out part judges the front alone.

With --serve the trials are run by workers too, mito worker, on this machine or others: this process hands them out by NATS, with the
queue in --out, and runs some itself. A search that is stopped or killed goes on with --resume, and so do its workers.`,
		Example: "  mito search --model book --corpus book.txt --budget flash=256K,tok_s=5000 --trials 9 --steps 300 --out found",
		Args:    noArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	fs := cmd.Flags()
	f.work.register(fs)
	f.machine.register(fs)
	f.output.register(fs)
	f.serve.register(fs)
	o := &f.o
	fs.StringVar(&o.Dir, "model", "", "folder of the trained float model (required)")
	fs.StringVar(&o.Out, "out", "", "folder for the trials and the result (required)")
	fs.StringVar(&f.budget, "budget", "", "what a student may cost (required): flash=BYTES of its file, ram=BYTES beside it, tok_s=N tokens a second here; K and M are 1024 and 1024²")
	fs.IntVar(&o.Trials, "trials", 9, "students of the first round")
	fs.IntVar(&o.Rows, "calibrate", 64, "training sequences that scores look at")
	registerHealing(fs, &o.Healing, "of the last round, by distillation from --teacher")
	fs.Lookup("steps").DefValue = "300"
	o.Train.Steps = 300
	return cmd
}

func (f *searchFlags) run(cmd *cobra.Command) (err error) {
	began, o := time.Now(), &f.o
	if o.Dir == "" || o.Out == "" || f.budget == "" {
		return usagef("--model, --out and --budget are needed: a trained model, a folder for the trials, and what a student may cost")
	}
	if o.Budget, err = search.Parse(f.budget); err != nil {
		return usagef("--%w", err)
	}
	if o.Train.Steps < 1 {
		return usagef("--steps is %d, want 1 or more", o.Train.Steps)
	}
	if err := f.serve.check(cmd.Flags()); err != nil {
		return err
	}
	if err := checkHealing(cmd.Flags(), &o.Healing, &f.work); err != nil {
		return err
	}
	if err := o.Check(); errors.As(err, new(*train.OptionError)) {
		return usage(err)
	} else if err != nil {
		return err
	}
	start, err := pipeline.OpenStart(o.Dir)
	if err != nil {
		return fmt.Errorf("--model: %w", err)
	}
	b, err := f.machine.open(cmd, f.output.quiet)
	if err != nil {
		return err
	}
	defer closing(b, &err)
	w, err := f.work.openFor(cmd, start, o.Dir)
	if err != nil {
		return err
	}
	if f.inWorker != nil {
		return f.inWorker(cmd.Context(), b, w, *o)
	}
	end, err := f.serve.begin(cmd, f, b)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, end(err)) }()
	r, err := pipeline.Search(cmd.Context(), b, w, *o, once{newProgress(cmd, f.output.quiet)})
	if option := (*train.OptionError)(nil); errors.As(err, &option) {
		return usage(err)
	}
	if small := (*search.BudgetError)(nil); errors.As(err, &small) {
		return usagef("--%w", small)
	}
	if err != nil && o.Begun() {
		return resumable(cmd.Context(), err, o.Resume)
	}
	if err != nil {
		return err
	}
	result := struct {
		Task    string  `json:"task"`
		Backend string  `json:"backend"`
		Seconds float64 `json:"seconds"`
		*pipeline.Searched
	}{w.Name, b.Info().Name, time.Since(began).Seconds(), r}
	return f.output.print(cmd, result, func(stdout io.Writer) {
		row := func(kind string, o search.Outcome) {
			fmt.Fprintf(stdout, "%-8s %-16s %9d %8d %8.0f %6d %5d %7d %8.3f %6.2f %-16s %6d %10.4f %10.4f\n", kind, o.Name, o.Flash, o.RAM, o.TokS,
				o.Trial.Layers, o.Trial.Heads, o.Trial.Neurons, o.Trial.Sparsity, o.Trial.Spread, bitsWord(o.Trial.Bits), o.Trial.Steps, o.Loss, o.Test)
		}
		fmt.Fprintf(stdout, "%-8s %-16s %9s %8s %8s %6s %5s %7s %8s %6s %-16s %6s %10s %10s\n", "", "trial", "flash", "ram", "tok/s", "layers",
			"heads", "neurons", "sparsity", "spread", "bits", "steps", "loss", "test loss")
		for _, o := range r.Front {
			row("front", o)
		}
		row("best", r.Best)
		for _, o := range r.Uniform {
			row("uniform", o)
		}
	})
}

// bitsWord is how a table says the bits of a trial: of those that each matrix has by itself search.json has the list.
func bitsWord(bits string) string {
	if strings.Count(bits, ",") > 1 {
		return "by matrix"
	}
	return bits
}
