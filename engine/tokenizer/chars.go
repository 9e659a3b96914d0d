package tokenizer

import (
	"fmt"
	"math/bits"
	"slices"
	"unicode"
	"unicode/utf8"
)

// Chars is a tokenizer with one id for each code point of its alphabet.
type Chars struct {
	core
	ascii [utf8.RuneSelf]int32 // -1 where there is no id
	rest  map[rune]int32
}

// MaxChars bounds the alphabet that [NewChars] takes from a text. All of Chinese fits; a text with more is rather binary
// or synthetic, and a model would spend minutes on logits for characters that it meets once.
const MaxChars = 1 << 16

// distinct lists the characters of a text in ascending order.
func distinct(text string) []rune {
	var seen [(unicode.MaxRune + 64) / 64]uint64
	n := 0
	for _, r := range text {
		if bit := uint64(1) << (r % 64); seen[r/64]&bit == 0 {
			seen[r/64] |= bit
			n++
		}
	}
	out := make([]rune, 0, n)
	for i, w := range seen {
		for ; w != 0; w &= w - 1 {
			out = append(out, rune(i*64+bits.TrailingZeros64(w)))
		}
	}
	return out
}

// NewChars makes a tokenizer of the distinct characters of text in ascending
// order of code point, ids from 0, followed by the special tokens in the order
// given. It fails with *EncodingError if text is not UTF-8 and with *ArgError
// if text is empty or has more than MaxChars of them, or a special token is unusable.
func NewChars(text string, specials ...string) (*Chars, error) {
	if err := checkUTF8(text); err != nil {
		return nil, err
	}
	alphabet := distinct(text)
	switch {
	case len(alphabet) == 0:
		return nil, &ArgError{"text", "empty: an alphabet needs at least one character"}
	case len(alphabet) > MaxChars:
		return nil, &ArgError{"text", fmt.Sprintf("has %d different characters, and a vocabulary of characters may have %d: "+
			"use a byte-level BPE (--bpe 4096, say), which needs no entry for each", len(alphabet), MaxChars)}
	}
	pieces := make([]string, len(alphabet), len(alphabet)+len(specials))
	for i, r := range alphabet {
		pieces[i] = string(r)
	}
	added, err := specialTokens(specials, len(pieces))
	if err != nil {
		return nil, err
	}
	for _, t := range added {
		if slices.Contains(pieces, t.content) {
			return nil, &ArgError{"special token", fmt.Sprintf("%q is already a character of the text", t.content)}
		}
	}
	for _, t := range added {
		pieces = append(pieces, t.content)
	}
	return newChars(pieces, added, template{}), nil
}

// newChars builds the tokenizer; every piece that is not an added token is one character.
func newChars(pieces []string, added addedTokens, around template) *Chars {
	c := &Chars{
		core: core{pieces: pieces, added: added, eos: findEOS(added), around: around},
		rest: map[rune]int32{},
	}
	for i := range c.ascii {
		c.ascii[i] = -1
	}
	isAdded := map[int32]bool{}
	for _, t := range added {
		isAdded[t.id] = true
	}
	for id, p := range pieces {
		if isAdded[int32(id)] {
			continue
		}
		r, _ := utf8.DecodeRuneInString(p)
		if r < utf8.RuneSelf {
			c.ascii[r] = int32(id)
		} else {
			c.rest[r] = int32(id)
		}
	}
	c.seal(pieces, func(post string) []byte { return marshalChars(c, post) })
	return c
}

// Encode implements [Tokenizer]: one id per character, one per added token.
func (c *Chars) Encode(s string) ([]int32, error) {
	if err := checkUTF8(s); err != nil {
		return nil, err
	}
	ids := make([]int32, 0, len(s))
	err := c.added.split(s, nil, func(part string, offset int) error {
		for i, r := range part {
			id := int32(-1)
			if r < utf8.RuneSelf {
				id = c.ascii[r]
			} else if v, ok := c.rest[r]; ok {
				id = v
			}
			if id < 0 {
				return &UnknownCharError{Char: r, Offset: offset + i, VocabSize: len(c.pieces)}
			}
			ids = append(ids, id)
		}
		return nil
	}, func(id int32) { ids = append(ids, id) })
	if err != nil {
		return nil, err
	}
	return ids, nil
}
