package c99

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"mito/engine/tokenizer"
)

// TokenizerError reports a tokenizer that text.c cannot do.
type TokenizerError struct {
	What string
	Task bool // of the code that answers a task's prompts
}

func (e *TokenizerError) Error() string {
	remedy := "--no-tokenizer leaves it out, and the program gives tokens"
	if e.Task {
		remedy = "leave out --task, and the program feeds the prompt's tokens itself; or train with a tokenizer of characters"
	}
	return fmt.Sprintf("the tokenizer %s, which the C code does not do: %s", e.What, remedy)
}

// tokens are a tokenizer as text.c reads it.
type tokens struct {
	pieces [][]byte // by id
	added  []int32
	eos    int32
	table  *tokenizer.Table // nil for characters
}

func newTokens(tok tokenizer.Tokenizer, vocab int) (*tokens, error) {
	t := &tokens{eos: tok.EOS()}
	plain := true
	switch k := tok.(type) {
	case *tokenizer.Chars:
		t.added, plain = k.Added()
	case *tokenizer.BPE:
		table := k.Table()
		t.table = &table
		t.added, plain = k.Added()
		if !table.Plain {
			return nil, &TokenizerError{What: "normalises text, or cuts it otherwise than by GPT-2's pattern"}
		}
		if vocab > math.MaxUint16 {
			return nil, &TokenizerError{What: fmt.Sprintf("has %d tokens, more than 65,535", vocab)}
		}
	default:
		return nil, &TokenizerError{What: "is of the kind of SentencePiece"}
	}
	if !plain {
		return nil, &TokenizerError{What: "puts tokens round a text, or has added tokens that look at what is beside them"}
	}
	for id := range vocab {
		var piece []byte
		if id < tok.VocabSize() {
			var err error
			if piece, err = tok.AppendToken(nil, int32(id)); err != nil {
				return nil, err
			}
		}
		t.pieces = append(t.pieces, piece)
	}
	return t, nil
}

// single are the tokens that stand for one byte.
func (t *tokens) single(b byte) []int {
	var out []int
	for id, p := range t.pieces {
		if len(p) == 1 && p[0] == b {
			out = append(out, id)
		}
	}
	return out
}

// tokenizerArrays writes the tables of text.c.
func (e *emitter) tokenizerArrays() {
	to := &e.facts.Tables
	if t := e.text; t != nil {
		at, all := t.joined()
		fields := []string{
			e.array("uint8_t", "pieces", each(append(all, 0), integer[uint8]), 1, to),
			e.array("student_offset", "piece_at", each(at, integer[uint32]), offsetSize(len(all)), to), "0",
		}
		if len(t.added) > 0 {
			fields[2] = e.array("int32_t", "added", each(t.added, func(v int32) string { return strconv.Itoa(int(v)) }), 4, to)
		}
		*to += 4 * 4
		if t.table != nil {
			bytes, merges := t.numbers()
			fields = append(fields, e.array("uint16_t", "byte_token", each(bytes, integer[uint16]), 2, to),
				e.array("uint16_t", "merges", each(append(merges, 0), integer[uint16]), 2, to), strconv.Itoa(len(t.table.Merges)))
			*to += 3 * 4
		}
		fmt.Fprintf(&e.b, "const student_text_data student_text = {%s, %d};\n", strings.Join(fields, ", "), len(t.added))
	}
	if len(e.rules) > 0 {
		fmt.Fprintf(&e.b, "const student_task_data student_task = {%s, %d};\n", e.array("uint16_t", "rules", each(e.ruleNumbers(), integer[uint16]), 2, to), len(e.rules))
		*to += 2 * 4
	}
}

// joined are the bytes of all tokens, and where each begins and the last ends.
func (t *tokens) joined() (at []uint32, all []uint8) {
	at = []uint32{0}
	for _, p := range t.pieces {
		all = append(all, p...)
		at = append(at, uint32(len(all)))
	}
	return at, all
}

// numbers are the table of a BPE: the token of each byte, 0xffff for none; left, right and what they become.
func (t *tokens) numbers() (bytes, merges []uint16) {
	for _, id := range t.table.Bytes {
		bytes = append(bytes, uint16(id))
	}
	for _, m := range t.table.Merges {
		merges = append(merges, uint16(m[0]), uint16(m[1]), uint16(m[2]))
	}
	return bytes, merges
}

// ruleNumbers are the legal answers of a game: place in the prompt, character there, token of the answer.
func (e *emitter) ruleNumbers() (rules []uint16) {
	for _, r := range e.rules {
		rules = append(rules, uint16(r.At), uint16(r.Is), uint16(e.text.single(r.Answer)[0]))
	}
	return rules
}

func offsetSize(bytes int) int {
	if bytes > math.MaxUint16 {
		return 4
	}
	return 2
}

func offsetType(bytes int) string { return fmt.Sprintf("uint%d_t", 8*offsetSize(bytes)) }

// pieceBytes is the length of all tokens together.
func (t *tokens) pieceBytes() int {
	n := 0
	for _, p := range t.pieces {
		n += len(p)
	}
	return n
}

// longest is the length of the longest token.
func (t *tokens) longest() int {
	return len(slices.MaxFunc(t.pieces, func(a, b []byte) int { return len(a) - len(b) }))
}
