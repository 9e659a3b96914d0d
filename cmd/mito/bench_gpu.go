package main

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"mito/backend"
	"mito/backend/cuda"
	"mito/bench"
	"mito/engine/train"
)

// gpuModel is the benchmark that measures nothing.
const gpuModel = "gpu-model"

// gpuModelFlags choose the step and the card of a model.
type gpuModelFlags struct{ card, step, optimizer, precision string }

func (f *gpuModelFlags) register(fs *pflag.FlagSet) {
	fs.StringVar(&f.card, "card", "h100", "gpu-model: "+strings.Join(cuda.CardIDs(), ", "))
	fs.StringVar(&f.step, "step", "7M", "gpu-model: the step, "+strings.Join(bench.GPUSteps(), ", ")+"; the last distils the second from the first")
	fs.StringVar(&f.optimizer, "optimizer", train.AdamW, "gpu-model: "+train.AdamW+" or "+train.Muon)
	fs.StringVar(&f.precision, "precision", backend.BFloat16.String(), "gpu-model: fp32 or bf16")
}

// check refuses flags of other benchmarks.
func (f *gpuModelFlags) check(fs *pflag.FlagSet, name string) error {
	if name != gpuModel {
		return without(fs, "bench "+name, "card", "step", "optimizer", "precision")
	}
	return without(fs, "bench "+gpuModel, "rounds", "level", "threads", "patience", "only", "corpus", "adapt-to", "steps")
}

// run models a step and prints it, or writes it into a file of results.
func (f *gpuModelFlags) run(cmd *cobra.Command, output *outputFlags, markdown bool, out string) error {
	precision, err := backend.ParsePrecision(f.precision)
	if err != nil {
		return usage(err)
	}
	if precision == backend.CublasLt {
		return usagef("--precision %v: gpu-model models mito's own kernels, not NVIDIA's library; take fp32 or bf16", precision)
	}
	m, err := bench.ModelGPU(bench.GPUModelOptions{Card: f.card, Step: f.step, Optimizer: f.optimizer, Precision: precision})
	var unknown *bench.UnknownCardError
	if errors.As(err, &unknown) {
		return &usageError{err}
	}
	if err != nil {
		return err
	}
	if markdown && out == "" {
		out = filepath.Join("bench", "results", gpuModel+".md")
	}
	if out != "" {
		if err := updateFile(out, func(old string) string { return bench.UpdateGPUModel(old, m) }); err != nil {
			return err
		}
	}
	return output.print(cmd, m, func(w io.Writer) { printGPUModel(w, m) })
}

func printGPUModel(w io.Writer, m *bench.GPUModel) {
	fmt.Fprintf(w, "%s, %s, %s on %s: nothing here is measured\n", m.Step, m.Optimizer, m.Precision, m.Card)
	tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tab, "operation\tkernel\tgrid and sizes\tlaunches\tGFLOP\tMB\tmodelled µs\tlimit")
	for _, k := range m.Kinds {
		fmt.Fprintf(tab, "%s\t%s\t%s\t%d\t%.2f\t%.1f\t%.1f\t%s\n", k.Op, k.Kernel, k.Shape, k.Count, k.GFLOP, k.MB, k.Micros, k.Limit)
	}
	tab.Flush()
	fmt.Fprintln(w, m.Totals())
}
