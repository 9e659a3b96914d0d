package main

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"mito/engine/decode"
	"mito/engine/export"
	"mito/engine/export/c99"
)

func newExport() *cobra.Command {
	var (
		output     outputFlags
		machine    machineFlags
		model, out string
		flash      string
		check, dry bool
		adapters   adapterFlags
		form       grammarFlags
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
			"  mito export gguf --model mito-out/tictactoe/student --out student.gguf --type Q8_0\n" +
			"  mito export c --model mito-out/tictactoe/compressed --out firmware/student --task tictactoe --check\n" +
			"  mito export web --model mito-out/tictactoe/compressed --out tictactoe.html --task tictactoe",
		Args: oneOf("format", names...),
		RunE: func(cmd *cobra.Command, args []string) error {
			if model == "" || out == "" && !dry {
				return usagef("--model and --out are needed: a model and where to write it")
			}
			var err error
			if o.C.Flash, err = parseBytes("--flash", flash); err != nil {
				return err
			}
			if err := machine.check(); err != nil {
				return err
			}
			format, err := export.Find(args[0])
			if err != nil {
				return usage(err)
			}
			dir, err := modelFolder("--model", model)
			if err != nil {
				return err
			}
			if o.C.Adapters, err = adapters.load(dir); err != nil {
				return err
			}
			if o.C.Grammar, err = form.load(cmd.Flags()); err != nil {
				return err
			}
			if err := format.Settle(&o); err != nil {
				return usage(err)
			}
			from, err := export.OpenWith(dir, o.NoTokenizer)
			if err != nil {
				return err
			}
			if dry {
				if format.Plan == nil {
					return usagef("--dry-run says what a device needs, and %s is not for devices", format.Name)
				}
				p, err := format.Plan(cmd.Context(), from, o)
				if err != nil {
					return exportError(err)
				}
				return output.print(cmd, p, func(stdout io.Writer) { printPlan(stdout, p) })
			}
			r, err := format.Write(cmd.Context(), from, out, o)
			if err != nil {
				return exportError(err)
			}
			if check && format.Prove != nil {
				if r.Proved, err = format.Prove(cmd.Context(), out, o); err != nil {
					return fmt.Errorf("--check: %s: %w", out, err)
				}
			} else if check {
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
	fs.StringVar(&out, "out", "", "where to write it (required but for --dry-run)")
	fs.BoolVar(&check, "check", false, "read what was written again and compare its logits with the model's; of c and web: compile it, or open it in Chromium, and compare the digest")
	fs.BoolVar(&o.FullAttention, "full-attention", false, "of a model with windows: cut the context to the narrowest, and look at all of it")
	fs.StringVar(&o.Type, "type", "", "of the matrices:"+types()+"; the first is usual")
	fs.BoolVar(&o.NoTokenizer, "no-tokenizer", false, "leave the tokenizer out")
	fs.BoolVar(&dry, "dry-run", false, "of c: write nothing, and say what flash, RAM, stack and instructions the model needs")
	fs.StringVar(&flash, "flash", "", "of c: refuse a model that needs more, such as 64K")
	fs.StringVar(&o.C.Target, "target", "", "of c: the processor for --flash, such as cortex-m4f; all of --dry-run's where it is not given")
	fs.StringVar(&o.C.Name, "name", "", "of c: what functions and macros begin with; student where it is not given")
	fs.StringVar(&o.C.Task, "task", "", "of c and web: the task whose legal answers the code is to know; in a page it is played on a board")
	form.register(fs)
	adapters.register(fs, "; of c: the code switches between several, in the order given")
	fs.BoolVar(&o.C.SingleFile, "single-file", false, "of c: everything in one header")
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
	if r.Digest != "" {
		fmt.Fprintf(stdout, ", digest %s", r.Digest)
	}
	if r.Proved != "" {
		fmt.Fprintf(stdout, "; %s", r.Proved)
	}
	if r.LargestDifference != nil {
		fmt.Fprintf(stdout, "; read again, its logits differ by %g at most", *r.LargestDifference)
	}
	fmt.Fprintln(stdout)
	if r.Plan != nil {
		printPlan(stdout, r.Plan)
	}
	if r.Note != "" {
		fmt.Fprintln(stdout, r.Note)
	}
}

// exportError makes wrong use of an error about options.
func exportError(err error) error {
	if e := (*export.OptionError)(nil); errors.As(err, &e) {
		return usage(err)
	}
	return err
}

// parseBytes reads a size such as 65536, 64K or 1M; "" is 0.
func parseBytes(flag, text string) (int, error) {
	if text == "" {
		return 0, nil
	}
	digits, unit := strings.TrimRight(text, "kKmM"), 1
	switch strings.ToUpper(text[len(digits):]) {
	case "K":
		unit = 1 << 10
	case "M":
		unit = 1 << 20
	}
	n, err := strconv.Atoi(digits)
	if err != nil || n < 1 || n > 1<<30/unit || len(text)-len(digits) > 1 {
		return 0, usagef("%s is %q, want bytes, such as 65536, 64K or 1M", flag, text)
	}
	return n * unit, nil
}

// printPlan is the table of what devices need.
func printPlan(w io.Writer, p *c99.Plan) {
	fmt.Fprintf(w, "weights %d bytes, tables %d, RAM %d (the state; no logits are kept)\n", p.Weights, p.Tables, p.RAM)
	tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(tab, "\tflash\tits code\tgreedy only\tRAM\tstack\tstack at boot\tinstructions of token %d\t\n", p.Position)
	unknown := false
	for _, c := range p.Costs {
		fmt.Fprint(tab, c.Target)
		about := ""
		if !c.Known {
			unknown, about = true, "~"
		}
		fmt.Fprintf(tab, "\t%[1]s%[2]d\t%[1]s%[3]d\t%[1]s%[4]d\t%[5]d\t%[1]s%[6]d\t%[1]s%[7]d\t%[8]d",
			about, c.Flash, c.Code, c.Greedy, c.RAM, c.Stack, c.BootStack, c.Instructions)
		fmt.Fprintln(tab, "\t")
	}
	tab.Flush()
	fmt.Fprintf(w, "Code as of %s; instructions are estimated from a count of what a token does. An emulator counts no cycles.\n", c99.Measured)
	if unknown {
		fmt.Fprintf(w, "Where it says ~, no model with these parts (%s) was measured: it is the largest that was, and a tenth.\n", p.Parts)
	}
}
