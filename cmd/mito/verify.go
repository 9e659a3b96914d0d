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
	"mito/engine/decode"
	"mito/engine/student"
	"mito/engine/verify"
)

var errDiffers = errors.New("the variants do not agree: this program or this machine computes other bits than engine/student/SPEC.md says")

func newVerify() *cobra.Command {
	var (
		output outputFlags
		model  string
		want   string

		transcript string
		machine    machineFlags
		adapter    adapterFlags
	)
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Prove that an INT8 student computes the same bits in every variant, or that a model wrote a text",
		Long: `Compute the digest of an INT8 student, the SHA-256 of what its functions make of stated numbers, of its logits over a
stated stream and of its weights, with every kernel variant of this processor, 1 and 2 threads, batches of 1 and 8, several cache pages, with its sparse matrices in blocks where it has
any, after loading it again, and through every
backend, the GPU's among them where there is one. Run it on another machine with --digest to prove that the two agree.

With --transcript, prove that a model, INT8 or float, wrote the texts of a file that mito generate --transcript made: every
token is drawn again from the logits of those before it, and the logits' bits are compared. A text goes through the model in
one pass, not token by token.`,
		Example: "  mito verify --model mito-out/tictactoe/compressed\n  mito verify --model book --transcript text.json",
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
			switch {
			case transcript != "" && want != "":
				return usagef("--transcript and --digest contradict each other: one proves texts, the other all variants")
			case transcript != "":
				if err := machine.check(); err != nil {
					return err
				}
				return verifyTranscript(cmd, &output, dir, transcript, adapter, machine.threads)
			}
			for _, name := range []string{"threads", "adapter"} {
				if cmd.Flags().Changed(name) {
					return usagef("--%s needs --transcript: the digest is that of the bare model with every number of threads", name)
				}
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
				fmt.Fprintf(stdout, "made of: functions %s\n         stream    %s\n         weights   %s\n", r.Parts.Functions, r.Parts.Stream, r.Parts.Weights)
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
	fs.StringVar(&transcript, "transcript", "", "file of mito generate --transcript: prove that the model wrote its texts")
	adapter.register(fs, ", for texts that went through it; may be given several times")
	machine.registerThreads(fs)
	return cmd
}

// verifyTranscript proves the texts of a file.
func verifyTranscript(cmd *cobra.Command, output *outputFlags, dir, path string, adapter adapterFlags, threads int) (err error) {
	t, err := decode.LoadTranscript(path)
	if err != nil {
		return fmt.Errorf("--transcript: %w", err)
	}
	list, err := adapter.load(dir)
	if err != nil {
		return err
	}
	rt, err := decode.Open(dir, decode.Options{Threads: threads, Adapters: list})
	if err != nil {
		return err
	}
	defer closing(rt, &err)
	p, err := t.Verify(cmd.Context(), dir, rt)
	if err != nil {
		return err
	}
	if !output.quiet {
		fmt.Fprintf(cmd.ErrOrStderr(), "proven in %.3g s, made in %.3g s: %.1f times as fast\n", p.Seconds, p.Made, p.Made/p.Seconds)
	}
	return output.print(cmd, p, func(stdout io.Writer) {
		exact := ""
		if p.Logits {
			exact = ", bit for bit"
		}
		fmt.Fprintf(stdout, "the model wrote all %d texts, %d tokens%s\n", p.Texts, p.Tokens, exact)
	})
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
