package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"mito/engine/compress/quant"
	"mito/engine/student"
	"mito/engine/verify"
)

var errDiffers = errors.New("the variants do not agree: this program or this machine computes other bits than engine/student/SPEC.md says")

func newVerify() *cobra.Command {
	var (
		output outputFlags
		model  string
		want   string
	)
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Prove that an INT8 student computes the same bits in every variant",
		Long: `Compute the digest of an INT8 student, the SHA-256 of its logits over a stated stream, with every kernel variant of
this processor, 1 and 2 threads, batches of 1 and 8, several cache pages, with its sparse matrices in blocks where it has
any, after loading it again, and through every
backend, the GPU's among them where there is one. Run it on another machine with --digest to prove that the two agree.`,
		Example: "  mito verify --model mito-out/tictactoe/compressed",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cmd.Flags().Changed("digest") {
				if sum, err := hex.DecodeString(want); err != nil || len(sum) != sha256.Size {
					return usagef("--digest is %q, want the %d hexadecimal digits that mito verify prints", want, 2*sha256.Size)
				}
				want = strings.ToLower(want)
			}
			if model == "" {
				return usagef("--model is missing: the folder of an INT8 student")
			}
			dir, err := modelFolder("--model", model)
			if err != nil {
				return err
			}
			load := func() (*student.Weights, error) { return quant.Load(dir) }
			w, err := load()
			if err != nil {
				return err
			}
			r, err := verify.Student(cmd.Context(), w, load)
			if err == nil {
				err = r.Backends(cmd.Context(), w)
			}
			if err != nil {
				return err
			}
			if err := output.print(cmd, r, func(stdout io.Writer) {
				for _, v := range r.Variants {
					fmt.Fprintf(stdout, "%s  %s\n", v.Digest, v.Name)
				}
			}); err != nil {
				return err
			}
			return verdict(r, want)
		},
	}
	fs := cmd.Flags()
	output.register(fs)
	fs.StringVar(&model, "model", "", "folder of the INT8 student (required)")
	fs.StringVar(&want, "digest", "", "digest that must come out")
	return cmd
}

// verdict is nil where all variants agree, with each other and with the digest that is wanted, "" for any.
func verdict(r verify.Report, want string) error {
	if !r.Identical {
		return errDiffers
	}
	if want != "" && want != r.Digest {
		return fmt.Errorf("the digest is %s, expected %s", r.Digest, want)
	}
	return nil
}
