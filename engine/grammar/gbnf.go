package grammar

import (
	_ "embed"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// JSON is a grammar of one JSON object, after llama.cpp's json.gbnf.
//
//go:embed json.gbnf
var JSON string

// GBNF reads a grammar in the notation of llama.cpp: rules NAME ::= ALTERNATIVES, of which "root" is where texts begin; "texts" with the
// escapes \n \r \t \\ \" \[ \] \xHH \uHHHH \UHHHHHHHH, [classes] and [^classes] of characters, . for any character, (groups), | between
// alternatives, the repetitions * + ? {m} {m,} {m,n}, and # comments. A rule goes on until the next one begins. Rules may not begin with
// themselves. Errors: *SyntaxError.
func GBNF(source string) (*Grammar, error) {
	p := &parser{b: newBuilder(GBNFKind, source), rest: source, text: source, rules: map[string]int32{}}
	if len(source) > maxSource {
		return nil, &SyntaxError{Kind: GBNFKind, What: fmt.Sprintf("it has more than %d bytes", maxSource)}
	}
	if !utf8.ValidString(source) {
		return nil, &SyntaxError{Kind: GBNFKind, What: "it is not UTF-8"}
	}
	p.name("root")
	for p.space(); p.rest != "" && p.err == nil; p.space() {
		p.definition()
	}
	if p.err != nil {
		return nil, p.err
	}
	for _, name := range p.order {
		if r := p.rules[name.text]; len(p.b.bodies[r]) == 0 {
			if name.text == "root" {
				return nil, &SyntaxError{Kind: GBNFKind, What: `it has no rule "root", where texts begin: root ::= …`}
			}
			p.rest = p.text[name.at:]
			p.fail("rule %q is used and not defined", name.text)
			return nil, p.err
		}
	}
	return p.b.grammar()
}

type parser struct {
	b     *builder
	text  string
	rest  string
	rules map[string]int32
	order []named // names in the order of their first use
	depth int
	err   error
}

type named struct {
	text string
	at   int
}

// position is the line and the column of rest.
func (p *parser) position() (line, col int) {
	before := p.text[:len(p.text)-len(p.rest)]
	return 1 + strings.Count(before, "\n"), 1 + utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:])
}

func (p *parser) fail(format string, args ...any) {
	if p.err == nil {
		line, col := p.position()
		p.err = &SyntaxError{Kind: GBNFKind, Line: line, Col: col, What: fmt.Sprintf(format, args...)}
	}
	p.rest = ""
}

func (p *parser) space() {
	for {
		p.rest = strings.TrimLeft(p.rest, " \t\r\n")
		if !strings.HasPrefix(p.rest, "#") {
			return
		}
		if i := strings.IndexByte(p.rest, '\n'); i >= 0 {
			p.rest = p.rest[i:]
		} else {
			p.rest = ""
		}
	}
}

// name is the rule of a name.
func (p *parser) name(name string) int32 {
	r, ok := p.rules[name]
	if !ok {
		r = p.b.rule(name)
		p.rules[name] = r
		p.order = append(p.order, named{name, len(p.text) - len(p.rest)})
	}
	return r
}

// word is the length of the name that the rest begins with.
func (p *parser) word() int {
	n := strings.IndexFunc(p.rest, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_')
	})
	if n < 0 {
		return len(p.rest)
	}
	return n
}

// defines says that the rest begins with a name that is defined there.
func (p *parser) defines() bool {
	q := *p
	q.rest = q.rest[q.word():]
	q.space()
	return len(q.rest) < len(p.rest) && strings.HasPrefix(q.rest, "::=")
}

func (p *parser) definition() {
	if !p.defines() {
		p.fail(`a rule should begin here: NAME ::= …`)
		return
	}
	n := p.word()
	name := p.rest[:n]
	r := p.name(name)
	if len(p.b.bodies[r]) > 0 {
		p.fail("rule %q is defined already", name)
		return
	}
	p.rest = p.rest[n:]
	p.space()
	p.rest = p.rest[len("::="):]
	for _, a := range p.alternatives(name) {
		p.b.alt(r, a)
	}
	if p.err == nil && p.rest != "" && !p.defines() {
		p.fail("%.1q has no place here", p.rest)
	}
}

func (p *parser) alternatives(name string) (alts [][]symbol) {
	if p.depth++; p.depth > maxDepth {
		p.fail("more than %d groups are in each other", maxDepth)
	}
	for {
		alts = append(alts, p.sequence(name))
		if !strings.HasPrefix(p.rest, "|") || p.err != nil {
			p.depth--
			return alts
		}
		p.rest = p.rest[1:]
	}
}

func (p *parser) sequence(name string) (out []symbol) {
	for {
		p.space()
		if p.rest == "" || p.rest[0] == '|' || p.rest[0] == ')' || p.defines() {
			return out
		}
		line, col := p.position()
		p.b.at(fmt.Sprintf("rule %q, line %d, column %d", name, line, col))
		item := p.item(name)
		if p.err != nil {
			return nil
		}
		out = append(out, p.repetition(name, item)...)
	}
}

// item is what a repetition may follow.
func (p *parser) item(name string) []symbol {
	switch c := p.rest[0]; {
	case c == '"':
		return p.b.literal(p.quoted())
	case c == '[':
		return p.class()
	case c == '.':
		p.rest = p.rest[1:]
		return p.b.class([]rune{0, utf8.MaxRune})
	case c == '(':
		open := p.rest
		p.rest = p.rest[1:]
		alts := p.alternatives(name)
		if !strings.HasPrefix(p.rest, ")") {
			if p.err == nil {
				p.rest = open
			}
			p.fail("this group is not closed: ) is missing")
			return nil
		}
		p.rest = p.rest[1:]
		return p.b.either(name, alts...)
	case p.word() > 0:
		n := p.word()
		r := p.name(p.rest[:n])
		p.rest = p.rest[n:]
		return []symbol{{kind: call, index: r}}
	}
	r, _ := utf8.DecodeRuneInString(p.rest)
	p.fail("%q means nothing here: want a name, a \"text\", a [class], a (group) or .", r)
	return nil
}

func (p *parser) repetition(name string, item []symbol) []symbol {
	lo, hi := 1, 1
	switch {
	case strings.HasPrefix(p.rest, "*"):
		lo, hi = 0, -1
	case strings.HasPrefix(p.rest, "+"):
		lo, hi = 1, -1
	case strings.HasPrefix(p.rest, "?"):
		lo, hi = 0, 1
	case strings.HasPrefix(p.rest, "{"):
		body, _, closed := strings.Cut(p.rest[1:], "}")
		from, to, two := strings.Cut(body, ",")
		number := func(s string) int {
			n := 0
			if s = strings.TrimSpace(s); s == "" {
				return -1
			}
			for _, c := range s {
				if c < '0' || c > '9' || n > maxRepeat {
					return -2
				}
				n = 10*n + int(c-'0')
			}
			return n
		}
		if lo, hi = number(from), number(to); !two {
			hi = lo
		} else if lo == -1 {
			lo = 0
		}
		if !closed || lo < 0 || hi < -1 || hi >= 0 && hi < lo || max(lo, hi) > maxRepeat {
			p.fail("a repetition is {m}, {m,} or {m,n} with numbers up to %d, the larger one last", maxRepeat)
			return nil
		}
		p.rest = p.rest[len(body)+2:]
		return p.b.repeat(name, item, lo, hi)
	default:
		return item
	}
	p.rest = p.rest[1:]
	return p.b.repeat(name, item, lo, hi)
}

// quoted reads a "text".
func (p *parser) quoted() string {
	open := p.rest
	p.rest = p.rest[1:]
	var out []byte
	for p.rest != "" && p.rest[0] != '"' && p.rest[0] != '\n' {
		r, raw := p.char()
		if raw { // \xHH is a byte
			out = append(out, byte(r))
		} else {
			out = utf8.AppendRune(out, r)
		}
	}
	if !strings.HasPrefix(p.rest, `"`) {
		if p.err == nil {
			p.rest = open
		}
		p.fail(`this text is not closed: " is missing on its line`)
		return ""
	}
	p.rest = p.rest[1:]
	return string(out)
}

// char reads a character or an escape. raw says that it is a byte beyond ASCII, which \x gives.
func (p *parser) char() (r rune, raw bool) {
	if p.rest[0] != '\\' {
		r, n := utf8.DecodeRuneInString(p.rest)
		p.rest = p.rest[n:]
		return r, false
	}
	if len(p.rest) < 2 {
		p.fail(`\ ends the grammar`)
		return 0, false
	}
	c := p.rest[1]
	digits := map[byte]int{'x': 2, 'u': 4, 'U': 8}[c]
	if digits == 0 {
		i := strings.IndexByte(`nrt\"[]-^`, c)
		if i < 0 {
			p.fail(`\%c is no escape: want one of \n \r \t \\ \" \[ \] \xHH \uHHHH \UHHHHHHHH`, c)
			return 0, false
		}
		p.rest = p.rest[2:]
		return rune("\n\r\t\\\"[]-^"[i]), false
	}
	n := uint32(0)
	for i := range digits {
		d := -1
		if 2+i < len(p.rest) {
			d = strings.IndexByte("0123456789abcdef", p.rest[2+i]|0x20)
		}
		if d < 0 || 2+i < len(p.rest) && p.rest[2+i] < '0' {
			p.fail(`\%c wants %d hexadecimal digits`, c, digits)
			return 0, false
		}
		n = n<<4 | uint32(d)
	}
	if n > utf8.MaxRune || n >= surrogateLo && n <= surrogateHi {
		p.fail(`\%c%0*x is no character`, c, digits, n)
		return 0, false
	}
	p.rest = p.rest[2+digits:]
	return rune(n), c == 'x' && n >= utf8.RuneSelf
}

// class reads [characters and ranges].
func (p *parser) class() []symbol {
	open := p.rest
	p.rest = p.rest[1:]
	negated := strings.HasPrefix(p.rest, "^")
	if negated {
		p.rest = p.rest[1:]
	}
	var ranges [][2]rune
	for p.rest != "" && p.rest[0] != ']' {
		lo, _ := p.char()
		hi := lo
		if len(p.rest) > 1 && p.rest[0] == '-' && p.rest[1] != ']' {
			p.rest = p.rest[1:]
			if hi, _ = p.char(); hi < lo && p.err == nil {
				p.fail("the range %q to %q is the wrong way round", lo, hi)
			}
		}
		ranges = append(ranges, [2]rune{lo, hi})
	}
	if p.rest == "" {
		if p.err == nil {
			p.rest = open
		}
		p.fail("this class is not closed: ] is missing")
		return nil
	}
	p.rest = p.rest[1:]
	slices.SortFunc(ranges, func(a, b [2]rune) int { return int(a[0] - b[0]) })
	var out []rune
	next := rune(0)
	for _, r := range ranges {
		switch {
		case negated && r[0] > next:
			out = append(out, next, r[0]-1)
		case !negated && r[1] >= next:
			out = append(out, max(next, r[0]), r[1])
		}
		next = max(next, r[1]+1)
	}
	if negated && next <= utf8.MaxRune {
		out = append(out, next, utf8.MaxRune)
	}
	if len(out) == 0 {
		p.rest = open
		p.fail("no character is in this class")
		return nil
	}
	return p.b.class(out)
}
