package c99

import (
	"fmt"
	"math"
	"strconv"

	"mito/engine/grammar"
)

// GrammarError reports a grammar that a device cannot hold texts to.
type GrammarError struct{ What string }

func (e *GrammarError) Error() string { return "the grammar " + e.What }

// checkGrammar refuses what two bytes cannot say.
func (e *emitter) checkGrammar() error {
	g := e.o.Grammar
	switch {
	case g == nil:
		return nil
	case e.text == nil:
		return &GrammarError{"needs the tokenizer, and the model has none"}
	case len(g.Least) > math.MaxUint16 || e.w.Config.VocabSize > math.MaxUint16:
		return &GrammarError{fmt.Sprintf("has %d states and the model %d tokens, more than 65,535", len(g.Least), e.w.Config.VocabSize)}
	case int(g.Least[0]) > e.w.Config.Context:
		return &GrammarError{fmt.Sprintf("has no text that fits the context of %d tokens", e.w.Config.Context)}
	}
	return nil
}

// states is the number of the grammar's states, 0 for none.
func (e *emitter) states() int {
	if e.o.Grammar == nil {
		return 0
	}
	return len(e.o.Grammar.Least)
}

// grammarArrays writes the automaton as text.c reads it.
func (e *emitter) grammarArrays() {
	g, to := e.o.Grammar, &e.facts.Tables
	if g == nil {
		return
	}
	small := func(name string, v []int32) string {
		if len(v) == 0 {
			v = []int32{0}
		}
		return e.array("uint16_t", name, each(v, func(x int32) string { return strconv.Itoa(int(min(x, grammar.Never))) }), 2, to)
	}
	from := e.array("uint32_t", "grammar_from", each(g.From, func(x int32) string { return strconv.Itoa(int(x)) }), 4, to)
	fmt.Fprintf(&e.b, "const student_grammar_data student_grammar = {%s, %s, %s, %s};\n", from, small("grammar_tokens", g.Tokens), small("grammar_to", g.To), small("grammar_least", g.Least))
	*to += 4 * 4
}
