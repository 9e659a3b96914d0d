package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"mito/bench"
	"mito/engine/files"
	"mito/kernels/isa"
	"mito/kernels/parallel"
)

// runBench is exchanged by tests: a benchmark takes many seconds.
var runBench = bench.Run

func newBench() *cobra.Command {
	var (
		output   outputFlags
		o        bench.Options
		markdown bool
		out      string
		record   string
		quick    bool
		model    gpuModelFlags
	)
	cmd := &cobra.Command{
		Use:   "bench NAME",
		Short: "Measure kernels, decoding, training or the techniques beside the limits of this machine",
		Long: `Measure this machine: kernels, decode, train or techniques. Each rate stands beside the limit of the hardware,
measured in the same run; a value is the median over rounds. --level makes the kernels do with the instruction sets of a
lesser processor.

gpu-model measures nothing: it records a training step as it would be sent to a GPU and adds up what every launch needs at least on
a named card, without a GPU.`,
		Example: "  mito bench decode\n  mito bench train --rounds 9 --markdown\n  mito bench gpu-model --card a100",
		Args:    oneOf("benchmark", append(bench.Names(), gpuModel)...),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := model.check(cmd.Flags(), args[0]); err != nil {
				return err
			}
			if args[0] == gpuModel {
				return model.run(cmd, &output, markdown, out)
			}
			if quick {
				hurry(cmd.Flags(), &o)
			}
			o.Command = commandLine()
			if o.Rounds < 1 {
				return usagef("--rounds is %d, want 1 or more", o.Rounds)
			}
			if err := checkLab(cmd.Flags(), args[0], &o); err != nil {
				return err
			}
			if o.Patience < 0 {
				return usagef("--patience is %v, want 0 or more", o.Patience)
			}
			if o.Threads < 2 || o.Threads > parallel.MaxThreads {
				return usagef("--threads is %d, want 2 to %d: it is for the rows with several threads, the others have one", o.Threads, parallel.MaxThreads)
			}
			p := newProgress(cmd, output.quiet)
			stage := "" // that is under way
			o.Progress = func(done, total int, name string) {
				begin := "measuring"
				if total == 0 { // an experiment, whose end is not known
					begin = name
				}
				if begin != stage {
					if stage != "" {
						p.End("done")
					}
					p.Start(begin, total)
					stage = begin
				}
				p.Update(done, name)
			}
			r, err := runBench(cmd.Context(), args[0], o)
			if errors.Is(err, isa.ErrUnknownVariant) {
				return &usageError{err}
			}
			if err != nil {
				return err
			}
			p.End(fmt.Sprintf("%d rows, %d rounds", len(r.Results), r.Rounds))
			if markdown && out == "" {
				out = filepath.Join("bench", "results", r.Machine.Slug()+".md")
			}
			if out != "" {
				if err := updateResults(out, r); err != nil {
					return err
				}
			}
			if record != "" {
				if err := recordRows(record, r, o.Command); err != nil {
					return err
				}
			}
			return output.print(cmd, r, func(stdout io.Writer) { printBench(stdout, r) })
		},
	}
	flags := cmd.Flags()
	output.register(flags)
	model.register(flags)
	flags.IntVar(&o.Rounds, "rounds", 5, "rounds; a value is the median over them")
	flags.StringVar(&o.Level, "level", "", fmt.Sprintf("the most that kernels may use of the processor: %v; the best where it is left out", isa.Levels()))
	flags.IntVar(&o.Threads, "threads", min(max(2, runtime.GOMAXPROCS(0)), parallel.MaxThreads), fmt.Sprintf("CPU threads of the rows with several, %d at most", parallel.MaxThreads))
	flags.StringVar(&o.Only, "only", "", "techniques: only one of "+strings.Join(bench.Techniques(), ", "))
	flags.StringVar(&o.Corpus, "corpus", "", "techniques: text to train models on, for rows of what techniques do to the loss; takes minutes")
	flags.StringVar(&o.AdaptTo, "adapt-to", "", "techniques: with --corpus, the text that lora adapts to and accumulation is tried on")
	flags.IntVar(&o.Steps, "steps", 2000, "techniques: with --corpus, steps of the model that lora and convert begin with; the others follow")
	flags.BoolVar(&quick, "quick", false, "techniques: one round, and with --corpus 100 steps, where --rounds and --steps do not say otherwise: minutes for all of them")
	flags.StringVar(&record, "record", "", "techniques: put what experiments found into this JSON file, which the table reads where a run has no such rows: bench/results/recorded.json")
	flags.DurationVar(&o.Patience, "patience", 0, "how long in all to measure again what other programs disturbed, such as 2m (linux)")
	flags.BoolVar(&markdown, "markdown", false, "write the table into bench/results/MACHINE.md (gpu-model.md) below this folder, in place of an older one")
	flags.StringVar(&out, "out", "", "write the table into this file instead, in place of an older one")
	return cmd
}

// hurry makes a run of the techniques short.
func hurry(fs *pflag.FlagSet, o *bench.Options) {
	if !fs.Changed("rounds") {
		o.Rounds = 1
	}
	if !fs.Changed("steps") {
		o.Steps = 100
	}
}

// recordRows puts the rows of experiments into a file of recorded ones.
func recordRows(path string, r *bench.Report, command string) error {
	var old []bench.Recorded
	if err := files.ReadJSON(path, &old, 0); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return files.WriteJSON(path, bench.Record(old, r, command))
}

// checkLab refuses flags of the experiments without them.
func checkLab(fs *pflag.FlagSet, name string, o *bench.Options) error {
	if name != "techniques" {
		return without(fs, "bench "+name, "only", "corpus", "adapt-to", "steps", "quick", "record")
	}
	if o.Only != "" && !slices.Contains(bench.Techniques(), o.Only) {
		return usagef("--only is %q, want one of %s", o.Only, strings.Join(bench.Techniques(), ", "))
	}
	if o.Corpus == "" {
		return without(fs, "a run without --corpus", "adapt-to", "steps")
	}
	if o.Steps < 1 {
		return usagef("--steps is %d, want 1 or more", o.Steps)
	}
	return nil
}

// updateResults puts the table into a file of results.
func updateResults(path string, r *bench.Report) error {
	return updateFile(path, func(old string) string { return bench.Update(old, r) })
}

// updateFile replaces a file, which may be missing, at once or not at all.
func updateFile(path string, update func(old string) string) error {
	old, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return files.SaveFile(path, func(w io.Writer) error {
		_, err := io.WriteString(w, update(string(old)))
		return err
	})
}

func printBench(w io.Writer, r *bench.Report) {
	fmt.Fprintf(w, "%s, %d cores, %s/%s, %s\n", r.Machine.Processor, r.Machine.Cores, r.Machine.OS, r.Machine.Arch, r.Machine.Go)
	tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, x := range r.TechniqueRows() {
		fmt.Fprintf(w, "\n%s\n  expected  %s\n  measured  %s\n  how       %s\n", x.Name, x.Expected, x.Measured, x.How)
		for c := range strings.SplitSeq(x.Command, "; ") {
			if c != "" {
				fmt.Fprintf(w, "            %s\n", c)
			}
		}
	}
	if len(r.TechniqueRows()) > 0 {
		fmt.Fprintln(w)
	}
	for _, x := range r.Measurements() {
		threads, of := "", ""
		if x.Threads > 0 {
			threads = fmt.Sprintf("%d thr", x.Threads)
		}
		if x.Limit > 0 {
			of = fmt.Sprintf("%.0f%% of %s (%s)", 100*x.OfLimit, bench.Number(x.Limit), x.LimitName)
		}
		fmt.Fprintf(tab, "%s\t%s\t%s\t%s\t%s\t%s\n", x.Name, threads, x.Variant, bench.Number(x.Value), x.Unit, of)
	}
	tab.Flush()
	if r.Disturbed > 0 {
		fmt.Fprintf(w, "%.0f%% of the measurements were disturbed by other programs; --patience measures them again\n", 100*r.Disturbed)
	}
}
