package checkpoint

import (
	"errors"

	"mito/engine/files"
	"mito/kernels/sentinel"
)

// The ways in which a checkpoint can be wrong. They are wrapped by [FormatError]; test with errors.Is. Those that any file
// or any model can have are the ones of package files and of the sentinels.
var (
	ErrTruncated    = files.ErrTruncated
	ErrTooLarge     = files.ErrTooLarge
	ErrSyntax       = files.ErrSyntax
	ErrDuplicate    = files.ErrDuplicate
	ErrRange        = files.ErrRange
	ErrHash         = files.ErrHash
	ErrShape        = sentinel.ErrShape
	ErrNotFinite    = sentinel.ErrNotFinite
	ErrMissing      = sentinel.ErrMissing
	ErrUnexpected   = sentinel.ErrUnexpected
	ErrHeaderTooBig = errors.New("the header is larger than allowed")
	ErrOverlap      = errors.New("two tensors share bytes")
	ErrGap          = errors.New("some bytes belong to no tensor")
	ErrOverflow     = errors.New("a size does not fit")
	ErrDType        = errors.New("the element type does not fit")
)

// FormatError says what is wrong with a checkpoint and where; its Name is a tensor or a field.
type FormatError = files.FormatError

func formatError(kind error, name, format string, args ...any) *FormatError {
	return files.Errorf(kind, name, format, args...)
}
