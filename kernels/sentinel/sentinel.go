// Package sentinel holds the errors that several layers mean alike, so that errors.Is works across them: the kernels, the
// student that ships, the files of a model, quantisation. Each layer gives them its own name (student.ErrNotFinite) and
// wraps them with what it knows.
//
// It imports the standard library only, and everything may import it.
package sentinel

import "errors"

var (
	// ErrShape says that a size does not fit: of a matrix, a tensor, a list of values.
	ErrShape = errors.New("the shape does not fit")
	// ErrNotFinite says that a value is NaN or infinite.
	ErrNotFinite = errors.New("a value is NaN or infinite")
	// ErrMinus128 refuses the one INT8 value that has no negative: products with it overflow 16 bits.
	ErrMinus128 = errors.New("a weight is -128, outside [-127,127]")
	// ErrMissing says that a tensor is missing.
	ErrMissing = errors.New("a tensor is missing")
	// ErrUnexpected says that there is a tensor which nobody asked for.
	ErrUnexpected = errors.New("a tensor was not expected")
)
