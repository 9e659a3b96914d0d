package decode

import (
	"errors"
	"fmt"
	"slices"

	"mito/engine/grammar"
	"mito/engine/tokenizer"
)

// Guide says which tokens a text that is held to a grammar may go on with, at one place of it. Its zero value allows all.
type Guide struct {
	masks *grammar.Masks // nil for no grammar
	state *grammar.State // nil behind a token that the grammar does not allow
	left  int            // tokens that the text may have beyond this place; below 0 is any number
}

// Mask returns the tokens that may come, nil for all. The slice is valid until the next call of any guide of the generator.
// Errors: *grammar.DeadEndError, *grammar.LengthError.
func (u Guide) Mask() ([]bool, error) {
	if u.masks == nil {
		return nil, nil
	}
	if u.state == nil {
		return nil, ErrNothingAllowed
	}
	return u.masks.Within(u.state, u.left)
}

// After is the guide behind a token.
func (u Guide) After(id int32) Guide {
	if u.masks == nil || u.state == nil {
		return u
	}
	u.state = u.masks.Next(u.state, id)
	if u.left > 0 {
		u.left--
	}
	return u
}

// Ended says that nothing may follow.
func (u Guide) Ended() bool {
	return u.masks != nil && (u.state == nil || u.masks.Ended(u.state, u.left))
}

// Vocabulary is that of a tokenizer, as grammars need it. Errors: those of AppendToken.
func Vocabulary(tok tokenizer.Tokenizer) (*grammar.Vocabulary, error) {
	pieces := make([][]byte, tok.VocabSize())
	for id := range pieces {
		var err error
		if pieces[id], err = tok.AppendToken(nil, int32(id)); err != nil {
			return nil, err
		}
	}
	return grammar.NewVocabulary(pieces, tok.EOS()), nil
}

// keptMasks is how many grammars a generator keeps masks of.
const keptMasks = 8

// bound is a grammar with its masks over the generator's vocabulary.
type bound struct {
	g     *grammar.Grammar
	masks *grammar.Masks
}

// guide is that of a text which begins. Grammars that were used before have their masks already.
func (g *Generator) guide(o *GenerateOptions, room int) (Guide, error) {
	if o.Grammar == nil {
		return Guide{}, nil
	}
	switch {
	case o.Allowed != nil:
		return Guide{}, &OptionError{Option: "allowed tokens", Got: "some", Want: "all with a grammar, which says itself what is allowed"}
	case len(o.Stop) > 0:
		return Guide{}, &OptionError{Option: "stop", Got: fmt.Sprintf("%q", o.Stop), Want: "none with a grammar, whose texts it would cut"}
	case o.IgnoreEOS:
		return Guide{}, &OptionError{Option: "ignore EOS", Got: true, Want: "false with a grammar, which may want the text to end"}
	}
	i := slices.IndexFunc(g.bound, func(b bound) bool { return b.g == o.Grammar })
	if i < 0 {
		if g.vocabulary == nil {
			var err error
			if g.vocabulary, err = Vocabulary(g.tok); err != nil {
				return Guide{}, err
			}
		}
		m, err := o.Grammar.Bind(g.vocabulary)
		if err != nil {
			return Guide{}, err
		}
		if len(g.bound) == keptMasks {
			g.bound = slices.Delete(g.bound, 0, 1)
		}
		i = len(g.bound)
		g.bound = append(g.bound, bound{o.Grammar, m})
	}
	m := g.bound[i].masks
	u := Guide{masks: m, state: m.Start(), left: -1}
	if o.MaxTokens > 0 {
		u.left = o.MaxTokens
	}
	if !o.Slide && (u.left < 0 || room < u.left) {
		u.left = room
	}
	return u, m.Check(u.left)
}

// restrict lets the text's next token be drawn from what a guide allows.
func (t *text) restrict(u Guide) error {
	if u.masks == nil {
		return nil
	}
	mask, err := u.Mask()
	if end := (*grammar.DeadEndError)(nil); errors.As(err, &end) {
		end.After = t.text.String() + t.held
	}
	t.pick.Restrict(mask)
	return err
}
