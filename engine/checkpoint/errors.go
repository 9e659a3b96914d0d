package checkpoint

import (
	"errors"
	"fmt"
	"strings"
)

// The ways in which a checkpoint can be wrong. They are wrapped by [FormatError]; test with errors.Is.
var (
	ErrTruncated    = errors.New("the file ends too early")
	ErrHeaderTooBig = errors.New("the header is larger than allowed")
	ErrTooLarge     = errors.New("the file is larger than allowed")
	ErrSyntax       = errors.New("the file is not well formed")
	ErrDuplicate    = errors.New("a name occurs twice")
	ErrOverlap      = errors.New("two tensors share bytes")
	ErrGap          = errors.New("some bytes belong to no tensor")
	ErrOverflow     = errors.New("a size does not fit")
	ErrShape        = errors.New("the shape does not fit")
	ErrDType        = errors.New("the element type does not fit")
	ErrMissing      = errors.New("a tensor is missing")
	ErrUnexpected   = errors.New("a tensor was not expected")
	ErrNotFinite    = errors.New("a value is NaN or infinite")
	ErrRange        = errors.New("a value is out of range")
	ErrHash         = errors.New("the file is not the one that was saved with the others")
)

// FormatError says what is wrong with a checkpoint and where.
type FormatError struct {
	Path   string // file, "" when the bytes came from memory
	Tensor string // tensor or field, "" when the whole file is meant
	Err    error  // one of the Err values of this package
	Detail string // the numbers: what was found, what was expected
}

func (e *FormatError) Error() string {
	var b strings.Builder
	if e.Path != "" {
		b.WriteString(e.Path)
		b.WriteString(": ")
	}
	if e.Tensor != "" {
		fmt.Fprintf(&b, "%q: ", e.Tensor)
	}
	b.WriteString(e.Err.Error())
	if e.Detail != "" {
		b.WriteString(": ")
		b.WriteString(e.Detail)
	}
	return b.String()
}

func (e *FormatError) Unwrap() error { return e.Err }

func formatError(kind error, tensor, format string, args ...any) *FormatError {
	return &FormatError{Tensor: tensor, Err: kind, Detail: fmt.Sprintf(format, args...)}
}

// withPath names the file in an error made by a function that saw bytes only.
func withPath(err error, path string) error {
	var fe *FormatError
	if errors.As(err, &fe) && fe.Path == "" {
		named := *fe
		named.Path = path
		return &named
	}
	return err
}

// ForeignError refuses to write where something lies that mito did not make.
type ForeignError struct {
	Path   string
	Reason string
}

func (e *ForeignError) Error() string {
	return fmt.Sprintf("%s: %s; choose another output path, or move it away first", e.Path, e.Reason)
}
