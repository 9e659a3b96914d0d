package tokenizer

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// addedToken is a token that is recognised in the text before the model sees it.
type addedToken struct {
	id      int32
	content string
	special bool
	// late tokens ("normalized" in the file) are looked for after the others, in what the others left, normalized.
	late bool
	// What stands beside it: white space that it takes with it, and letters that it may not touch.
	lstrip, rstrip, singleWord bool
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
// of those the longest. Late tokens are looked for in what normalize makes of a stretch, as it makes them.
func (a addedTokens) split(s string, normalize *form, text func(part string, offset int) error, token func(id int32)) error {
	var early, late addedTokens
	for _, t := range a {
		if t.late {
			t.content = normalize.apply(t.content)
			late = append(late, t)
		} else {
			early = append(early, t)
		}
	}
	return early.scan(s, 0, func(part string, offset int) error {
		return late.scan(normalize.apply(part), offset, text, token)
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
	pos, done := 0, 0 // where matches are looked for, and up to where tokens were given out
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
		start := len(s)
		if best >= 0 {
			start = next[best]
			pos = start + len(a[best].content)
		}
		end := pos
		if best >= 0 {
			t := &a[best]
			if t.singleWord && (endsInWord(s[:start]) || beginsWithWord(s[end:])) {
				continue
			}
			if t.lstrip {
				start = max(done, len(strings.TrimRightFunc(s[:start], unicode.IsSpace)))
			}
			if t.rstrip {
				end = len(s) - len(strings.TrimLeftFunc(s[end:], unicode.IsSpace))
			}
		}
		if start > done {
			if err := text(s[done:start], offset+done); err != nil {
				return err
			}
		}
		if best < 0 {
			return nil
		}
		token(a[best].id)
		done = end
	}
}

func endsInWord(s string) bool {
	r, n := utf8.DecodeLastRuneInString(s)
	return n > 0 && inWord(r)
}

func beginsWithWord(s string) bool {
	r, n := utf8.DecodeRuneInString(s)
	return n > 0 && inWord(r)
}

// inWord is \w: letters, marks, numbers of decimal digits, and what joins words.
func inWord(r rune) bool {
	return unicode.In(r, unicode.L, unicode.M, unicode.Nd, unicode.Nl, unicode.Pc, unicode.Other_Alphabetic, unicode.Join_Control)
}

// Added lists the tokens that are recognised in a text before it is cut, by id. plain says that they depend on nothing beside
// them, and that the tokenizer puts none round a text.
func (c *core) Added() (ids []int32, plain bool) {
	plain = len(c.around.before)+len(c.around.after) == 0
	for _, t := range c.added {
		ids = append(ids, t.id)
		plain = plain && !t.late && !t.lstrip && !t.rstrip && !t.singleWord
	}
	return ids, plain
}
