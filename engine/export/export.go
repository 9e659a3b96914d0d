// Package export writes models in the forms of other programs. [Formats] lists them; each is one entry.
//
// A model is given as its folder. What is written is read again by mito's own reader with [Check].
package export

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"

	"mito/engine/checkpoint"
	"mito/engine/decode"
	"mito/engine/export/c99"
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
	// Reference opens the model as the form takes it, for Check; nil for the model as it is.
	Reference func(from *Source, o Options, d decode.Options) (decode.Runtime, error)
	// Types are the element types that matrices can be written as, the usual one first; none where the form has no choice.
	Types []string
	// Rounding is the largest difference of a logit, as a share of the largest logit, that Check lets the form's rounding
	// make; nil where not a bit may differ.
	Rounding func(o Options) float64
	// Student says that the form runs INT8 students as they are, with their windows and the legal answers of a task.
	Student bool
	// Plan says what a device needs, before anything is written; nil for forms that are not for devices, which take no COptions but
	// a task.
	Plan func(ctx context.Context, from *Source, o Options) (*c99.Plan, error)
	// Prove runs what was written as its own program, in place of Open, and says how it compared.
	Prove func(ctx context.Context, out string, o Options) (string, error)
}

// Formats lists the forms.
func Formats() []Format {
	return []Format{huggingFace, ggufFile, llama2cFolder, onnxFile, cFolder, webPage}
}

// Options of an export.
type Options struct {
	FullAttention bool   // cut the context to the narrowest window, and look at all of it
	Type          string // of the matrices, one of the form's Types; "" for the usual
	NoTokenizer   bool   // leave the tokenizer out
	C             COptions
}

// Settle fills in the type and refuses what the form does not have. Errors: *OptionError.
func (f *Format) Settle(o *Options) error {
	device := o.C
	device.Task = ""
	switch {
	case f.Plan == nil && device.given():
		return &OptionError{fmt.Sprintf("--name, --single-file, --adapter, --flash, --target and grammars are for what devices run, and %s is not", f.Name)}
	case !f.Student && o.C.Task != "":
		return &OptionError{fmt.Sprintf("--task is for what runs students with the legal answers of a task, and %s does not", f.Name)}
	case f.Student && o.FullAttention:
		return &OptionError{fmt.Sprintf("--full-attention is for forms that have no windows, and %s has them", f.Name)}
	case o.Type == "" && len(f.Types) > 0:
		o.Type = f.Types[0]
	case o.Type != "" && len(f.Types) == 0:
		return &OptionError{fmt.Sprintf("--type is %s, and %s keeps the weights as they are", o.Type, f.Name)}
	case o.Type != "" && !slices.Contains(f.Types, o.Type):
		return &OptionError{fmt.Sprintf("--type is %q; %s has %s", o.Type, f.Name, strings.Join(f.Types, ", "))}
	}
	return nil
}

// OptionError reports an option that a form does not have.
type OptionError struct{ what string }

func (e *OptionError) Error() string { return e.what }

// Source is a model to be exported.
type Source struct {
	*checkpoint.Folder
	Tok tokenizer.Tokenizer // nil for none
}

// Open opens the folder of a model, or of a run. Errors: as of checkpoint.Open and tokenizer.Load.
func Open(dir string) (*Source, error) { return OpenWith(dir, false) }

// OpenWith is Open, without a look at the tokenizer where it is not wanted.
func OpenWith(dir string, noTokenizer bool) (*Source, error) {
	f, err := checkpoint.Open(runs.ResolveModel(dir))
	if err != nil {
		return nil, err
	}
	s := &Source{Folder: f}
	if f.Tokenizer != "" && !noTokenizer {
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

	Digest string    `json:"digest,omitempty"` // of what devices compute
	Plan   *c99.Plan `json:"plan,omitempty"`   // what they need
	Proved string    `json:"proved,omitempty"` // how what was written compared, run as its own program

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

// Measure lists the files of a folder, or the one file that was written, and their bytes.
func (r *Result) Measure() error {
	if info, err := os.Stat(r.Dir); err == nil && !info.IsDir() {
		r.Files, r.Bytes = []string{info.Name()}, info.Size()
		return nil
	}
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
