package grammar

import (
	"fmt"
	"regexp/syntax"
	"slices"
	"unicode"
	"unicode/utf8"
)

// Regex allows the texts that a regular expression matches as a whole. The syntax is that of Go's regexp, without what looks around: word
// boundaries, and ^ and $ other than at the ends, where they say what holds anyway. Errors: *SyntaxError.
func Regex(expr string) (*Grammar, error) {
	if len(expr) > maxSource {
		return nil, &SyntaxError{Kind: RegexKind, What: fmt.Sprintf("it has more than %d bytes", maxSource)}
	}
	re, err := syntax.Parse(expr, syntax.Perl)
	if err != nil {
		return nil, &SyntaxError{Kind: RegexKind, What: err.Error()}
	}
	b := newBuilder(RegexKind, expr)
	root := b.rule("expression")
	body, err := b.regex(withoutEnds(re).Simplify())
	if err != nil {
		return nil, err
	}
	b.alt(root, body)
	return b.grammar()
}

// withoutEnds takes ^ and $ from the ends.
func withoutEnds(re *syntax.Regexp) *syntax.Regexp {
	if re.Op == syntax.OpBeginText || re.Op == syntax.OpEndText {
		return &syntax.Regexp{Op: syntax.OpEmptyMatch}
	}
	if re.Op != syntax.OpConcat {
		return re
	}
	sub := re.Sub
	for len(sub) > 0 && sub[0].Op == syntax.OpBeginText {
		sub = sub[1:]
	}
	for len(sub) > 0 && sub[len(sub)-1].Op == syntax.OpEndText {
		sub = sub[:len(sub)-1]
	}
	if len(sub) == 0 {
		return &syntax.Regexp{Op: syntax.OpEmptyMatch}
	}
	out := *re
	out.Sub = slices.Clone(sub)
	return &out
}

func (b *builder) regex(re *syntax.Regexp) ([]symbol, error) {
	b.at(fmt.Sprintf("the part %.40q", re.String()))
	name := re.String()
	switch re.Op {
	case syntax.OpEmptyMatch:
		return nil, nil
	case syntax.OpLiteral:
		var out []symbol
		for _, r := range re.Rune {
			if re.Flags&syntax.FoldCase == 0 {
				out = append(out, b.literal(string(r))...)
				continue
			}
			ranges := []rune{r, r}
			for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
				ranges = append(ranges, f, f)
			}
			out = append(out, b.class(ranges)...)
		}
		return out, nil
	case syntax.OpCharClass:
		if len(re.Rune) == 0 {
			return nil, &SyntaxError{Kind: RegexKind, What: "it has a class that no character is in"}
		}
		return b.class(re.Rune), nil
	case syntax.OpAnyCharNotNL:
		return b.class([]rune{0, '\n' - 1, '\n' + 1, utf8.MaxRune}), nil
	case syntax.OpAnyChar:
		return b.class([]rune{0, utf8.MaxRune}), nil
	}
	var subs [][]symbol
	for _, s := range re.Sub {
		body, err := b.regex(s)
		if err != nil {
			return nil, err
		}
		subs = append(subs, body)
	}
	switch re.Op {
	case syntax.OpCapture:
		return subs[0], nil
	case syntax.OpConcat:
		return slices.Concat(subs...), nil
	case syntax.OpAlternate:
		return b.either(name, subs...), nil
	case syntax.OpStar:
		return b.repeat(name, subs[0], 0, -1), nil
	case syntax.OpPlus:
		return b.repeat(name, subs[0], 1, -1), nil
	case syntax.OpQuest:
		return b.repeat(name, subs[0], 0, 1), nil
	}
	return nil, &SyntaxError{Kind: RegexKind, What: fmt.Sprintf("%q is not something that a text can be held to: leave out word boundaries, and ^ and $ but at the ends", re.String())}
}
