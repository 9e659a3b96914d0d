package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"mito/engine/runs"
	"mito/engine/tokenizer"
)

func newTokens() *cobra.Command {
	var model, text string
	cmd := &cobra.Command{
		Use:   "tokens",
		Short: "Turn texts into ids of tokens and back, for other programs to compare",
		Long: `Print the ids of a text, without what the template of a tokenizer puts around it. Without --text each line of stdin is a
JSON string, answered by a list of ids, or a list of ids, answered by a string.`,
		Example: "  mito tokens --model book --text 'Once upon'\n  echo '[5,1,7]' | mito tokens --model book",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if model == "" {
				return usagef("--model is missing: the folder of a model, or its tokenizer.json")
			}
			tok, err := tokenizer.Load(runs.ResolveModel(model))
			if err != nil {
				return err
			}
			out := encoder(cmd.OutOrStdout())
			if cmd.Flags().Changed("text") {
				ids, err := tok.Encode(text)
				if err != nil {
					return fmt.Errorf("--text: %w", err)
				}
				return out.Encode(ids)
			}
			return translate(cmd, tok, out)
		},
	}
	fs := cmd.Flags()
	fs.StringVar(&model, "model", "", "folder of a model, or its tokenizer.json (required)")
	fs.StringVar(&text, "text", "", "a text; without it stdin is read")
	return cmd
}

// translate answers stdin line by line.
func translate(cmd *cobra.Command, tok tokenizer.Tokenizer, out *json.Encoder) error {
	in := json.NewDecoder(cmd.InOrStdin())
	for n := 1; ; n++ {
		var raw json.RawMessage
		if err := in.Decode(&raw); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("value %d of stdin is not JSON: %w", n, err)
		}
		var text string
		var ids []int32
		var answer any
		err := json.Unmarshal(raw, &text)
		if err == nil {
			answer, err = tok.Encode(text)
		} else if err = json.Unmarshal(raw, &ids); err == nil {
			answer, err = tok.Decode(ids)
		} else {
			err = errors.New("it is neither a string nor a list of ids")
		}
		if err != nil {
			return fmt.Errorf("value %d of stdin: %w", n, err)
		}
		if err := out.Encode(answer); err != nil {
			return err
		}
	}
}
