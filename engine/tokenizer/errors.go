package tokenizer

import (
	"errors"
	"fmt"
	"strings"
)

// ErrUnsupported is what an [UnsupportedError] wraps.
var ErrUnsupported = errors.New("not supported")

// UnknownCharError reports a character that a [Chars] tokenizer has no id for.
type UnknownCharError struct {
	Char      rune
	Offset    int // in bytes, from the start of the text
	VocabSize int
}

func (e *UnknownCharError) Error() string {
	return fmt.Sprintf("tokenizer: character %q (%U) at byte %d is not among the %d tokens of the vocabulary: "+
		"remove it from the text, or make the tokenizer from text that contains it", e.Char, e.Char, e.Offset, e.VocabSize)
}

// UnknownByteError reports a byte that a loaded [BPE] file has no token for.
// A tokenizer from [TrainBPE] has all 256.
type UnknownByteError struct {
	Byte   byte
	Offset int // in bytes, from the start of the text
}

func (e *UnknownByteError) Error() string {
	return fmt.Sprintf("tokenizer: byte 0x%02x at byte %d has no token in the vocabulary: use a tokenizer that has all 256 byte tokens",
		e.Byte, e.Offset)
}

// EncodingError reports text that is not UTF-8.
type EncodingError struct {
	Offset int // of the first offending byte
}

func (e *EncodingError) Error() string {
	return fmt.Sprintf("tokenizer: the text is not UTF-8 at byte %d: convert it to UTF-8 first", e.Offset)
}

// IDError reports a token id outside the vocabulary.
type IDError struct {
	ID        int32
	VocabSize int
}

func (e *IDError) Error() string {
	return fmt.Sprintf("tokenizer: token id %d is outside the vocabulary of %d tokens", e.ID, e.VocabSize)
}

// ArgError reports an argument that no tokenizer can be made from.
type ArgError struct {
	Arg    string
	Reason string
}

func (e *ArgError) Error() string { return "tokenizer: " + e.Arg + ": " + e.Reason }

// FormatError reports a tokenizer.json that is malformed or contradicts itself.
type FormatError struct {
	Field  string // dotted path inside the file, "" for the file as a whole
	Reason string
}

func (e *FormatError) Error() string {
	if e.Field == "" {
		return "tokenizer.json: " + e.Reason
	}
	return "tokenizer.json: " + e.Field + ": " + e.Reason
}

// UnsupportedError reports a well-formed tokenizer.json that asks for something
// this package does not do. It wraps [ErrUnsupported].
type UnsupportedError struct {
	Field string // dotted path inside the file
	Got   string // what the file asks for
	Want  string // what is supported there
}

func (e *UnsupportedError) Error() string {
	return fmt.Sprintf("tokenizer.json: %s is %s, which is %v: supported is %s", e.Field, clip(e.Got), ErrUnsupported, e.Want)
}

func (e *UnsupportedError) Unwrap() error { return ErrUnsupported }

// clip keeps a hostile file from filling the screen through its error message.
func clip(s string) string {
	const most = 80
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
