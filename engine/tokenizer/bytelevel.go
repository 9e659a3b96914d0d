package tokenizer

import (
	"unicode"
	"unicode/utf8"
)

// GPT-2 writes each byte of a token as one printable character, so that a
// vocabulary is a JSON object of strings: the bytes that are printable in
// Latin-1 stand for themselves, the other 68 take the code points from 256 on.
var (
	byteChar [256]rune
	charByte = map[rune]byte{}
	// byteOrder lists the bytes by the code point of their character, which is
	// the order of ids 0..255 in GPT-2 and in Hugging Face's trainer.
	byteOrder [256]byte
)

func init() {
	printable := func(b int) bool {
		return b >= '!' && b <= '~' || b >= 0xA1 && b <= 0xAC || b >= 0xAE
	}
	n, next := 0, rune(256)
	for b := range 256 {
		if printable(b) {
			byteChar[b] = rune(b)
			byteOrder[n] = byte(b)
			n++
		}
	}
	for b := range 256 {
		if !printable(b) {
			byteChar[b] = next
			next++
			byteOrder[n] = byte(b)
			n++
		}
	}
	for b, r := range byteChar {
		charByte[r] = byte(b)
	}
}

// toByteChars spells raw bytes in the alphabet of the file.
func toByteChars(s string) string {
	out := make([]rune, len(s))
	for i := range len(s) {
		out[i] = byteChar[s[i]]
	}
	return string(out)
}

// fromByteChars is the inverse of toByteChars; ok is false where s has a
// character that stands for no byte.
func fromByteChars(s string) (raw string, ok bool) {
	out := make([]byte, 0, len(s))
	for _, r := range s {
		b, known := charByte[r]
		if !known {
			return "", false
		}
		out = append(out, b)
	}
	return string(out), true
}

type charClass uint8

const (
	other charClass = iota
	letter
	number
	space
)

func class(r rune) charClass {
	switch {
	case r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z':
		return letter
	case r >= '0' && r <= '9':
		return number
	case unicode.IsSpace(r):
		return space
	case r < utf8.RuneSelf:
		return other
	case unicode.IsLetter(r):
		return letter
	case unicode.IsNumber(r):
		return number
	}
	return other
}

// gpt2Word is the length of the first match in s, non-empty UTF-8, of
//
//	's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
//
// which is GPT-2's pattern; Go's regexp has no look-ahead, and a scan is faster.
func gpt2Word(s string) int {
	if n := contraction(s); n > 0 {
		return n
	}
	r, n := utf8.DecodeRuneInString(s)
	c := class(r)
	if r == ' ' && len(s) > 1 {
		if r, m := utf8.DecodeRuneInString(s[1:]); class(r) != space {
			c, n = class(r), 1+m
		}
	}
	last := n // of the latest whitespace character, in bytes
	for n < len(s) {
		r, m := utf8.DecodeRuneInString(s[n:])
		if class(r) != c {
			// White space before a word leaves its last character to the word.
			if c == space && n > last {
				return n - last
			}
			return n
		}
		n += m
		last = m
	}
	return n
}

func contraction(s string) int {
	if len(s) < 2 || s[0] != '\'' {
		return 0
	}
	switch s[1] {
	case 's', 't', 'm', 'd':
		return 2
	}
	if len(s) > 2 {
		switch s[1:3] {
		case "re", "ve", "ll":
			return 3
		}
	}
	return 0
}
