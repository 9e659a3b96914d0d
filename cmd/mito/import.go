package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"mito/engine/decode"
	importer "mito/engine/import"
)

func newImport() *cobra.Command {
	var (
		output    outputFlags
		machine   machineFlags
		from, out string
		check     bool
		o         importer.Options
	)
	var names []string
	var list strings.Builder
	for _, f := range importer.Formats() {
		names = append(names, f.Name)
		fmt.Fprintf(&list, "\n  %-8s %s", f.Name, f.About)
	}
	cmd := &cobra.Command{
		Use:   "import FORMAT",
		Short: "Make a model folder of what another program wrote",
		Long: "Make a model folder of what another program wrote. The formats:\n" + list.String() + `

Folders of transformers need no import to teach, or to be evaluated, quantised and drawn text from: name them as they are.

` + noMicroGPT,
		Example: "  mito import hf --from gpt2-small --out teacher --check\n  mito import gguf --from model.gguf --out teacher",
		Args:    oneOf("format", names...),
		RunE: func(cmd *cobra.Command, args []string) error {
			if from == "" || out == "" {
				return usagef("--from and --out are needed: what to read, and a folder for the model")
			}
			if err := machine.check(); err != nil {
				return err
			}
			format, err := importer.Find(args[0])
			if err != nil {
				return usage(err)
			}
			m, err := format.Read(cmd.Context(), from, o)
			if err != nil {
				return fmt.Errorf("--from: %w", err)
			}
			r, err := m.Save(out)
			if err != nil {
				return err
			}
			r.Format = format.Name
			if check {
				worst, err := m.Check(out, decode.Options{Threads: machine.threads})
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
	fs.StringVar(&from, "from", "", "what another program wrote (required)")
	fs.StringVar(&out, "out", "", "folder for the model (required)")
	fs.BoolVar(&check, "check", false, "read the folder again and compare its logits with those of what was read")
	fs.BoolVar(&o.NoTokenizer, "no-tokenizer", false, "leave the tokenizer out, such as one that mito does not read")
	return cmd
}
