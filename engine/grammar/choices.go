package grammar

import (
	"errors"
	"fmt"
	"slices"
	"unicode/utf8"
)

// Choices allows a few texts and nothing else. Errors: no text, an empty one, one that is not UTF-8.
func Choices(texts []string) (*Grammar, error) {
	if len(texts) == 0 {
		return nil, errors.New("there are no texts to choose from")
	}
	b := newBuilder(ChoicesKind, slices.Clone(texts)...)
	root := b.rule("choices")
	seen := map[string]bool{}
	for i, t := range texts {
		switch {
		case t == "":
			return nil, fmt.Errorf("text %d of those to choose from is empty", i+1)
		case !utf8.ValidString(t):
			return nil, fmt.Errorf("text %d of those to choose from is not UTF-8: %q", i+1, t)
		case seen[t]:
			continue
		}
		seen[t] = true
		b.at(fmt.Sprintf("the text %.40q", t))
		b.alt(root, b.literal(t))
	}
	return b.grammar()
}
