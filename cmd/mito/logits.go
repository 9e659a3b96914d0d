package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"mito/engine/decode"
	"mito/engine/files"
	"mito/engine/tokenizer"
)

func newLogits() *cobra.Command {
	var (
		machine               machineFlags
		output                outputFlags
		model, tokens, prompt string
		out                   string
	)
	cmd := &cobra.Command{
		Use:   "logits",
		Short: "Write the logits of a model after each token of a text, for other programs to compare",
		Long: `Write the logits of a model after each token to a NumPy file: float32, one row for each token and one column for each
entry of the vocabulary. The model's folder may be of mito or of another program.`,
		Example: "  mito logits --model mito-out/tictactoe/student --prompt 012345678= --out logits.npy\n" +
			"  mito logits --model book --tokens 5,1,7 --out logits.npy",
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			switch {
			case model == "" || out == "":
				return usagef("--model and --out are needed: the folder of a model and the file of its logits")
			case cmd.Flags().Changed("tokens") == cmd.Flags().Changed("prompt"):
				return usagef("give --tokens (ids such as 5,1,7) or --prompt (a text), one of them")
			}
			var ids []int32
			if !cmd.Flags().Changed("prompt") {
				if ids, err = parseTokens(tokens); err != nil {
					return err
				}
			}
			if err := machine.check(); err != nil {
				return err
			}
			dir, err := modelFolder("--model", model)
			if err != nil {
				return err
			}
			rt, err := decode.Open(dir, decode.Options{Threads: machine.threads})
			if err != nil {
				return err
			}
			defer closing(rt, &err)
			if cmd.Flags().Changed("prompt") {
				if rt.Tokenizer() == nil {
					return fmt.Errorf("%s has no tokenizer.json, so no text can be written for it; give --tokens", model)
				}
				if ids, err = tokenizer.Prompt(rt.Tokenizer(), prompt); err != nil {
					return fmt.Errorf("--prompt: %w", err)
				}
				if len(ids) == 0 {
					return errors.New("--prompt is empty: there is no token to give logits after")
				}
			}
			s, err := rt.NewSession(1)
			if err != nil {
				return err
			}
			err = files.SaveFile(out, func(w io.Writer) error {
				if _, err := w.Write(npyHeader(len(ids), rt.VocabSize())); err != nil {
					return err
				}
				row := make([]byte, 4*rt.VocabSize())
				return s.Score(0, ids, func(_ int, logits []float32) error {
					for i, v := range logits {
						binary.LittleEndian.PutUint32(row[4*i:], math.Float32bits(v))
					}
					_, err := w.Write(row)
					return err
				})
			})
			if err != nil {
				return err
			}
			r := struct {
				File   string  `json:"file"`
				Kind   string  `json:"kind"`
				Tokens []int32 `json:"tokens"`
				Vocab  int     `json:"vocab_size"`
			}{out, rt.Kind(), ids, rt.VocabSize()}
			return output.print(cmd, r, func(stdout io.Writer) {
				fmt.Fprintf(stdout, "%s: logits after %d tokens, %d each\n", out, len(ids), r.Vocab)
			})
		},
	}
	fs := cmd.Flags()
	output.register(fs)
	machine.registerThreads(fs)
	fs.StringVar(&model, "model", "", "folder of the model, float or INT8 (required)")
	fs.StringVar(&tokens, "tokens", "", "ids of tokens, with commas between them")
	fs.StringVar(&prompt, "prompt", "", "a text, for the model's own tokenizer")
	fs.StringVar(&out, "out", "", "file to write, such as logits.npy (required)")
	return cmd
}

func parseTokens(text string) ([]int32, error) {
	var ids []int32
	for _, word := range strings.Split(text, ",") {
		id, err := strconv.ParseInt(strings.TrimSpace(word), 10, 32)
		if err != nil || id < 0 {
			return nil, usagef("--tokens: %q is not the id of a token; write ids with commas between them, such as 5,1,7", word)
		}
		ids = append(ids, int32(id))
	}
	return ids, nil
}

// npyHeader begins a NumPy file, version 1.0, of a float32 matrix in rows. Its length is a multiple of 64.
func npyHeader(rows, cols int) []byte {
	dict := fmt.Sprintf("{'descr': '<f4', 'fortran_order': False, 'shape': (%d, %d), }", rows, cols)
	const prefix = 10
	pad := 63 - (prefix+len(dict))%64
	dict += strings.Repeat(" ", pad) + "\n"
	head := append([]byte("\x93NUMPY\x01\x00"), byte(len(dict)), byte(len(dict)>>8))
	return append(head, dict...)
}
