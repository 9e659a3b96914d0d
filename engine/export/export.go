// Package export writes models in the forms of other programs. [Formats] lists them; each is one entry.
//
// A model is given as its folder. What is written is read again by mito's own reader with [Check].
package export

import (
	"context"
	"fmt"
	"os"
	"slices"

	"mito/engine/checkpoint"
	"mito/engine/decode"
	"mito/engine/files"
	"mito/engine/runs"
	"mito/engine/tokenizer"
)

// Format is a form that models are written in.
type Format struct {
	Name, About string
	// Write writes the model of an opened folder to out, where nothing lies. It returns what there is to say about it.
	Write func(ctx context.Context, from *Source, out string, o Options) (*Result, error)
	// Open reads what Write wrote, for Check.
	Open func(out string, o decode.Options) (decode.Runtime, error)
	// Allowed is the largest difference of a logit that the form's own rounding makes: 0 where not a bit may differ.
	Allowed float64
}

// Formats lists the forms.
func Formats() []Format { return []Format{huggingFace} }

// Options of an export.
type Options struct {
	FullAttention bool // cut the context to the narrowest window, and look at all of it
}

// Source is a model to be exported.
type Source struct {
	*checkpoint.Folder
	Tok tokenizer.Tokenizer // nil for none
}

// Open opens the folder of a model, or of a run. Errors: as of checkpoint.Open and tokenizer.Load.
func Open(dir string) (*Source, error) {
	f, err := checkpoint.Open(runs.ResolveModel(dir))
	if err != nil {
		return nil, err
	}
	s := &Source{Folder: f}
	if f.Tokenizer != "" {
		if s.Tok, err = tokenizer.Load(f.Tokenizer); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// Result is what an export made.
type Result struct {
	Format       string   `json:"format"`
	Dir          string   `json:"dir"`
	Architecture string   `json:"architecture"`
	Files        []string `json:"files"`
	Bytes        int64    `json:"bytes"`
	Note         string   `json:"note,omitempty"` // for people: what the reader must know
	// LargestDifference is that of a logit between the model and what was written, as mito reads both; nil where it was not
	// compared.
	LargestDifference *float64 `json:"largest_difference,omitempty"`
}

// Find finds a form by its name.
func Find(name string) (Format, error) {
	var known []string
	for _, f := range Formats() {
		if f.Name == name {
			return f, nil
		}
		known = append(known, f.Name)
	}
	return Format{}, fmt.Errorf("unknown format %q; known: %v", name, known)
}

// Into writes a model into a folder that is not there yet, in one step. Errors: *files.ForeignError for one that is,
// *files.InUseError, those of the model and of the file system.
func Into(out string, write func() error) (err error) {
	if err := runs.CheckFree(out); err != nil {
		return err
	}
	lock, err := files.LockBeside(out)
	if err != nil {
		return err
	}
	defer func() {
		if e := lock.Release(); err == nil {
			err = e
		}
	}()
	if err := runs.CheckFree(out); err != nil { // another process may have been faster
		return err
	}
	return write()
}

// Measure lists the files of a folder and their bytes.
func (r *Result) Measure() error {
	entries, err := os.ReadDir(r.Dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			return err
		}
		r.Files, r.Bytes = append(r.Files, e.Name()), r.Bytes+info.Size()
	}
	slices.Sort(r.Files)
	return nil
}
