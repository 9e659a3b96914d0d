package tokenizer

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// addedToken is a token that is recognised in the text before the model sees it.
type addedToken struct {
	id      int32
	content string
	special bool
	// late tokens ("normalized" in the file) are looked for after the others, in
	// what the others left. Without a normalizer that order is all the flag means.
	late bool
}

// addedTokens is ordered by id.
type addedTokens []addedToken

// specialTokens gives the specials the ids from first on.
func specialTokens(specials []string, first int) (addedTokens, error) {
	added := make(addedTokens, 0, len(specials))
	for i, s := range specials {
		switch {
		case s == "":
			return nil, &ArgError{"special token", "empty"}
		case !utf8.ValidString(s):
			return nil, &ArgError{"special token", fmt.Sprintf("%q is not UTF-8", s)}
		case slices.Contains(specials[:i], s):
			return nil, &ArgError{"special token", fmt.Sprintf("%q is given twice", s)}
		}
		added = append(added, addedToken{id: int32(first + i), content: s, special: true})
	}
	return added, nil
}

// split calls text for each stretch of s between added tokens, with its offset
// in s, and token for each added token, in order. The leftmost match wins, and
// of those the longest.
func (a addedTokens) split(s string, text func(part string, offset int) error, token func(id int32)) error {
	var early, late addedTokens
	for _, t := range a {
		if t.late {
			late = append(late, t)
		} else {
			early = append(early, t)
		}
	}
	return early.scan(s, 0, func(part string, offset int) error {
		return late.scan(part, offset, text, token)
	}, token)
}

func (a addedTokens) scan(s string, offset int, text func(part string, offset int) error, token func(id int32)) error {
	// next[k] is where the k-th token occurs next, so that a text is searched
	// once for each token however often the tokens occur.
	next := make([]int, len(a))
	find := func(k, from int) {
		if next[k] = strings.Index(s[from:], a[k].content); next[k] >= 0 {
			next[k] += from
		}
	}
	for k := range a {
		find(k, 0)
	}
	pos := 0
	for {
		best := -1
		for k := range a {
			if next[k] >= 0 && next[k] < pos {
				find(k, pos)
			}
			if next[k] < 0 {
				continue
			}
			if best < 0 || next[k] < next[best] || next[k] == next[best] && len(a[k].content) > len(a[best].content) {
				best = k
			}
		}
		end := len(s)
		if best >= 0 {
			end = next[best]
		}
		if end > pos {
			if err := text(s[pos:end], offset+pos); err != nil {
				return err
			}
		}
		if best < 0 {
			return nil
		}
		token(a[best].id)
		pos = end + len(a[best].content)
	}
}
