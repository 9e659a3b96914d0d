package files

import (
	"errors"
	"fmt"
	"strings"
)

// The ways in which a file can be wrong. They are wrapped by [FormatError]; test with errors.Is.
var (
	ErrTruncated  = errors.New("the file ends too early")
	ErrTooLarge   = errors.New("is too large")
	ErrNotRegular = errors.New("is not a regular file")
	ErrSyntax     = errors.New("the file is not well formed")
	ErrDuplicate  = errors.New("a name occurs twice")
	ErrRange      = errors.New("a value is out of range")
	ErrHash       = errors.New("the file is not the one that was saved with the others")
)

// FormatError says what is wrong with a file and where.
type FormatError struct {
	Path   string // file, "" when the bytes came from memory
	Name   string // field or tensor, "" when the whole file is meant
	Err    error  // what kind of fault it is, such as ErrSyntax
	Detail string // the numbers: what was found, what was expected
}

func (e *FormatError) Error() string {
	var b strings.Builder
	if e.Path != "" {
		b.WriteString(e.Path)
		b.WriteString(": ")
	}
	if e.Name != "" {
		fmt.Fprintf(&b, "%q: ", e.Name)
	}
	b.WriteString(e.Err.Error())
	if e.Detail != "" {
		b.WriteString(": ")
		b.WriteString(e.Detail)
	}
	return b.String()
}

func (e *FormatError) Unwrap() error { return e.Err }

// Errorf makes a *FormatError of a kind about a field or tensor; name may be "".
func Errorf(kind error, name, format string, args ...any) *FormatError {
	return &FormatError{Name: name, Err: kind, Detail: fmt.Sprintf(format, args...)}
}

// WithPath names the file in a *FormatError made by a function that saw bytes only; other errors stay as they are.
func WithPath(err error, path string) error {
	var fe *FormatError
	if errors.As(err, &fe) && fe.Path == "" {
		named := *fe
		named.Path = path
		return &named
	}
	return err
}

// ForeignError refuses to write where something lies that is not to be replaced.
type ForeignError struct {
	Path   string
	Reason string
}

func (e *ForeignError) Error() string {
	return fmt.Sprintf("%s: %s; choose another output path, or move it away first", e.Path, e.Reason)
}

// InUseError refuses to write where another process writes.
type InUseError struct {
	Path string // the output
	PID  int    // of the process, 0 where it is not known
}

func (e *InUseError) Error() string {
	who := "another process"
	if e.PID > 0 {
		who = fmt.Sprintf("process %d", e.PID)
	}
	return fmt.Sprintf("%s is in use by %s: wait until it ends, or choose another output path", e.Path, who)
}
