package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// results is what the program writes to: cobra's output, the results of commands and their help. It remembers what could
// not be written, because a result that is lost is a failure, whether or not the code that wrote it looked.
type results struct {
	w   io.Writer
	err error
}

func (r *results) Write(p []byte) (int, error) {
	n, err := r.w.Write(p)
	if err != nil && r.err == nil {
		r.err = err
	}
	return n, err
}

// close returns what was lost. Some file systems say only at the end that they are full.
func (r *results) close() error {
	if c, ok := r.w.(io.Closer); ok && r.err == nil {
		r.err = c.Close()
	}
	if r.err == nil {
		return nil
	}
	return fmt.Errorf("the result could not be written to stdout: %w; files that the command made are complete", r.err)
}

// lost names stdout as the reason where a command failed because it could not be written.
func lost(err, output error) error {
	if output == nil || !errors.Is(err, output) {
		return err
	}
	return fmt.Errorf("stdout cannot be written: %w", output)
}

// outputFlags choose what is printed.
type outputFlags struct{ json, quiet bool }

func (f *outputFlags) register(fs *pflag.FlagSet) {
	fs.BoolVar(&f.json, "json", false, "print one JSON object to stdout")
	fs.BoolVar(&f.quiet, "quiet", false, "no progress on stderr")
}

// print writes v as JSON with --json, else lets text write.
func (f *outputFlags) print(cmd *cobra.Command, v any, text func(io.Writer)) error {
	stdout := cmd.OutOrStdout()
	if !f.json {
		text(stdout)
		return nil
	}
	enc := encoder(stdout)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// encoder writes objects of one line each.
func encoder(w io.Writer) *json.Encoder {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc
}
