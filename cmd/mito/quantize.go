package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"mito/engine/compress/quant"
	"mito/engine/pipeline"
	"mito/engine/student"
)

func newQuantize() *cobra.Command {
	var (
		output     outputFlags
		model, out string
		method     string
	)
	cmd := &cobra.Command{
		Use:     "quantize",
		Short:   "Make the INT8 student of a trained model",
		Example: "  mito quantize --model student --out student-int8",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if model == "" || out == "" {
				return usagef("--model and --out are needed: a trained model and a folder for its INT8 student")
			}
			if m := quant.Method(method); m != quant.Search && m != quant.RoundToNearest {
				return usagef("--method is %q, want %s or %s", method, quant.Search, quant.RoundToNearest)
			}
			dir, err := modelFolder("--model", model)
			if err != nil {
				return err
			}
			w, r, err := pipeline.Quantize(dir, out, quant.Options{Method: quant.Method(method)})
			if err != nil {
				return err
			}
			m, err := student.New(w, student.Options{})
			if err != nil {
				return err
			}
			digest, err := student.Digest(m, student.DigestOptions{})
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
			}{out, w.Params(), w.Bytes(), "int8", digest, r.Matrices}
			return output.print(result, func(stdout io.Writer) {
				fmt.Fprintf(stdout, "%s: %d parameters in %d bytes, digest %s\n", out, result.Params, result.Bytes, digest)
				for _, e := range r.Matrices {
					fmt.Fprintf(stdout, "  %-45s relative error %.4f\n", e.Name, e.Relative)
				}
			})
		},
	}
	fs := cmd.Flags()
	output.register(fs)
	fs.StringVar(&model, "model", "", "folder of the trained model (required)")
	fs.StringVar(&out, "out", "", "folder for the INT8 student (required)")
	fs.StringVar(&method, "method", string(quant.Search), "how the scale of a row is found: search or rtn (round to nearest)")
	return cmd
}
