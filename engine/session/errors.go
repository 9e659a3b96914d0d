package session

import (
	"errors"

	"mito/kernels/sentinel"
)

// Errors that callers tell apart, the same in every package above.
var (
	ErrToken       = errors.New("token outside the vocabulary")
	ErrContextFull = errors.New("sequence longer than the model's context")
	ErrSequence    = errors.New("no such sequence")
	ErrAdapter     = errors.New("no such adapter")
	ErrEvicted     = errors.New("the window has passed on, and what the next token looks at is gone")
	ErrNotFinite   = sentinel.ErrNotFinite
)
