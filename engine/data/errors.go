package data

import (
	"errors"
	"fmt"

	"mito/engine/files"
)

// What a [CorpusError] wraps, apart from errors of the file system.
var (
	ErrEmpty      = errors.New("holds no text")
	ErrBinary     = errors.New("is binary, not text")
	ErrNotUTF8    = errors.New("is not UTF-8")
	ErrNotRegular = files.ErrNotRegular
	ErrTooLarge   = files.ErrTooLarge
)

// CorpusError reports a corpus that cannot be used, and what to do about it.
type CorpusError struct {
	Path   string
	Offset int64 // of the offending byte, -1 if the error has no place
	Err    error
	Advice string
}

func (e *CorpusError) Error() string {
	at := ""
	if e.Offset >= 0 {
		at = fmt.Sprintf(" (at byte %d)", e.Offset)
	}
	return fmt.Sprintf("corpus %s %v%s: %s", e.Path, e.Err, at, e.Advice)
}

func (e *CorpusError) Unwrap() error { return e.Err }

// TooShortError reports less data than a shape needs.
type TooShortError struct {
	What string // such as "training text"
	Unit string // such as "tokens"
	Have int
	Need int
}

func (e *TooShortError) Error() string {
	return fmt.Sprintf("data: the %s has %d %s where at least %d are needed: give more text, or shorten the context",
		e.What, e.Have, e.Unit, e.Need)
}

// ArgError reports an argument that makes no sense.
type ArgError struct {
	Arg    string
	Reason string
}

func (e *ArgError) Error() string { return "data: " + e.Arg + ": " + e.Reason }

// StepError reports a step that a source does not have.
type StepError struct {
	Step    int64
	Batches int64 // how many there are, -1 if without end
}

func (e *StepError) Error() string {
	if e.Batches < 0 {
		return fmt.Sprintf("data: there is no step %d", e.Step)
	}
	return fmt.Sprintf("data: there is no batch %d among %d", e.Step, e.Batches)
}

// ExampleError reports an example that cannot be used.
type ExampleError struct {
	Index  int
	Prompt string
	Err    error
}

func (e *ExampleError) Error() string {
	return fmt.Sprintf("data: example %d with prompt %q: %v", e.Index, e.Prompt, e.Err)
}

func (e *ExampleError) Unwrap() error { return e.Err }

// OverlapError reports data that is in both of two sets that must be apart.
type OverlapError struct {
	A, B   string // names of the sets
	Shared int    // of B's Of units
	Of     int
	Unit   string
	Sample string // a piece of what they share
}

func (e *OverlapError) Error() string {
	return fmt.Sprintf("data: %s and %s overlap: %d of the %d %s of the latter are in the former, such as %q: "+
		"a score on them would measure memory; take them out of one of the two", e.A, e.B, e.Shared, e.Of, e.Unit, e.Sample)
}
