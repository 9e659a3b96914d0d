package data

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Filter leaves out of a training text what comes again and again and teaches nothing more: boilerplate, and long runs of one
// character. What is left out is neither a target nor context. The zero value leaves nothing out.
type Filter struct {
	Lines int `json:"lines"` // a line that is not empty is kept so many times; 0 for every time
	Runs  int `json:"runs"`  // so many equal characters in a row are kept; 0 for all
}

// Validate refuses numbers below 0; the error is an *ArgError.
func (f Filter) Validate() error {
	if f.Lines < 0 || f.Runs < 0 {
		return &ArgError{"filter", fmt.Sprintf("%d lines, runs of %d: want 0 or more", f.Lines, f.Runs)}
	}
	return nil
}

// Text is what is left of a text.
func (f Filter) Text(text string) string {
	var out strings.Builder
	out.Grow(len(text))
	seen := map[string]int{}
	last, run := rune(-1), 0
	for line := range strings.Lines(text) {
		if f.Lines > 0 {
			if bare := strings.TrimSpace(line); bare != "" {
				if seen[bare]++; seen[bare] > f.Lines {
					continue
				}
			}
		}
		if f.Runs == 0 {
			out.WriteString(line)
			continue
		}
		for i, r := range line {
			if r != last {
				last, run = r, 0
			}
			if run++; run <= f.Runs {
				_, n := utf8.DecodeRuneInString(line[i:])
				out.WriteString(line[i : i+n])
			}
		}
	}
	return out.String()
}

// Part is what is left of a part of a text. It keeps its place in the source.
func (f Filter) Part(p Part) Part {
	if f == (Filter{}) {
		return p
	}
	p.Text = f.Text(p.Text)
	p.Hash = hashText(p.Text)
	return p
}
