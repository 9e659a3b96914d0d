package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"mito/engine/decode"
	"mito/engine/export"
)

func newExport() *cobra.Command {
	var (
		output     outputFlags
		machine    machineFlags
		model, out string
		check      bool
		o          export.Options
	)
	var names []string
	var list strings.Builder
	for _, f := range export.Formats() {
		names = append(names, f.Name)
		fmt.Fprintf(&list, "\n  %-8s %s", f.Name, f.About)
	}
	cmd := &cobra.Command{
		Use:   "export FORMAT",
		Short: "Write a model for other programs",
		Long:  "Write a model in the form of another program. The formats:\n" + list.String() + "\n\n" + noMicroGPT,
		Example: "  mito export hf --model mito-out/tictactoe/compressed --out for-transformers --check\n" +
			"  mito export gguf --model mito-out/tictactoe/student --out student.gguf --type Q8_0",
		Args: oneOf("format", names...),
		RunE: func(cmd *cobra.Command, args []string) error {
			if model == "" || out == "" {
				return usagef("--model and --out are needed: a model and where to write it")
			}
			if err := machine.check(); err != nil {
				return err
			}
			format, err := export.Find(args[0])
			if err != nil {
				return usage(err)
			}
			if err := format.Settle(&o); err != nil {
				return usage(err)
			}
			dir, err := modelFolder("--model", model)
			if err != nil {
				return err
			}
			from, err := export.OpenWith(dir, o.NoTokenizer)
			if err != nil {
				return err
			}
			r, err := format.Write(cmd.Context(), from, out, o)
			if err != nil {
				return err
			}
			if check {
				worst, err := export.CheckWritten(format, from, out, o, decode.Options{Threads: machine.threads})
				if err != nil {
					return fmt.Errorf("--check: %s: %w", out, err)
				}
				r.LargestDifference = &worst
			}
			return output.print(cmd, r, func(stdout io.Writer) { printResult(stdout, r) })
		},
	}
	fs := cmd.Flags()
	output.register(fs)
	machine.registerThreads(fs)
	fs.StringVar(&model, "model", "", "folder of the model, float or INT8 (required)")
	fs.StringVar(&out, "out", "", "where to write it (required)")
	fs.BoolVar(&check, "check", false, "read what was written again and compare its logits with the model's")
	fs.BoolVar(&o.FullAttention, "full-attention", false, "of a model with windows: cut the context to the narrowest, and look at all of it")
	fs.StringVar(&o.Type, "type", "", "of the matrices:"+types()+"; the first is usual")
	fs.BoolVar(&o.NoTokenizer, "no-tokenizer", false, "leave the tokenizer out")
	return cmd
}

// noMicroGPT says why a format that people ask for is not there.
const noMicroGPT = `Checkpoints of MicroGPT-C are not among them: its models normalise the sum of embeddings before the first layer and
have no norm before the head, which no shape of mito does, and their files do not say their sizes.`

// types lists the element types of the formats that have a choice.
func types() string {
	var b strings.Builder
	for _, f := range export.Formats() {
		if len(f.Types) > 0 {
			fmt.Fprintf(&b, " %s for %s,", strings.Join(f.Types, " "), f.Name)
		}
	}
	return strings.TrimSuffix(b.String(), ",")
}

// printResult says in words what an export or an import made.
func printResult(stdout io.Writer, r *export.Result) {
	fmt.Fprintf(stdout, "%s: %s", r.Dir, r.Architecture)
	if r.Bytes > 0 {
		fmt.Fprintf(stdout, ", %d bytes in %s", r.Bytes, strings.Join(r.Files, ", "))
	}
	if r.LargestDifference != nil {
		fmt.Fprintf(stdout, "; read again, its logits differ by %g at most", *r.LargestDifference)
	}
	fmt.Fprintln(stdout)
	if r.Note != "" {
		fmt.Fprintln(stdout, r.Note)
	}
}
