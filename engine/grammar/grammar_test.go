package grammar

import (
	"encoding/json"
	"errors"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"mito/engine/internal/imports"
)

func TestImports(t *testing.T) { imports.Closure(t) }

// bytewise has a token for each byte and one that ends texts.
func bytewise() *Vocabulary {
	var pieces [][]byte
	for b := range 256 {
		pieces = append(pieces, []byte{byte(b)})
	}
	return NewVocabulary(append(pieces, []byte("<end>")), 256)
}

// spelled has the given tokens.
func spelled(end int32, pieces ...string) *Vocabulary {
	var list [][]byte
	for _, p := range pieces {
		list = append(list, []byte(p))
	}
	return NewVocabulary(list, end)
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// allows reads a text byte by byte.
func allows(m *Masks, text string) bool {
	s := m.Start()
	for i := range len(text) {
		if s = m.Next(s, int32(text[i])); s == nil {
			return false
		}
	}
	return m.Accepts(s)
}

// each calls f with every text over an alphabet of up to n characters.
func each(alphabet string, n int, f func(string)) {
	f("")
	if n == 0 {
		return
	}
	for _, c := range alphabet {
		each(alphabet, n-1, func(s string) {
			if s == "" || len([]rune(s)) <= n-1 {
				f(string(c) + s)
			}
		})
	}
}

// TestRegex compares with Go's regexp on every short text.
func TestRegex(t *testing.T) {
	for _, expr := range []string{
		"", "a", "abc", "a*", "(a|b)*c", "a{2,3}b?", "(ab|a)(bc|c)?", "[^a]", ".", "(?i)ab", "^a+$", "(a*)*", "(a*b*)*c", "(|a)(|b)", "é|a.",
		"[a-cé]{2}", "(?s:.)b", "(a|aé)+", "((a?)*)*b", "^$", "[é-ü]", "(?:a{2}){2}|b{0}",
	} {
		re := regexp.MustCompile(`^(?s:` + strings.ReplaceAll(expr, ".", "(?-s:.)") + `)$`)
		if strings.Contains(expr, "(?s:.)") {
			re = regexp.MustCompile(`^(?:` + expr + `)$`)
		}
		g, err := Regex(expr)
		if err != nil {
			t.Fatalf("%q: %v", expr, err)
		}
		m := must(g.Bind(bytewise()))
		each("abcé\n", 4, func(text string) {
			if got, want := allows(m, text), re.MatchString(text); got != want {
				t.Errorf("%q allows %q: %v, want %v", expr, text, got, want)
			}
		})
	}
	for _, expr := range []string{`a\bb`, `(`, `a^b`, `(?m:^a)`, `[^\x00-\x{10ffff}]`, strings.Repeat("a", maxSource+1), `a{1001}`} {
		var bad *SyntaxError
		if _, err := Regex(expr); !errors.As(err, &bad) {
			t.Errorf("%.20q: %v", expr, err)
		}
	}
}

func TestGBNF(t *testing.T) {
	for name, c := range map[string]struct{ grammar, yes, no string }{
		"literal": {`root ::= "a\n\"\\\x41\u00e9"`, "a\n\"\\Aé", "a b"},
		"nested":  {"root ::= \"(\" root \")\" | # a comment\n \"x\"", "x (x) ((x))", "() (x x) ((x)"},
		"classes": {`root ::= [a-c\]é]+ [^a-cé]`, "a] abcb? éa] bz", "a ] aa bé"},
		"counts":  {`root ::= "a"{2} "b"{1,} ("c" "d"){0,2} e?` + "\ne ::= \"e\"", "aab aabb aabcd aabcdcd aabe", "ab aa aabc aabcdcdcd"},
		"dots":    {`root ::= . . "x"`, "abx ééx xxx", "ax abc abxx"},
		"order":   {"item ::= \"a\" | \"b\"\nlist ::= item (\",\" item)*\nroot ::= \"[\" list \"]\"", "[a] [a,b,a]", "[] [a,] a"},
		"empty":   {"root ::= a \"x\"\na ::= | \"y\"", "x yx", "y yyx"},
		"palindromes": {`root ::= "a" root "a" | "b" root "b" | ""`,
			"aa abba baab bb", "ab aab abab"},
		"right recursion": {"root ::= ws \"x\" ws\nws ::= [ ]? ws2\nws2 ::= \" \" ws | \"\"", "x", "y"},
		"tail of empties": {"root ::= a root | \"x\"\na ::= \"y\"?", "x yx yyx", "y xx"},
	} {
		m := must(must(GBNF(c.grammar)).Bind(bytewise()))
		for _, text := range strings.Split(c.yes, " ") {
			if !allows(m, text) {
				t.Errorf("%s refuses %q", name, text)
			}
		}
		for _, text := range strings.Split(c.no, " ") {
			if allows(m, text) {
				t.Errorf("%s allows %q", name, text)
			}
		}
	}
}

func TestGBNFErrors(t *testing.T) {
	for grammar, says := range map[string]string{
		"":                                 `no rule "root"`,
		"a ::= \"b\"":                      `no rule "root"`,
		"root ::= a":                       `line 1, column 10: rule "a" is used and not defined`,
		"root ::= \"a":                     `column 10: this text is not closed`,
		"root ::=\n [a":                    `line 2, column 2: this class is not closed`,
		"root ::= (\"a\"":                  `column 10: this group is not closed`,
		"root ::= \"a\")":                  `")" has no place here`,
		"root ::= \"a\" )":                 `")" has no place here`,
		"root ::= \"a\"\nroot ::= \"b\"":   `line 2, column 1: rule "root" is defined already`,
		"root ::= a | \"x\"\na ::= root a": `begins with itself`,
		"root ::= root \"x\" | \"y\"":      `begins with itself`,
		"root ::= a\na ::= b? a \"x\"\nb ::= \"\"":                  `it never ends`,
		"root ::= a | \"y\"\na ::= b? a \"x\" | \"z\"\nb ::= \"b\"": `rule "a" begins with itself`,
		"root ::= \"a\" root":                                       `it never ends`,
		"root ::= \"a\"{3,2}":                                       `the larger one last`,
		"root ::= \"a\"{x}":                                         `a repetition is`,
		"root ::= \"a\"{2":                                          `a repetition is`,
		"root ::= [z-a]":                                            `the wrong way round`,
		"root ::= []":                                               `no character is in this class`,
		`root ::= "\q"`:                                             `\q is no escape`,
		`root ::= "\u00z0"`:                                         `wants 4 hexadecimal digits`,
		`root ::= "\ud800"`:                                         `is no character`,
		"root ::= !":                                                `'!' means nothing here`,
		"root = \"a\"":                                              `a rule should begin here`,
		"root ::= \xff":                                             `not UTF-8`,
		"root ::= " + strings.Repeat("(", 300):                      `groups are in each other`,
		"root ::= " + strings.Repeat("\"a\"{1000} ", 1100):          `too large`,
	} {
		_, err := GBNF(grammar)
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%.60q: %v, want %q", grammar, err, says)
		}
	}
}

func TestChoicesErrors(t *testing.T) {
	for _, texts := range [][]string{nil, {"a", ""}, {"\xff"}} {
		if _, err := Choices(texts); err == nil {
			t.Errorf("%q: no error", texts)
		}
	}
}

// TestParse wants the same grammar from what a grammar says that it was made of.
func TestParse(t *testing.T) {
	for _, g := range []*Grammar{must(Choices([]string{"ab", "ac"})), must(Regex("a[bc]")), must(GBNF(`root ::= "a" [bc]`))} {
		m := must(must(Parse(g.Kind(), g.Source())).Bind(bytewise()))
		if !allows(m, "ab") || !allows(m, "ac") || allows(m, "a") {
			t.Errorf("%s: another grammar", g.Kind())
		}
	}
	for _, kind := range []string{"", RegexKind} {
		if _, err := Parse(kind, nil); err == nil {
			t.Errorf("%q without a source: no error", kind)
		}
	}
}

// TestUTF8 wants the sequences of bytes of ranges of characters, and no others, by Go's own coding.
func TestUTF8(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	ranges := [][2]rune{{0, utf8.MaxRune}, {0x80, 0x7ff}, {0xd700, 0xe001}, {0xffff, 0x10000}, {0xe9, 0xe9}}
	for range 200 {
		lo := r.Int32N(utf8.MaxRune)
		ranges = append(ranges, [2]rune{lo, lo + r.Int32N(utf8.MaxRune-lo)})
	}
	for _, x := range ranges {
		list := appendUTF8(nil, x[0], x[1])
		in := func(text []byte) bool {
			return slices.ContainsFunc(list, func(u utf8Range) bool {
				if u.n != len(text) {
					return false
				}
				for i, b := range text {
					if b < u.lo[i] || b > u.hi[i] {
						return false
					}
				}
				return true
			})
		}
		try := func(c rune) {
			want := c >= x[0] && c <= x[1] && utf8.ValidRune(c)
			text := utf8.AppendRune(nil, c)
			if !utf8.ValidRune(c) { // as it would be coded
				text = []byte{0xe0 | byte(c>>12), 0x80 | byte(c>>6&0x3f), 0x80 | byte(c&0x3f)}
			}
			if in(text) != want {
				t.Fatalf("%x to %x: %x is in: %v", x[0], x[1], c, !want)
			}
		}
		for _, c := range []rune{x[0] - 1, x[0], x[0] + 1, x[1] - 1, x[1], x[1] + 1, 0x7f, 0x80, 0x7ff, 0x800, 0xd7ff, 0xd800, 0xdfff, 0xe000, 0xffff, 0x10000, utf8.MaxRune} {
			if c >= 0 && c <= utf8.MaxRune {
				try(c)
			}
		}
		for range 200 {
			try(r.Int32N(utf8.MaxRune + 1))
		}
	}
}

// TestTokens compares every mask with all texts of finite grammars: tokens of several characters, over the ends of words, and
// parts of a character.
func TestTokens(t *testing.T) {
	v := spelled(0, "<end>", "a", "b", "ab", "ba", "aba", "é", "\xc3", "\xa9", "b\xc3", "c", "bc", "", "abab", "a")
	lists := map[string][]string{
		`root ::= ("ab" | "a") ("a" | "b")? "é"?`: nil,
		`root ::= [ab]{1,4}`:                      nil,
		`root ::= "é" | "b" "é" | "bc" | "a"`:     nil,
	}
	for grammar := range lists {
		whole := must(must(GBNF(grammar)).Bind(bytewise()))
		each("abcé", 5, func(text string) {
			if allows(whole, text) {
				lists[grammar] = append(lists[grammar], text)
			}
		})
		slices.Sort(lists[grammar])
		lists[grammar] = slices.Compact(lists[grammar])
		m := must(must(GBNF(grammar)).Bind(v))
		choices := must(must(Choices(lists[grammar])).Bind(v))
		var walk func(text string, s, c *State)
		seen := 0
		walk = func(text string, s, c *State) {
			seen++
			mask := slices.Clone(must(m.Within(s, -1)))
			if !slices.Equal(mask, must(choices.Within(c, -1))) {
				t.Errorf("%s after %q: the mask is not that of its texts", grammar, text)
			}
			for id, piece := range v.pieces {
				want := id != 0 && len(piece) > 0 && slices.ContainsFunc(lists[grammar], func(s string) bool { return strings.HasPrefix(s, text+string(piece)) }) ||
					id == 0 && slices.Contains(lists[grammar], text)
				if mask[id] != want {
					t.Errorf("%s after %q: token %q is allowed: %v", grammar, text, piece, mask[id])
				}
				next := m.Next(s, int32(id))
				if (next != nil) != mask[id] {
					t.Errorf("%s after %q: token %q leads nowhere: %v", grammar, text, piece, next == nil)
				}
				if mask[id] && id != 0 {
					walk(text+string(piece), next, choices.Next(c, int32(id)))
				}
			}
			longer := slices.ContainsFunc(lists[grammar], func(s string) bool { return strings.HasPrefix(s, text) && s != text })
			if ended := slices.Contains(lists[grammar], text) && !longer; m.Ended(s, -1) != ended {
				t.Errorf("%s after %q: ended is %v", grammar, text, !ended)
			}
		}
		walk("", m.Start(), choices.Start())
		if seen < 5 {
			t.Errorf("%s: %d states", grammar, seen)
		}
	}
}

// write draws tokens at random as masks allow and returns the text.
func write(t testing.TB, m *Masks, r *rand.Rand, most int) string {
	var text []byte
	s := m.Start()
	for left := most; left > 0 && !m.Ended(s, left); left-- {
		mask, err := m.Within(s, left)
		if err != nil {
			t.Fatalf("after %q: %v", text, err)
		}
		var ids []int32
		for id, ok := range mask {
			if ok {
				ids = append(ids, int32(id))
			}
		}
		id := ids[r.IntN(len(ids))]
		if id == m.v.end {
			break
		}
		text = append(text, m.v.pieces[id]...)
		s = m.Next(s, id)
	}
	if !m.Accepts(s) {
		t.Fatalf("%q is not whole", text)
	}
	return string(text)
}

// jsonVocabulary has characters, words and what stands between words.
func jsonVocabulary() *Vocabulary {
	list := []string{`{"`, `":`, `": "`, `", "`, `"}`, `}}`, "[]", "null", "true", "fal", "se", "12", "e+", "\\u00", "\u00e9", "\xc3", "\xa9", "\n\n", "  ", "ab", "],"}
	for b := byte(' '); b < 127; b++ {
		list = append(list, string(b))
	}
	return spelled(-1, list...)
}

// TestJSON wants every text that is drawn under a grammar of JSON to be JSON, whatever its length may be.
func TestJSON(t *testing.T) {
	m := must(must(GBNF(JSON)).Bind(jsonVocabulary()))
	r := rand.New(rand.NewPCG(2, 2))
	n := 20000
	if testing.Short() {
		n = 2000
	}
	longest := 0
	for range n {
		text := write(t, m, r, 2+r.IntN(60))
		if longest = max(longest, len(text)); !json.Valid([]byte(text)) {
			t.Fatalf("no JSON: %q", text)
		}
	}
	if longest < 40 {
		t.Errorf("the longest text has %d bytes: the case proves little", longest)
	}
}

// TestLengths wants the fewest tokens to be counted in tokens, not bytes.
func TestLengths(t *testing.T) {
	v := spelled(-1, "ye", "s", "y", "e", "no", "n", "o", "yes")
	m := must(must(Choices([]string{"yes", "no"})).Bind(v))
	if err := m.Check(1); err != nil {
		t.Error(err)
	}
	r := rand.New(rand.NewPCG(3, 3))
	for range 100 {
		if text := write(t, m, r, 1+r.IntN(3)); text != "yes" && text != "no" {
			t.Errorf("%q", text)
		}
	}
	long := must(must(Regex("(abc){100}")).Bind(spelled(-1, "a", "b", "c", "abc")))
	var short *LengthError
	if err := long.Check(99); !errors.As(err, &short) || short.Bytes != 300 {
		t.Errorf("99 tokens for 300 bytes in tokens of 3: %v", err)
	}
	if err := long.Check(300); err != nil {
		t.Error(err)
	}
}

// TestDeadEnds wants to be told where a grammar and a vocabulary have no text in common.
func TestDeadEnds(t *testing.T) {
	letters := spelled(-1, "a", "b", "é")
	_, err := must(GBNF("root ::= \"a\" rest\nrest ::= \"b\" |\n \"a\"  [0-9]")).Bind(letters)
	if err != nil {
		t.Errorf("ab can be written: %v", err)
	}
	for _, c := range []struct {
		g    *Grammar
		says string
	}{
		{must(GBNF("root ::= \"a\" rest\nrest ::= \"b\"\n  [0-9]")), `rule "rest", line 3, column 3 wants '0' to '9'`},
		{must(Choices([]string{"ab?", "x"})), `the text "ab?" wants '?'`},
		{must(Regex("a+!")), `wants '!'`},
	} {
		var bad *VocabularyError
		if _, err := c.g.Bind(letters); !errors.As(err, &bad) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%v, want %q", err, c.says)
		}
	}
	// The bytes are there, but not as this character.
	m := must(must(Regex("a[èé]è")).Bind(spelled(-1, "a", "é", "\xa8b")))
	s := m.Next(m.Start(), 0)
	s = m.Next(s, 1)
	var bad *DeadEndError
	if _, err := m.Within(s, -1); !errors.As(err, &bad) || !strings.Contains(bad.Wants, "0xc3") {
		t.Errorf("%v", err)
	}
}

// TestForgetting wants the same masks after those that were made have been given up, and bounds on what is kept.
func TestForgetting(t *testing.T) {
	g := must(GBNF(`root ::= "(" root ")" root | ""`))
	m, fresh := must(g.Bind(bytewise())), must(g.Bind(bytewise()))
	s := m.Start()
	for range 40 {
		s = m.Next(s, '(')
	}
	m.forget()
	for i := range 40 {
		mask := slices.Clone(must(m.Within(s, -1)))
		again := fresh.Start()
		for range 40 - i {
			again = fresh.Next(again, '(')
		}
		if !slices.Equal(mask, must(fresh.Within(again, -1))) {
			t.Fatalf("%d open: another mask", 40-i)
		}
		s = m.Next(s, ')')
	}
	if !m.Accepts(s) {
		t.Error("closed, and not whole")
	}
	s = m.Start()
	for range 3 * maxStates {
		s = m.Next(s, '(')
	}
	if m.Start(); len(m.states) > maxStates {
		t.Errorf("%d states are kept", len(m.states))
	}
}

// TestAmbiguous wants a grammar that needs more and more stacks to end in an error and not in all of the memory.
func TestAmbiguous(t *testing.T) {
	m := must(must(GBNF(`root ::= "a" root "b" | "a" root "c" | "x"`)).Bind(spelled(-1, "a", "b", "c", "x")))
	s := m.Start()
	for i := 0; ; i++ {
		_, err := m.Within(s, -1)
		var bad *DeadEndError
		if errors.As(err, &bad) && strings.Contains(err.Error(), "ambiguous") && i > 8 {
			return
		}
		if s = m.Next(s, 0); err != nil || s == nil || i > 20 {
			t.Fatalf("after %d: %v", i, err)
		}
	}
}

// FuzzGBNF: whatever is read, texts that are drawn under it are whole, or there is an error.
func FuzzGBNF(f *testing.F) {
	for _, s := range []string{JSON, `root ::= "a" | root2` + "\nroot2 ::= [a-z]* \"é\"{2,3}", `root ::= (("a")?)+`} {
		f.Add(s)
	}
	v := bytewise()
	f.Fuzz(func(t *testing.T, source string) {
		if len(source) > 300 {
			return
		}
		g, err := GBNF(source)
		if err != nil {
			return
		}
		m, err := g.Bind(v)
		if err != nil {
			t.Fatalf("every byte is there: %v", err)
		}
		r := rand.New(rand.NewPCG(1, uint64(len(source))))
		if m.Check(20) == nil {
			s := m.Start()
			for left := 20; left > 0 && !m.Ended(s, left); left-- {
				mask, err := m.Within(s, left)
				var bad *DeadEndError
				if errors.As(err, &bad) && s.tooMany {
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				var ids []int32
				for id, ok := range mask {
					if ok && int32(id) != v.end {
						ids = append(ids, int32(id))
					}
				}
				if len(ids) == 0 {
					break
				}
				if s = m.Next(s, ids[r.IntN(len(ids))]); s.tooMany {
					return
				}
			}
			if !m.Accepts(s) {
				t.Fatal("not whole")
			}
		}
	})
}

func BenchmarkJSON(b *testing.B) {
	m := must(must(GBNF(JSON)).Bind(jsonVocabulary()))
	r := rand.New(rand.NewPCG(2, 2))
	bytes := 0
	for b.Loop() {
		text := write(b, m, r, 60)
		if bytes += len(text); !json.Valid([]byte(text)) {
			b.Fatalf("no JSON: %q", text)
		}
	}
	b.ReportMetric(float64(bytes)/float64(b.N), "bytes/text")
}
