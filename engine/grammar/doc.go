// Package grammar holds texts to a form: a set of allowed texts ([Choices]), a regular expression ([Regex]) or a context-free
// grammar in GBNF, the notation of llama.cpp ([GBNF]). All become one thing, a [Grammar] over bytes, which [Grammar.Bind] joins
// with a vocabulary: [Masks] then say for every point of a text which tokens may come next, and the fewest tokens that end
// it well.
//
// What has been read stands in a [State]: the set of stacks of what is still to come, as in a pushdown automaton (Earley, 1970,
// reads the same grammars; the tables of stacks are those of llama.cpp). States are made as they are reached and kept with
// their transitions and masks, so that a regular expression is a lazily built deterministic automaton. Masks look at the bytes of whole
// tokens (Willard and Louf, arXiv:2307.09702), which may begin and end anywhere in a word and hold parts of a character: the texts that
// tokens can spell are exactly those that the grammar allows.
//
// It imports the standard library only. A test holds it to that.
package grammar
