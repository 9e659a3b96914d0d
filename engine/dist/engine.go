package dist

import (
	"fmt"
	"strings"

	"gorgonia.org/tensor"
)

// Engine moves float32 tensors between ranks. All ranks call the same collectives in the same order. Messages between two ranks
// arrive in the order in which they were sent.
type Engine interface {
	Rank() int
	Size() int
	// Name says what it is, for people: the library and its version.
	Name() string
	// Send sends t to a rank and may return before it is gone; t must not change until Wait.
	Send(t *tensor.Dense, to int) error
	// Blocks says that what follows a Send waits until it is received, so that ranks must not send to each other in a circle.
	Blocks() bool
	// Receive sets t to what a rank has sent.
	Receive(t *tensor.Dense, from int) error
	// Ready says that a Receive from a rank would not wait. false may also mean that it is not known.
	Ready(from int) bool
	// Wait returns when everything that was sent is gone.
	Wait() error
	// Broadcast makes t on every rank what it is on root.
	Broadcast(t *tensor.Dense, root int) error
	// Sum sets t on every rank to the sum over the ranks, in the engine's own order.
	Sum(t *tensor.Dense) error
	// Close ends the engine, on every rank.
	Close() error
}

// NotFound says that a loader did not find the library name, where its error is not that it found one which lacks another.
func NotFound(err error, name string) bool {
	text := err.Error()
	return strings.HasPrefix(text, name+":") && strings.Contains(text, "cannot open shared object file") ||
		strings.HasPrefix(text, "dlopen("+name+",") && strings.Contains(text, "no such file") && !strings.Contains(text, "Library not loaded")
}

// LibraryError says that an engine's library cannot be used.
type LibraryError struct {
	Library string   // such as MPI
	Tried   []string // names
	Reason  string
}

func (e *LibraryError) Error() string {
	return fmt.Sprintf("dist: %s cannot be used: %s (tried %v)", e.Library, e.Reason, e.Tried)
}
