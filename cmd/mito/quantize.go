package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"mito/engine/compress/quant"
	"mito/engine/pipeline"
	"mito/engine/runs"
	"mito/engine/student"
	"mito/engine/tokenizer"
)

func newQuantize() *cobra.Command {
	var (
		output     outputFlags
		machine    machineFlags
		work       workFlags
		model, out string
		method     string
		bits       string
		calibrate  int
	)
	cmd := &cobra.Command{
		Use:     "quantize",
		Short:   "Make the INT8 student of a trained model",
		Example: "  mito quantize --model student --out student-int8\n  mito quantize --model student --out student-int8 --calibrate 256 --corpus book.txt",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if model == "" || out == "" {
				return usagef("--model and --out are needed: a trained model and a folder for its INT8 student")
			}
			if !slices.Contains(quant.Methods(), quant.Method(method)) {
				return usagef("--method is %q, want one of %s", method, quant.Methods())
			}
			if calibrate == 0 && work.kind() != "" {
				return usagef("--task and --corpus give the sequences of --calibrate, which is missing")
			}
			dir, err := modelFolder("--model", model)
			if err != nil {
				return err
			}
			if err := runs.CheckFree(out); err != nil { // before a calibration, which takes its time
				return err
			}
			rules, err := parseBits(bits)
			if err != nil {
				return err
			}
			o := quant.Options{}
			if calibrate != 0 {
				if o, err = calibration(cmd, &machine, &work, dir, calibrate); err != nil {
					return err
				}
			}
			o.Method, o.Bits = quant.Method(method), rules
			w, r, err := pipeline.Quantize(cmd.Context(), dir, out, o)
			if errors.Is(err, quant.ErrPattern) {
				return usagef("--bits: %w", err)
			}
			if err != nil {
				return err
			}
			m, err := student.New(w.ForDigest(), student.Options{})
			if err != nil {
				return err
			}
			digest, err := student.Digest(m, student.DigestOptions{Check: cmd.Context().Err})
			if errors.Is(err, context.Canceled) {
				return &stoppedError{fmt.Sprintf("stopped by a signal; %s is complete, mito verify --model %[1]s gives its digest", out)}
			}
			if err != nil {
				return err
			}
			result := struct {
				Dir      string              `json:"dir"`
				Params   int                 `json:"params"`
				Bytes    int                 `json:"bytes"`
				Scheme   string              `json:"scheme"`
				Digest   string              `json:"digest"`
				Matrices []quant.MatrixError `json:"matrices"`
				Sparsity float64             `json:"sparsity,omitempty"` // of the matrices inside the layers
				Stored   int                 `json:"stored_bytes"`       // on disk, in codes and blocks where matrices are stored so
			}{
				Dir: out, Params: w.Params(), Bytes: w.Bytes(), Scheme: "int8", Digest: digest, Matrices: r.Matrices, Stored: quant.StoredBytes(w, r),
			}
			if r.Pruning != nil {
				result.Sparsity = quant.Sparsity(w)
			}
			return output.print(cmd, result, func(stdout io.Writer) {
				fmt.Fprintf(stdout, "%s: %d parameters in %d bytes, digest %s\n", out, result.Params, result.Stored, digest)
				for _, e := range r.Matrices {
					fmt.Fprintf(stdout, "  %-45s %7s bits %8d bytes  relative error %.4f\n", e.Name, quant.BitsName(e.Bits), e.Bytes, e.Relative)
				}
			})
		},
	}
	fs := cmd.Flags()
	output.register(fs)
	work.register(fs)
	machine.registerThreads(fs)
	fs.IntVar(&calibrate, "calibrate", 0, "training sequences that weigh the errors of the weights; 0 for none")
	fs.StringVar(&model, "model", "", "folder of the trained model (required)")
	fs.StringVar(&out, "out", "", "folder for the INT8 student (required)")
	fs.StringVar(&bits, "bits", "", "bits of the weights by module, such as mlp.*=4,attn.*=8,embed=8, or one for all: 8, 7, 6, 5, 4, 3 or ternary; 8 where no pattern says another")
	fs.StringVar(&method, "method", string(quant.Methods()[0]), "how the scale of a row is found: search or rtn (round to nearest)")
	return cmd
}

// parseBits reads --bits.
func parseBits(text string) ([]quant.Rule, error) {
	if text == "" {
		return nil, nil
	}
	rules, err := quant.ParseRules(text)
	if err != nil {
		return nil, usagef("--bits: %w", err)
	}
	return rules, nil
}

// calibration runs the float model of a folder over training sequences of the workload.
func calibration(cmd *cobra.Command, machine *machineFlags, work *workFlags, dir string, rows int) (o quant.Options, err error) {
	if rows < 0 {
		return o, usagef("--calibrate is %d, want 1 or more sequences, or 0 for none", rows)
	}
	if err := errors.Join(machine.check(), work.check(cmd.Flags())); err != nil {
		return o, err
	}
	_, floats, err := pipeline.OpenFloat(dir)
	if err != nil {
		return o, err
	}
	tok, err := tokenizer.Load(dir)
	if err != nil {
		return o, err
	}
	if err := work.fitContext(cmd.Flags(), "--model", dir, floats.Config.Context); err != nil {
		return o, err
	}
	w, err := work.open(cmd, nil, tok)
	if err != nil {
		return o, err
	}
	if most := pipeline.MaxCalibration(w.Context); rows > most {
		return o, usagef("--calibrate is %d, want 1 to %d sequences of %d tokens, of which a few hundred do", rows, most, w.Context)
	}
	return pipeline.Calibrate(cmd.Context(), floats, w, rows, work.taskSeed, machine.threads)
}
