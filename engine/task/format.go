package task

import (
	"slices"
	"strings"
)

// Formats of prompts and answers, beside a task's own.
const (
	// FormatMoves writes a position of connect4 as the stones in the order of play. The prompts of a game continue one
	// another, so that a model learns from all positions of a game in one pass, and a session that plays reads two tokens
	// for a move.
	FormatMoves = "moves"
	// FormatDistance puts the number of moves left before the move that answers a board of puzzle8: what is to be learnt
	// has more to say than the move alone, and boards can be compared by it.
	FormatDistance = "distance"
)

// Formats lists the formats that a task has beside its own.
func Formats(name string) []string {
	switch name {
	case connect4Name:
		return []string{FormatMoves}
	case puzzle8Name:
		return []string{FormatDistance}
	}
	return nil
}

// FormatOf finds the format of a task that a model was made for, by the characters that it knows. It is "" for the task's own,
// and for a model that knows all characters, which tells nothing.
func FormatOf(name string, knows func(text string) bool) string {
	const ofNoTask = "☃"
	if knows(ofNoTask) {
		return ""
	}
	for _, format := range Formats(name) {
		if t, err := New(name, Options{Format: format}); err == nil && knows(t.Alphabet()) {
			return format
		}
	}
	return ""
}

func checkFormat(name, format string) error {
	if known := Formats(name); format != "" && !slices.Contains(known, format) {
		want := "left out: it has its own only"
		if len(known) > 0 {
			want = "left out for its own, or " + strings.Join(known, ", ")
		}
		return &FormatError{Task: name, Format: format, Want: want}
	}
	return nil
}
