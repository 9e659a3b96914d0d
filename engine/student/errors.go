package student

import (
	"fmt"

	"mito/engine/session"
	"mito/kernels/sentinel"
)

// Errors that callers tell apart. Those of sessions are package session's.
var (
	ErrMinus128    = sentinel.ErrMinus128
	ErrNotFinite   = session.ErrNotFinite
	ErrToken       = session.ErrToken
	ErrContextFull = session.ErrContextFull
	ErrSequence    = session.ErrSequence
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
