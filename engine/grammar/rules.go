package grammar

import (
	"fmt"
	"math"
	"unicode/utf8"
)

// Kinds of a grammar.
const (
	ChoicesKind = "choices"
	RegexKind   = "regular expression"
	GBNFKind    = "grammar"
)

// Bounds of what a grammar may be: sizes beyond them come from a mistake.
const (
	maxSymbols = 1 << 20
	maxRepeat  = 1000 // of a counted repetition, as in Go's regexp
	maxDepth   = 200  // of groups in groups
	maxSource  = 1 << 20
)

// Grammar is a context-free grammar over bytes. It does not change.
type Grammar struct {
	kind   string
	source []string
	rules  []rule
	code   []symbol // the alternatives of all rules, each behind the other with an end behind it
	sets   []set
	places []string // where terminals stand in the source
}

// rule is a name with alternatives; rule 0 is the root.
type rule struct {
	name string
	alts []int32 // places in code
}

// symbol is the end of an alternative, a call of a rule, or a byte of a set.
type symbol struct {
	kind  symbolKind
	index int32 // of the rule or the set
	place int32 // of a terminal
}

type symbolKind uint8

const (
	end symbolKind = iota
	call
	terminal
)

// set is a set of bytes.
type set [4]uint64

func (s *set) add(b byte)      { s[b/64] |= 1 << (b % 64) }
func (s *set) has(b byte) bool { return s[b/64]>>(b%64)&1 != 0 }
func (s *set) empty() bool     { return *s == set{} }

func (s *set) addRange(lo, hi byte) {
	for b := int(lo); b <= int(hi); b++ {
		s.add(byte(b))
	}
}

func (s *set) and(t *set) (out set) {
	for i := range s {
		out[i] = s[i] & t[i]
	}
	return out
}

// String lists the bytes as characters where they are.
func (s *set) String() string {
	text, n := "", 0
	for b := 0; b < 256; b++ {
		if !s.has(byte(b)) {
			continue
		}
		hi := b
		for hi < 255 && s.has(byte(hi+1)) {
			hi++
		}
		if n > 0 {
			text += ", "
		}
		if n++; n > 8 {
			return text + "…"
		}
		switch {
		case hi == b:
			text += spell(byte(b))
		default:
			text += spell(byte(b)) + " to " + spell(byte(hi))
		}
		b = hi
	}
	return text
}

func spell(b byte) string {
	if b < utf8.RuneSelf {
		return fmt.Sprintf("%q", rune(b))
	}
	return fmt.Sprintf("byte 0x%02x", b)
}

// Kind and Source say what a grammar was made of; Parse makes it again.
func (g *Grammar) Kind() string     { return g.kind }
func (g *Grammar) Source() []string { return g.source }

// Parse makes a grammar of a kind from its source: one text, or for choices the texts. Errors: those of Choices, Regex and GBNF.
func Parse(kind string, source []string) (*Grammar, error) {
	switch {
	case kind == ChoicesKind:
		return Choices(source)
	case len(source) != 1:
	case kind == RegexKind:
		return Regex(source[0])
	case kind == GBNFKind:
		return GBNF(source[0])
	}
	return nil, fmt.Errorf("no kind of grammar is called %q with %d sources", kind, len(source))
}

// builder collects rules.
type builder struct {
	g       *Grammar
	bodies  [][][]symbol // of each rule, its alternatives
	sets    map[set]int32
	classes map[string]int32 // rules of classes of characters
	place   int32            // of what is being read
	size    int
	err     error
}

func newBuilder(kind string, source ...string) *builder {
	return &builder{g: &Grammar{kind: kind, source: source, places: []string{"its beginning"}}, sets: map[set]int32{}, classes: map[string]int32{}}
}

// at says where in the source what follows stands.
func (b *builder) at(place string) {
	if b.g.places[b.place] == place {
		return
	}
	b.g.places = append(b.g.places, place)
	b.place = int32(len(b.g.places) - 1)
}

// rule adds a rule without alternatives.
func (b *builder) rule(name string) int32 {
	b.g.rules = append(b.g.rules, rule{name: name})
	b.bodies = append(b.bodies, nil)
	return int32(len(b.bodies) - 1)
}

// alt adds an alternative to a rule.
func (b *builder) alt(r int32, body []symbol) {
	b.bodies[r] = append(b.bodies[r], body)
	if b.size += len(body) + 1; b.size > maxSymbols && b.err == nil {
		b.err = fmt.Errorf("the %s is too large: it has more than %d symbols when its repetitions are written out", b.g.kind, maxSymbols)
	}
}

func (b *builder) set(s set) symbol {
	i, ok := b.sets[s]
	if !ok {
		i = int32(len(b.g.sets))
		b.sets[s] = i
		b.g.sets = append(b.g.sets, s)
	}
	return symbol{terminal, i, b.place}
}

// literal is a text, byte by byte.
func (b *builder) literal(text string) (out []symbol) {
	for i := range len(text) {
		var s set
		s.add(text[i])
		out = append(out, b.set(s))
	}
	return out
}

// class is one character of ranges lo, hi, lo, hi, …, in UTF-8.
func (b *builder) class(ranges []rune) []symbol {
	var ascii set
	var wide []utf8Range
	for i := 0; i+1 < len(ranges); i += 2 {
		lo, hi := ranges[i], ranges[i+1]
		if lo < utf8.RuneSelf && lo <= hi {
			ascii.addRange(byte(lo), byte(min(hi, utf8.RuneSelf-1)))
		}
		wide = appendUTF8(wide, max(lo, utf8.RuneSelf), hi)
	}
	if len(wide) == 0 {
		return []symbol{b.set(ascii)}
	}
	key := fmt.Sprint(ranges)
	r, ok := b.classes[key]
	if !ok {
		r = b.rule("a character")
		b.classes[key] = r
		if !ascii.empty() {
			b.alt(r, []symbol{b.set(ascii)})
		}
		for _, u := range wide {
			var seq []symbol
			for i := range u.n {
				var s set
				s.addRange(u.lo[i], u.hi[i])
				seq = append(seq, b.set(s))
			}
			b.alt(r, seq)
		}
	}
	return []symbol{{kind: call, index: r}}
}

// either is one of several alternatives.
func (b *builder) either(name string, alts ...[]symbol) []symbol {
	if len(alts) == 1 {
		return alts[0]
	}
	r := b.rule(name)
	for _, a := range alts {
		b.alt(r, a)
	}
	return []symbol{{kind: call, index: r}}
}

// repeat is body lo to hi times; hi below 0 is any number.
func (b *builder) repeat(name string, body []symbol, lo, hi int) (out []symbol) {
	if len(body) == 0 {
		return nil
	}
	if len(body) > 1 { // once, not for every repetition
		r := b.rule(name)
		b.alt(r, body)
		body = []symbol{{kind: call, index: r}}
	}
	for range lo {
		out = append(out, body...)
	}
	if hi < 0 {
		r := b.rule(name)
		b.alt(r, append(body[:1:1], symbol{kind: call, index: r}))
		b.alt(r, nil)
		return append(out, symbol{kind: call, index: r})
	}
	rest := int32(-1)
	for range hi - lo {
		r := b.rule(name)
		once := body[:1:1]
		if rest >= 0 {
			once = append(once, symbol{kind: call, index: rest})
		}
		b.alt(r, once)
		b.alt(r, nil)
		rest = r
	}
	if rest >= 0 {
		out = append(out, symbol{kind: call, index: rest})
	}
	return out
}

// grammar lays the rules out. The root must be rule 0.
func (b *builder) grammar() (*Grammar, error) {
	if b.err != nil {
		return nil, b.err
	}
	g := b.g
	for r, alts := range b.bodies {
		for _, a := range alts {
			g.rules[r].alts = append(g.rules[r].alts, int32(len(g.code)))
			g.code = append(append(g.code, a...), symbol{kind: end})
		}
	}
	l := lengths{g: g, usable: func(*set) bool { return true }}
	if l.compute(); l.rules[0] == infinite {
		return nil, &SyntaxError{Kind: g.kind, What: l.reason("it has no text, for it never ends")}
	}
	return g, g.checkRecursion()
}

const infinite = math.MaxInt32

// lengths are the fewest bytes that rules and the rests of alternatives give.
type lengths struct {
	g      *Grammar
	usable func(*set) bool
	rules  []int32
	code   []int32 // from a place to the end of its alternative
}

func plus(a, b int32) int32 {
	if a == infinite || b == infinite {
		return infinite
	}
	return int32(min(int64(a)+int64(b), infinite-1))
}

func (l *lengths) compute() {
	l.rules, l.code = make([]int32, len(l.g.rules)), make([]int32, len(l.g.code))
	for i := range l.rules {
		l.rules[i] = infinite
	}
	for changed := true; changed; {
		changed = false
		for i := len(l.code) - 1; i >= 0; i-- {
			switch s := l.g.code[i]; s.kind {
			case end:
				l.code[i] = 0
			case call:
				l.code[i] = plus(l.rules[s.index], l.code[i+1])
			case terminal:
				if l.code[i] = infinite; l.usable(&l.g.sets[s.index]) {
					l.code[i] = plus(1, l.code[i+1])
				}
			}
		}
		for r := range l.rules {
			for _, a := range l.g.rules[r].alts {
				if l.code[a] < l.rules[r] {
					l.rules[r], changed = l.code[a], true
				}
			}
		}
	}
}

// reason names the rule that keeps the root from ending.
func (l *lengths) reason(what string) string {
	r := int32(0)
	for seen := map[int32]bool{}; !seen[r]; {
		seen[r] = true
		if len(l.g.rules[r].alts) == 0 {
			break
		}
		for i := l.g.rules[r].alts[0]; l.g.code[i].kind != end; i++ {
			if s := l.g.code[i]; s.kind == call && l.rules[s.index] == infinite {
				r = s.index
				break
			}
		}
	}
	return fmt.Sprintf("%s: rule %q needs itself, or a rule that does", what, l.g.rules[r].name)
}

// checkRecursion refuses rules that begin with themselves: reading them would never come to a byte. Calls at the end of an alternative
// may: they leave no more to come.
func (g *Grammar) checkRecursion() error {
	l := lengths{g: g, usable: func(*set) bool { return true }}
	l.compute()
	type edge struct {
		to   int32
		tail bool
	}
	edges := make([][]edge, len(g.rules))
	for r := range g.rules {
		for _, a := range g.rules[r].alts {
			for i := a; g.code[i].kind == call; i++ {
				to := g.code[i].index
				edges[r] = append(edges[r], edge{to, g.code[i+1].kind == end})
				if l.rules[to] > 0 {
					break
				}
			}
		}
	}
	// Strongly connected components (Tarjan, 1972), without recursion: chains of rules may be long.
	n := len(edges)
	order, low, component := make([]int32, n), make([]int32, n), make([]int32, n)
	for i := range component {
		component[i] = -1
	}
	type visit struct {
		r    int32
		next int
	}
	count, components := int32(0), int32(0)
	var stack []int32
	for root := range n {
		if order[root] != 0 {
			continue
		}
		path := []visit{{r: int32(root)}}
		for len(path) > 0 {
			v := &path[len(path)-1]
			r := v.r
			if v.next == 0 && order[r] == 0 {
				count++
				order[r], low[r] = count, count
				stack = append(stack, r)
			}
			if v.next < len(edges[r]) {
				to := edges[r][v.next].to
				v.next++
				if order[to] == 0 {
					path = append(path, visit{r: to})
				} else if component[to] < 0 {
					low[r] = min(low[r], order[to])
				}
				continue
			}
			path = path[:len(path)-1]
			if len(path) > 0 {
				up := path[len(path)-1].r
				low[up] = min(low[up], low[r])
			}
			if low[r] == order[r] {
				for {
					last := stack[len(stack)-1]
					stack = stack[:len(stack)-1]
					component[last] = components
					if last == r {
						break
					}
				}
				components++
			}
		}
	}
	for r := range edges {
		for _, e := range edges[r] {
			if !e.tail && component[e.to] == component[r] {
				return &SyntaxError{Kind: g.kind, What: fmt.Sprintf("rule %q begins with itself (by way of %q): write the repetition behind what comes first", g.rules[r].name, g.rules[e.to].name)}
			}
		}
	}
	return nil
}
