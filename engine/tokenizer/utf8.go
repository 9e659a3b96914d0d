package tokenizer

import (
	"strings"
	"unicode/utf8"
)

const replacement = "\uFFFD"

// lossy returns b with one U+FFFD for each maximal invalid part (Unicode 16,
// section 3.9, "U+FFFD substitution of maximal subparts").
func lossy(b []byte) string {
	if utf8.Valid(b) {
		return string(b)
	}
	var sb strings.Builder
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		if r == utf8.RuneError && n == 1 {
			sb.WriteString(replacement)
			b = b[invalidPart(b):]
			continue
		}
		sb.Write(b[:n])
		b = b[n:]
	}
	return sb.String()
}

// invalidPart is the length of the longest start of b that could have begun a
// character, at least 1. The first character of b must be invalid.
func invalidPart(b []byte) int {
	lo, hi, need := byte(0x80), byte(0xBF), 0
	switch c := b[0]; {
	case c == 0xE0:
		lo, need = 0xA0, 3
	case c == 0xED:
		hi, need = 0x9F, 3
	case c >= 0xE1 && c <= 0xEF:
		need = 3
	case c == 0xF0:
		lo, need = 0x90, 4
	case c == 0xF4:
		hi, need = 0x8F, 4
	case c >= 0xF1 && c <= 0xF3:
		need = 4
	}
	if need == 0 || len(b) < 2 || b[1] < lo || b[1] > hi {
		return 1
	}
	if need == 4 && len(b) > 2 && b[2] >= 0x80 && b[2] <= 0xBF {
		return 3
	}
	return 2
}

// A Stream decodes token by token and never emits part of a character: the
// concatenation of what Next and Flush return equals Decode of all the ids.
type Stream struct {
	tok     Tokenizer
	pending []byte
}

// NewStream returns a Stream over t.
func NewStream(t Tokenizer) *Stream { return &Stream{tok: t} }

// Next returns the text that id completes, which may be empty. It fails with
// *IDError and then leaves the stream as it was.
func (s *Stream) Next(id int32) (string, error) {
	b, err := s.tok.AppendToken(s.pending, id)
	if err != nil {
		return "", err
	}
	end := len(b) - unfinished(b)
	out := lossy(b[:end])
	s.pending = append(s.pending[:0], b[end:]...)
	return out, nil
}

// Flush returns what is left of an unfinished character, as U+FFFD, and makes
// the stream ready for another text.
func (s *Stream) Flush() string {
	out := lossy(s.pending)
	s.pending = s.pending[:0]
	return out
}

// unfinished is the length of the tail of b that more bytes could complete.
func unfinished(b []byte) int {
	for n := 1; n < utf8.UTFMax && n <= len(b); n++ {
		tail := b[len(b)-n:]
		if utf8.RuneStart(tail[0]) {
			if utf8.FullRune(tail) {
				return 0
			}
			return n
		}
	}
	return 0
}
