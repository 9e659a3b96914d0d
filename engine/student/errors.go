package student

import (
	"errors"
	"fmt"

	"mito/kernels/sentinel"
)

// Errors that callers tell apart.
var (
	ErrMinus128    = sentinel.ErrMinus128
	ErrNotFinite   = sentinel.ErrNotFinite
	ErrToken       = errors.New("token outside the vocabulary")
	ErrContextFull = errors.New("sequence longer than the model's context")
	ErrSequence    = errors.New("no such sequence")
)

// WeightError reports a tensor that does not fit the configuration or holds a value that it must not.
type WeightError struct {
	Tensor string
	Err    error
}

func (e *WeightError) Error() string { return fmt.Sprintf("student: %s: %v", e.Tensor, e.Err) }
func (e *WeightError) Unwrap() error { return e.Err }

// ShapeError is the Err of a WeightError about sizes.
type ShapeError struct{ Got, Want []int }

func (e *ShapeError) Error() string { return fmt.Sprintf("shape %v, want %v", e.Got, e.Want) }
func (e *ShapeError) Unwrap() error { return sentinel.ErrShape }
