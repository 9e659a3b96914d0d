package grammar

import "fmt"

// SyntaxError reports a grammar that cannot be read.
type SyntaxError struct {
	Kind      string // GBNFKind or RegexKind
	Line, Col int    // from 1; 0 where the place is part of What
	What      string
}

func (e *SyntaxError) Error() string {
	if e.Line == 0 {
		return fmt.Sprintf("the %s: %s", e.Kind, e.What)
	}
	return fmt.Sprintf("the %s, line %d, column %d: %s", e.Kind, e.Line, e.Col, e.What)
}

// VocabularyError reports a grammar none of whose texts can be written with the tokens of a vocabulary.
type VocabularyError struct {
	Where string // in the grammar
	Wants string // what no token has
}

func (e *VocabularyError) Error() string {
	return fmt.Sprintf("no text of the grammar can be written with this vocabulary: %s wants %s, which no token has", e.Where, e.Wants)
}

// DeadEndError reports a text that no token of the vocabulary continues as the grammar wants.
type DeadEndError struct {
	After string // the text so far
	Wants string // how the grammar goes on
	Where string // in the grammar
}

func (e *DeadEndError) Error() string {
	return fmt.Sprintf("after %q the grammar wants %s (%s), and no token of the vocabulary continues so", e.After, e.Wants, e.Where)
}

// LengthError reports that the shortest text of a grammar takes more tokens than there may be.
type LengthError struct {
	Tokens int // allowed
	Bytes  int // of the shortest text
}

func (e *LengthError) Error() string {
	return fmt.Sprintf("%d tokens are not enough for any text of the grammar, whose shortest has %d bytes", e.Tokens, e.Bytes)
}
