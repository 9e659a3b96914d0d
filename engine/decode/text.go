package decode

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"

	"mito/engine/tokenizer"
)

// text is one generation under way.
type text struct {
	g      *Generator
	seq    int
	o      *GenerateOptions
	pick   *Sampler
	stream *tokenizer.Stream
	tokens []int32 // prompt and generated; the session holds those from from on, but for the last
	from   int
	out    Generation
	text   strings.Builder // what was given out
	held   string          // text that may be the beginning of a stop string
	hash   *logitsHash     // nil unless wanted
	guide  Guide           // behind the last token
	err    error           // ends the text
	result *Result
}

// begin takes a request into a sequence. A failed one leaves nothing behind.
func (g *Generator) begin(ctx context.Context, seq int, r *Request) (*text, error) {
	o := &r.GenerateOptions
	if err := o.validate(); err != nil {
		return nil, err
	}
	if o.Sure > 0 && g.spec != nil {
		return nil, &OptionError{Option: "speculation", Got: "some", Want: "none where the confidence is asked for"}
	}
	t := &text{g: g, seq: seq, o: o, stream: tokenizer.NewStream(g.tok), hash: newLogitsHash(o.HashLogits), out: Generation{Tokens: []int32{}}}
	if g.spec != nil {
		t.out.Speculation = &Speculation{}
	}
	if o.Sure > 0 {
		t.out.Confidence = &Confidence{Probability: 1}
	}
	var err error
	if t.pick, err = NewSampler(o.Sampling); err != nil {
		return nil, err
	}
	t.pick.Restrict(g.allowed(o.Allowed))
	if t.tokens, err = tokenizer.Prompt(g.tok, r.Prompt); err != nil {
		return nil, fmt.Errorf("prompt: %w", err)
	}
	if len(t.tokens) == 0 {
		if g.tok.EOS() < 0 {
			return nil, ErrEmptyPrompt
		}
		t.tokens = append(t.tokens, g.tok.EOS())
	}
	if err := errors.Join(g.session.Truncate(seq, 0), g.session.Adapt(seq, o.Adapter)); err != nil {
		return nil, err
	}
	if len(t.tokens) > g.r.Context() && !o.Slide {
		return nil, fmt.Errorf("the prompt has %d tokens, the context %d: %w", len(t.tokens), g.r.Context(), ErrContextFull)
	}
	if t.guide, err = g.guide(o, g.r.Context()-len(t.tokens)+1); err != nil {
		return nil, err
	}
	if t.guide.Ended() {
		t.out.End = EndGrammar
	}
	return t, t.restart(ctx)
}

func (o *GenerateOptions) validate() error {
	if !(o.Sure >= 0) || math.IsInf(o.Sure, 0) {
		return &OptionError{Option: "temperature of the confidence", Got: o.Sure, Want: "0 (none) or a positive number"}
	}
	if o.MaxTokens < 0 {
		return &OptionError{Option: "max tokens", Got: o.MaxTokens, Want: "0 (no limit) or a positive number"}
	}
	if o.Slide && o.MaxTokens == 0 {
		return &OptionError{Option: "max tokens", Got: 0, Want: "a positive number with a sliding context, which has no end"}
	}
	for _, s := range o.Stop {
		if s == "" {
			return &OptionError{Option: "stop", Got: `""`, Want: "a text that is not empty"}
		}
	}
	return nil
}

// allowed restricts a mask to the tokens that the tokenizer knows: a model may have more logits.
func (g *Generator) allowed(mask []bool) []bool {
	n := g.tok.VocabSize()
	if n == g.r.VocabSize() || mask != nil && len(mask) <= n {
		return mask
	}
	if mask != nil {
		return mask[:n]
	}
	mask = make([]bool, n)
	for i := range mask {
		mask[i] = true
	}
	return mask
}

func (t *text) last() int32 { return t.tokens[len(t.tokens)-1] }

// goesOn says that the text wants more tokens. A nil text does not.
func (t *text) goesOn() bool { return t != nil && t.err == nil && t.out.End == "" }

// room is the number of tokens that the session takes before the context is full.
func (t *text) room() int { return t.g.r.Context() - t.g.session.Len(t.seq) }

// restart fills the sequence with all tokens but the last, or with the last half of a context of them.
func (t *text) restart(ctx context.Context) error {
	tokens := t.tokens
	if n := t.g.r.Context(); len(tokens) > n {
		tokens = tokens[len(tokens)-max(1, n/2):]
	}
	t.from = len(t.tokens) - len(tokens)
	if err := t.g.session.Truncate(t.seq, 0); err != nil {
		return err
	}
	held := tokens[:len(tokens)-1]
	n, err := t.g.share(t.seq, held, t.o.Adapter)
	if err != nil {
		return err
	}
	if _, err := Feed(ctx, t.g.session, t.seq, held[n:]); err != nil {
		return err
	}
	if len(t.out.Tokens) == 0 { // what a text has become will not be asked for again
		if err := t.g.keep(t.seq, held, t.o.Adapter); err != nil {
			return err
		}
	}
	if t.g.spec == nil {
		return nil
	}
	return t.g.spec.Begin(t.seq, tokens, t.pick)
}

// makeRoom ends the text where the context is full, or slides.
func (t *text) makeRoom(ctx context.Context) {
	switch {
	case t.room() > 0:
	case !t.o.Slide:
		t.out.End = EndContext
	default:
		t.err = t.restart(ctx)
	}
}

// take appends a token that was drawn, or ends the text with it.
func (t *text) take(id int32) {
	t.hash.take(t.g.r.VocabSize())
	if id == t.g.tok.EOS() && !t.o.IgnoreEOS {
		t.out.End = EndEOS
		return
	}
	t.tokens, t.out.Tokens = append(t.tokens, id), append(t.out.Tokens, id)
	t.guide = t.guide.After(id)
	piece, err := t.stream.Next(id)
	if err == nil {
		err = t.emit(piece)
	}
	switch t.err = err; {
	case !t.goesOn():
	case t.guide.Ended():
		t.out.End = EndGrammar
	case len(t.out.Tokens) == t.o.MaxTokens:
		t.out.End = EndLength
	}
}

// next draws a token.
func (t *text) next(logits []float32) (int32, error) {
	if err := t.restrict(t.guide); err != nil {
		return 0, err
	}
	id, err := t.pick.Next(logits)
	if err == nil && t.out.Confidence != nil {
		t.out.Confidence.add(logits, t.pick.allowed, t.o.Sure, id)
	}
	return id, err
}

// emit gives text out as far as it cannot belong to a stop string.
func (t *text) emit(piece string) error {
	t.held += piece
	end := -1
	for _, s := range t.o.Stop {
		if i := strings.Index(t.held, s); i >= 0 && (end < 0 || i < end) {
			end = i
		}
	}
	if end >= 0 {
		t.out.End = EndStop
		t.held = t.held[:end]
		return t.give(t.held)
	}
	return t.give(t.held[:len(t.held)-t.unsettled()])
}

// unsettled is the length of the longest end of the held text that begins a stop string.
func (t *text) unsettled() int {
	longest := 0
	for _, s := range t.o.Stop {
		for n := min(len(s)-1, len(t.held)); n > longest; n-- {
			if strings.HasSuffix(t.held, s[:n]) {
				longest = n
			}
		}
	}
	return longest
}

func (t *text) give(s string) error {
	if s == "" {
		return nil
	}
	t.held = t.held[len(s):]
	t.text.WriteString(s)
	if t.o.OnText != nil {
		return t.o.OnText(s)
	}
	return nil
}

// finish gives out what was held back, unless an error has ended the text, and hands in the result.
func (t *text) finish() {
	if t.err == nil && t.out.End != EndStop {
		if t.err = t.emit(t.stream.Flush()); t.err == nil && t.out.End != EndStop {
			t.err = t.give(t.held)
		}
	}
	t.out.Text, t.out.Logits = t.text.String(), t.hash.hex()
	*t.result = Result{t.out, t.err}
}
