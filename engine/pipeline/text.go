package pipeline

import (
	"fmt"

	"mito/engine/data"
	"mito/engine/distill"
	"mito/engine/tokenizer"
	"mito/engine/train"
)

// SameTokens says that teachers have the tokens of a student's tokenizer.
func SameTokens(teachers []*Teacher, tok tokenizer.Tokenizer) bool {
	for _, t := range teachers {
		if t.Tokenizer.Hash() != tok.Hash() {
			return false
		}
	}
	return true
}

// text is what teachers with other tokens than the student's have in common with it; nil where all have the student's.
// Errors: *distill.TokenizerError where only the same tokens teach, those of the teachers' tokenizers.
func (o *FitOptions) text(w *Workload, source data.Source) (*distill.Text, error) {
	if SameTokens(o.Teachers, w.Tokenizer) {
		return nil, nil
	}
	rows, isText := source.(train.Gatherable)
	if !isText || !singles(w.Tokenizer) {
		for _, t := range o.Teachers {
			if err := distill.CheckTokenizers(t.Tokenizer.Hash(), w.Tokenizer.Hash()); err != nil {
				return nil, err
			}
		}
	}
	text := &distill.Text{Source: rows}
	var err error
	if text.Pieces, err = pieces(w.Tokenizer); err != nil {
		return nil, err
	}
	for _, t := range o.Teachers {
		var r distill.Reading
		if r.Pieces, err = pieces(t.Tokenizer); err != nil {
			return nil, err
		}
		if r.Tokens, err = t.Tokenizer.Encode(w.train.Text); err != nil {
			return nil, fmt.Errorf("the teacher cannot read %s: %w", w.Name, err)
		}
		r.Begin, _ = t.Tokenizer.Template()
		text.Teachers = append(text.Teachers, r)
	}
	return text, nil
}

// singles says that each token is a character, or each a byte, and that rows are of the text alone.
func singles(tok tokenizer.Tokenizer) bool {
	if begin, _ := tok.Template(); len(begin) > 0 {
		return false
	}
	switch t := tok.(type) {
	case *tokenizer.Chars:
		return true
	case *tokenizer.BPE:
		return t.Merges() == 0
	}
	return false
}

// pieces is the text of each token, "" for marks.
func pieces(tok tokenizer.Tokenizer) ([]string, error) {
	out := make([]string, tok.VocabSize())
	for id := range out {
		if tok.Special(int32(id)) {
			continue
		}
		b, err := tok.AppendToken(nil, int32(id))
		if err != nil {
			return nil, err
		}
		out[id] = string(b)
	}
	return out, nil
}

// Bytes is the tokenizer whose tokens are bytes.
func Bytes() (tokenizer.Tokenizer, error) { return tokenizer.TrainBPE("a", 256) }
