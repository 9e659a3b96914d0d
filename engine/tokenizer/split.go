package tokenizer

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"
)

// preTokenizer cuts a text into the words inside which BPE merges: each step cuts the pieces of those before it.
type preTokenizer struct {
	steps []splitter
	words bool // at last cut by GPT-2's pattern
}

// splitter isolates the matches of a pattern from what lies between them.
type splitter struct {
	match func(s string) int // length of the match that s begins with, 0 for none
	drop  bool               // what lies between matches goes
	json  string             // canonical
}

// each calls f for each word of s, which must be UTF-8, with its offset in s.
func (p preTokenizer) each(s string, f func(word string, offset int) error) error {
	return p.from(0, s, 0, f)
}

func (p preTokenizer) from(step int, s string, offset int, f func(word string, offset int) error) error {
	if step == len(p.steps) {
		if !p.words {
			return f(s, offset)
		}
		for pos := 0; pos < len(s); {
			n := gpt2Word(s[pos:])
			if err := f(s[pos:pos+n], offset+pos); err != nil {
				return err
			}
			pos += n
		}
		return nil
	}
	cut := &p.steps[step]
	gap := 0 // begins what no match has taken yet
	between := func(end int) error {
		if gap == end || cut.drop {
			return nil
		}
		return p.from(step+1, s[gap:end], offset+gap, f)
	}
	for pos := 0; pos < len(s); {
		n := cut.match(s[pos:])
		if n == 0 {
			_, n = utf8.DecodeRuneInString(s[pos:])
			pos += n
			continue
		}
		if err := between(pos); err != nil {
			return err
		}
		if err := p.from(step+1, s[pos:pos+n], offset+pos, f); err != nil {
			return err
		}
		pos += n
		gap = pos
	}
	return between(len(s))
}

// digit is the length of a numeric character.
func digit(s string) int {
	r, n := utf8.DecodeRuneInString(s)
	if class(r) != number {
		return 0
	}
	return n
}

// digits is the length of a row of numeric characters.
func digits(s string) int {
	n := 0
	for d := digit(s); d > 0; d = digit(s[n:]) {
		n += d
	}
	return n
}

const digitsStep = `{
        "type": "Digits",
        "individual_digits": %t
      }`

// splitStep is the layout of a step that cuts by a pattern.
const splitStep = `{
        "type": "Split",
        "pattern": {
          "Regex": %s
        },
        "behavior": "%s",
        "invert": %t
      }`

// parsePreTokenizer reads the steps before a byte-level BPE: Digits and Split, and ByteLevel as the last.
func parsePreTokenizer(top fields) (pre preTokenizer, err error) {
	p, err := top.object("pre_tokenizer")
	if err != nil {
		return pre, err
	}
	steps := []fields{p}
	if kind, err := p.str("type"); err != nil {
		return pre, err
	} else if kind == "Sequence" {
		if steps, err = p.list("pretokenizers"); err != nil {
			return pre, err
		}
	}
	for i, f := range steps {
		kind, err := f.str("type")
		if err != nil {
			return pre, err
		}
		last := i == len(steps)-1
		var step splitter
		switch {
		case kind == "Digits" && !last:
			step, err = parseDigits(f)
		case kind == "Split" && !last:
			step, err = parseSplit(f)
		case kind == "ByteLevel" && last:
			if err := f.only("type", "add_prefix_space", "trim_offsets", "use_regex"); err != nil {
				return pre, err
			}
			if err := f.wantBool("add_prefix_space", false, true); err != nil {
				return pre, err
			}
			pre.words, err = f.boolean("use_regex", true)
			return pre, err
		default:
			err = &UnsupportedError{f.where, strconv.Quote(kind), "Digits, Split and, as the last step, ByteLevel"}
		}
		if err != nil {
			return pre, err
		}
		pre.steps = append(pre.steps, step)
	}
	return pre, &UnsupportedError{"pre_tokenizer", "an empty sequence", "ByteLevel"}
}

func parseDigits(f fields) (s splitter, err error) {
	if err := f.only("type", "individual_digits"); err != nil {
		return s, err
	}
	each, err := f.boolean("individual_digits", false)
	s.match, s.json = digits, fmt.Sprintf(digitsStep, each)
	if each {
		s.match = digit
	}
	return s, err
}

func parseSplit(f fields) (s splitter, err error) {
	if err := f.only("type", "pattern", "behavior", "invert"); err != nil {
		return s, err
	}
	p, err := f.object("pattern")
	if err != nil {
		return s, err
	}
	if err := p.only("Regex"); err != nil {
		return s, err
	}
	pattern, err := p.str("Regex")
	if err != nil {
		return s, err
	}
	behavior, err := f.str("behavior")
	if err != nil {
		return s, err
	}
	invert, err := f.boolean("invert", false)
	if err != nil {
		return s, err
	}
	switch {
	case behavior == "Isolated": // inverted, matches and what lies between them change places and are cut all the same
	case behavior == "Removed" && invert:
		s.drop = true
	default:
		return s, &UnsupportedError{f.path("behavior"), fmt.Sprintf("%q with invert %t", behavior, invert), `"Isolated", or "Removed" with invert true`}
	}
	if s.match, err = matcher(pattern); err != nil {
		return s, &UnsupportedError{p.path("Regex"), "a pattern with " + err.Error(), "one of characters, classes, groups and repeats, " +
			`that may end in \s+(?!\S)|\s+ as those of GPT-2, Llama 3, Qwen, GPT-4 and Mistral do`}
	}
	s.json = fmt.Sprintf(splitStep, quote(pattern), behavior, invert)
	return s, nil
}

// Patterns that models cut texts by, by the names that llama.cpp has for them.
var Patterns = map[string]string{
	"llama-bpe": llama3Head + `\p{N}{1,3}` + llama3Tail + `[\r\n]*|\s*[\r\n]+|` + blankTail,
	"qwen2":     llama3Head + `\p{N}` + llama3Tail + `[\r\n]*|\s*[\r\n]+|` + blankTail,
	"gpt-4o":    upperHead + contractions + `?|` + upperMiddle + contractions + `?|\p{N}{1,3}` + llama3Tail + `[\r\n/]*|\s*[\r\n]+|` + blankTail,
	"tekken":    upperHead + `|` + upperMiddle + `|\p{N}` + llama3Tail + `[\r\n/]*|\s*[\r\n]+|` + blankTail,
}

const (
	contractions = `(?i:'s|'t|'re|'ve|'m|'ll|'d)`
	llama3Head   = contractions + `|[^\r\n\p{L}\p{N}]?\p{L}+|`
	llama3Tail   = `| ?[^\s\p{L}\p{N}]+`
	upperHead    = `[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+`
	upperMiddle  = `[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*`
)

// gpt2Pattern is what gpt2Word matches.
const gpt2Pattern = `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`

// blankTail is the one look-ahead in use: white space before a word leaves its last character to the word.
const blankTail = `\s+(?!\S)|\s+`

// matcher compiles a pattern of the Oniguruma library, which tokenizers uses, as far as Go's regexp gives it the same
// meaning: both take the first alternative that matches.
func matcher(pattern string) (func(s string) int, error) {
	if pattern == gpt2Pattern {
		return gpt2Word, nil
	}
	head, blank := strings.CutSuffix(pattern, blankTail)
	if blank && head != "" {
		if head, blank = strings.CutSuffix(head, "|"); !blank {
			return nil, errors.New("a look-ahead")
		}
	}
	var re *regexp.Regexp
	if head != "" || !blank {
		text, err := translate(head)
		if err != nil {
			return nil, err
		}
		if re, err = regexp.Compile("^(?:" + text + ")"); err != nil {
			return nil, errors.New("syntax that mito does not read")
		}
		if re.MatchString("") {
			return nil, errors.New("a match of nothing at all")
		}
	}
	return func(s string) int {
		if re != nil {
			if at := re.FindStringIndex(s); at != nil {
				return at[1]
			}
		}
		if !blank {
			return 0
		}
		return blanks(s)
	}, nil
}

// blanks is the length of the match of blankTail.
func blanks(s string) int {
	n, last := 0, 0
	for n < len(s) {
		r, m := utf8.DecodeRuneInString(s[n:])
		if class(r) != space {
			if n > last {
				return n - last
			}
			return n
		}
		n, last = n+m, m
	}
	return n
}

// whiteSpace is \s of Oniguruma, inside a class of Go.
const whiteSpace = `\t\n\v\f\r \x{85}\p{Z}`

// translate writes a pattern for Go's regexp. Errors name what has another meaning there, or none.
func translate(pattern string) (string, error) {
	var b strings.Builder
	class := false // inside brackets
	for i := 0; i < len(pattern); i++ {
		c := pattern[i]
		next := byte(0)
		if i+1 < len(pattern) {
			next = pattern[i+1]
		}
		switch {
		case c == '\\':
			i++
			switch {
			case next == 's' && class:
				b.WriteString(whiteSpace)
			case next == 's':
				b.WriteString("[" + whiteSpace + "]")
			case next == 'S' && !class:
				b.WriteString("[^" + whiteSpace + "]")
			case next == 'd':
				b.WriteString(`\p{Nd}`)
			case next == 'p' || next == 'P':
				end := strings.IndexByte(pattern[i:], '}')
				if end < 0 || !strings.HasPrefix(pattern[i+1:], "{") {
					return "", errors.New(`\p without a name in braces`)
				}
				b.WriteString(pattern[i-1 : i+end+1])
				i += end
			case next == 'r' || next == 'n' || next == 't', next > ' ' && next < utf8.RuneSelf && !alphanumeric(next):
				b.WriteString(pattern[i-1 : i+1])
			default:
				return "", fmt.Errorf(`\%c`, next)
			}
			continue
		case class && (c == '[' || c == '&' && next == '&'):
			return "", errors.New("a class inside a class")
		case class && c == ']':
			class = false
		case class:
		case c == '[':
			class = true
			if next == ']' || next == '^' && i+2 < len(pattern) && pattern[i+2] == ']' {
				return "", errors.New("an empty class")
			}
		case c == '^' || c == '$':
			return "", errors.New("an anchor")
		case c == '(' && next == '?' && !strings.HasPrefix(pattern[i:], "(?:") && !strings.HasPrefix(pattern[i:], "(?i:"):
			return "", errors.New("a group of another kind than (?:…) and (?i:…)")
		case (c == '?' || c == '*' || c == '+' || c == '}') && next == '+':
			return "", errors.New("a possessive repeat")
		}
		b.WriteByte(c)
	}
	return b.String(), nil
}

func alphanumeric(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z'
}

// marshalPre is the canonical pre_tokenizer.
func marshalPre(pre preTokenizer) string {
	if len(pre.steps) == 0 {
		return byteLevel(pre.words, "  ")
	}
	var b strings.Builder
	b.WriteString("{\n    \"type\": \"Sequence\",\n    \"pretokenizers\": [\n      ")
	for _, s := range pre.steps {
		b.WriteString(s.json + ",\n      ")
	}
	b.WriteString(byteLevel(pre.words, "      ") + "\n    ]\n  }")
	return b.String()
}
