package export

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"mito/engine/decode"
	"mito/engine/export/llama2c"
	"mito/engine/files"
	"mito/engine/tokenizer"
)

// The files of a folder of llama2.c. It reads the first two.
const (
	llama2cModel     = "model.bin"
	llama2cTokenizer = "tokenizer.bin"
)

// llama2cFolder is a folder with the files of llama2.c.
var llama2cFolder = Format{
	Name: "llama2c", About: "model.bin and tokenizer.bin for llama2.c: F32 for run.c, Q8_0 for runq.c",
	Types: []string{"F32", "Q8_0"},
	Write: writeLlama2c,
	Open: func(out string, d decode.Options) (decode.Runtime, error) {
		p, err := ReadLlama2c(out, false)
		if err != nil {
			return nil, err
		}
		return p.runtime(d)
	},
	Reference: reference,
	Rounding:  func(o Options) float64 { return roundings[o.Type] },
}

func writeLlama2c(_ context.Context, from *Source, out string, o Options) (*Result, error) {
	p, err := plain(from, o)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", from.Dir, err)
	}
	if err := llama2c.Fits(p.Config); err != nil {
		return nil, fmt.Errorf("%s: %w", from.Dir, err)
	}
	r := &Result{Format: "llama2c", Dir: out, Architecture: "llama"}
	err = Into(out, func() error {
		return files.SaveDir(out, nil, func(tmp string) error {
			if err := files.SaveFile(filepath.Join(tmp, llama2cModel), func(w io.Writer) error {
				return llama2c.Write(w, p.Config, p.Tensors, o.Type == "Q8_0")
			}); err != nil || p.Tokenizer == nil {
				return err
			}
			text, err := llama2c.Tokenizer(p.Tokenizer, p.Config.VocabSize)
			if err != nil {
				return err
			}
			r.Note = "run.c puts token 1 and a space before a prompt, and writes bytes that are no token as ids from 3 on; " + tokenizer.FileName + " is for mito"
			if err := os.WriteFile(filepath.Join(tmp, llama2cTokenizer), text, 0o666); err != nil {
				return err
			}
			return p.Tokenizer.Save(filepath.Join(tmp, tokenizer.FileName))
		})
	})
	if err != nil {
		return nil, err
	}
	return r, r.Measure()
}

// errSentencePiece is why a tokenizer.bin is not read.
var errSentencePiece = errors.New("tokenizer.bin has the pieces of SentencePiece, which mito does not encode with; " +
	"put a tokenizer.json beside it, or take --no-tokenizer for the weights alone")

// ReadLlama2c reads a .bin of llama2.c, or a folder with model.bin. Its tokenizer is the tokenizer.json beside it.
func ReadLlama2c(path string, noTokenizer bool) (*Plain, error) {
	dir := filepath.Dir(path)
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		dir, path = path, filepath.Join(path, llama2cModel)
	}
	data, err := files.ReadLimited(path, MaxFile)
	if err != nil {
		return nil, err
	}
	if err := notPickle(path, data); err != nil {
		return nil, err
	}
	p := &Plain{}
	if p.Config, p.Tensors, err = llama2c.Read(data); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if noTokenizer {
		return p, nil
	}
	p.Tokenizer, err = tokenizer.Load(filepath.Join(dir, tokenizer.FileName))
	if errors.Is(err, fs.ErrNotExist) {
		p.Tokenizer = nil
		if _, err := os.Stat(filepath.Join(dir, llama2cTokenizer)); err == nil {
			return nil, fmt.Errorf("%s: %w", dir, errSentencePiece)
		}
		return p, nil
	}
	return p, err
}
