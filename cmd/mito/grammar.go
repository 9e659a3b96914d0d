package main

import (
	"fmt"

	"github.com/spf13/pflag"

	"mito/engine/files"
	"mito/engine/grammar"
)

// grammarFlags hold texts to a form.
type grammarFlags struct {
	choices       []string
	regex, source string
}

func (f *grammarFlags) register(fs *pflag.FlagSet) {
	fs.StringArrayVar(&f.choices, "choices", nil, "write one of these texts; given once for each")
	fs.StringVar(&f.regex, "regex", "", "write a text that this regular expression matches as a whole")
	fs.StringVar(&f.source, "grammar", "", `write a text of the GBNF grammar in this file; "json" is one of JSON objects`)
}

// load makes the grammar, nil for none.
func (f *grammarFlags) load(fs *pflag.FlagSet) (*grammar.Grammar, error) {
	given := ""
	for _, name := range []string{"choices", "regex", "grammar"} {
		if !fs.Changed(name) {
			continue
		}
		if given != "" {
			return nil, usagef("--%s and --%s contradict each other: a text is held to one form", given, name)
		}
		given = name
	}
	if given != "" && fs.Changed("stop") {
		return nil, usagef("--stop and --%s contradict each other: a text that is cut short has not the form any more", given)
	}
	var g *grammar.Grammar
	var err error
	switch given {
	case "choices":
		g, err = grammar.Choices(f.choices)
	case "regex":
		g, err = grammar.Regex(f.regex)
	case "grammar":
		source := grammar.JSON
		if f.source != "json" {
			text, err := files.ReadLimited(f.source, maxLine)
			if err != nil {
				return nil, fmt.Errorf("--grammar: %w", err)
			}
			source = string(text)
		}
		g, err = grammar.GBNF(source)
	}
	if err != nil {
		return nil, usagef("--%s: %w", given, err)
	}
	return g, nil
}
