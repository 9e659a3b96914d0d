package grammar

import "unicode/utf8"

// utf8Range is a sequence of ranges of bytes whose products are the UTF-8 of a range of characters.
type utf8Range struct {
	n      int
	lo, hi [4]byte
}

// surrogates are code points that no character has.
const surrogateLo, surrogateHi = 0xd800, 0xdfff

// appendUTF8 appends the sequences of the characters lo to hi, cut where their length or the number of free last bytes changes.
func appendUTF8(out []utf8Range, lo, hi rune) []utf8Range {
	hi = min(hi, utf8.MaxRune)
	if lo > hi {
		return out
	}
	if lo <= surrogateHi && hi >= surrogateLo {
		return appendUTF8(appendUTF8(out, lo, surrogateLo-1), surrogateHi+1, hi)
	}
	for _, last := range []rune{0x7f, 0x7ff, 0xffff} {
		if lo <= last && last < hi {
			return appendUTF8(appendUTF8(out, lo, last), last+1, hi)
		}
	}
	for shift := 6; shift <= 18; shift += 6 {
		low := rune(1)<<shift - 1 // the bits of the last bytes
		if lo&^low == hi&^low {
			break
		}
		if lo&low != 0 {
			return appendUTF8(appendUTF8(out, lo, lo|low), (lo|low)+1, hi)
		}
		if hi&low != low {
			return appendUTF8(appendUTF8(out, lo, hi&^low-1), hi&^low, hi)
		}
	}
	var u utf8Range
	u.n = utf8.EncodeRune(u.lo[:], lo)
	utf8.EncodeRune(u.hi[:], hi)
	return append(out, u)
}
