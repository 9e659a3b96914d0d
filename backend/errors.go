package backend

import (
	"errors"
	"fmt"

	"gorgonia.org/tensor"

	"mito/kernels/sentinel"
)

// Every error of a backend is, by [errors.Is], one of these or what the device said.
var (
	// ErrArgument says that the caller gave something that does not fit: what [*ShapeError], [*DTypeError],
	// [*OwnerError] and [*ArgError] are.
	ErrArgument = errors.New("wrong argument")
	// ErrUnsupported says that a backend cannot do what was asked, on any machine. It is an [errors.ErrUnsupported].
	ErrUnsupported error = &kind{"not supported by this backend", errors.ErrUnsupported}
	// ErrOutOfMemory says that the machine has not as much memory as was asked for.
	ErrOutOfMemory = errors.New("out of memory")
	// ErrUnavailable says that this program cannot use the backend on this machine.
	ErrUnavailable = errors.New("not available on this machine")
	// ErrNotBuilt says that the program was built without the backend. It is an ErrUnavailable.
	ErrNotBuilt error = &kind{"not built into this program", ErrUnavailable}
)

// First returns the first error of a sequence of operations. The operations after a failed one still run: they are checked
// one by one and their results are thrown away. It allocates nothing.
func First(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// kind is a sentinel that is also another one.
type kind struct {
	text string
	of   error
}

func (k *kind) Error() string { return k.text }
func (k *kind) Unwrap() error { return k.of }

// MemoryError is an ErrOutOfMemory that says how much there is.
type MemoryError struct {
	Asked, Free int64  // bytes
	Of          string // what sets the limit, such as "the GPU's 16 GiB"
}

func (e *MemoryError) Error() string {
	return fmt.Sprintf("%d MiB asked for, %d MiB are free of %s: out of memory", (e.Asked+1<<20-1)>>20, e.Free>>20, e.Of)
}

// Unwrap makes the error an ErrOutOfMemory.
func (e *MemoryError) Unwrap() error { return ErrOutOfMemory }

// ShapeError reports a tensor or a parameter whose size does not fit the operation.
type ShapeError struct {
	Op, Arg   string
	Got, Want []int // Want is nil where no single shape would be right
}

func (e *ShapeError) Error() string {
	if e.Want == nil {
		return fmt.Sprintf("backend: %s: %s has impossible shape %v", e.Op, e.Arg, e.Got)
	}
	return fmt.Sprintf("backend: %s: %s has shape %v, want %v", e.Op, e.Arg, e.Got, e.Want)
}

// Unwrap says that the caller gave a shape that does not fit.
func (e *ShapeError) Unwrap() []error { return []error{ErrArgument, sentinel.ErrShape} }

// DTypeError reports a tensor of the wrong element type.
type DTypeError struct {
	Op, Arg   string
	Got, Want tensor.Dtype
}

func (e *DTypeError) Error() string {
	return fmt.Sprintf("backend: %s: %s is %v, want %v", e.Op, e.Arg, e.Got, e.Want)
}

func (e *DTypeError) Unwrap() error { return ErrArgument }

// OwnerError reports a tensor that is missing or whose memory belongs to another backend.
type OwnerError struct{ Op, Arg string }

func (e *OwnerError) Error() string {
	return fmt.Sprintf("backend: %s: %s is missing or lives in another backend's memory", e.Op, e.Arg)
}

func (e *OwnerError) Unwrap() error { return ErrArgument }

// ArgError reports a scalar argument outside its range.
type ArgError struct {
	Op, Arg string
	Got     any
	Want    string
}

func (e *ArgError) Error() string {
	return fmt.Sprintf("backend: %s: %s is %v, want %s", e.Op, e.Arg, e.Got, e.Want)
}

func (e *ArgError) Unwrap() error { return ErrArgument }

// DeviceError reports what the driver or the device said, and during which operation it came to light. The cause
// may lie in an earlier operation of the same stream.
type DeviceError struct {
	Op  string
	Err error
}

func (e *DeviceError) Error() string { return fmt.Sprintf("backend: %s: device: %v", e.Op, e.Err) }

func (e *DeviceError) Unwrap() error { return e.Err }
