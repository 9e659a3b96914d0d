package decode

import (
	"context"
	"fmt"
	"strings"

	"mito/engine/tokenizer"
)

// GenerateOptions of Generate. The zero value continues greedily to the end of the context.
type GenerateOptions struct {
	Sampling
	MaxTokens int      // tokens to generate at most; 0 is no limit but the context
	Stop      []string // the text ends before the first of these; the prompt is not searched
	IgnoreEOS bool     // the end-of-text token does not end the text
	// Slide lets text outgrow the context: when it is full, the session restarts from the last half of a context of
	// tokens, and the model forgets what came before. It needs MaxTokens.
	Slide      bool
	Allowed    []bool                  // tokens that may be drawn; nil for all
	OnText     func(text string) error // gets the text piece by piece, never part of a character
	Speculator Speculator              // nil for plain decoding
}

// Speculator makes the next tokens of a text, perhaps several at once, as plain decoding would draw them.
type Speculator interface {
	// Extend continues sequence 0 of s, which holds every token of the text but last. It returns between one and limit
	// tokens in the distribution of pick and leaves s holding everything but the last of them. The slice is valid until
	// the next call.
	Extend(s Session, pick *Sampler, last int32, limit int) ([]int32, error)
}

// plain draws one token a step.
type plain struct{ token [1]int32 }

func (p *plain) Extend(s Session, pick *Sampler, last int32, _ int) ([]int32, error) {
	p.token[0] = last
	logits, err := s.Step(p.token[:])
	if err != nil {
		return nil, err
	}
	p.token[0], err = pick.Next(logits[0])
	return p.token[:], err
}

// Why a text ended.
const (
	EndEOS     = "eos"     // the end-of-text token
	EndStop    = "stop"    // a stop string
	EndLength  = "length"  // MaxTokens
	EndContext = "context" // the context is full
)

// Generation is a generated text.
type Generation struct {
	Text   string  `json:"text"`   // without the prompt, the end-of-text token and the stop string
	Tokens []int32 `json:"tokens"` // all that were drawn but the end-of-text token
	End    string  `json:"end"`
}

// Generator continues texts one after another. It belongs to one goroutine.
type Generator struct {
	r       Runtime
	tok     tokenizer.Tokenizer
	session Session
	plain   plain
}

// NewGenerator returns a generator. Errors: ErrNoTokenizer, those of NewSession.
func NewGenerator(r Runtime) (*Generator, error) {
	if r.Tokenizer() == nil {
		return nil, ErrNoTokenizer
	}
	s, err := r.NewSession(1)
	if err != nil {
		return nil, err
	}
	return &Generator{r: r, tok: r.Tokenizer(), session: s}, nil
}

// Generate continues a prompt. An empty prompt begins a new text, where the tokenizer has an end-of-text token to begin
// it with. When ctx ends or OnText fails, it returns what was given out and the error. Errors: *OptionError, ErrEmptyPrompt,
// ErrContextFull for a prompt longer than the context (with Slide, only its end is read), ErrNotFinite,
// ErrNothingAllowed, those of the tokenizer, ctx and OnText.
func (g *Generator) Generate(ctx context.Context, prompt string, o GenerateOptions) (Generation, error) {
	t, err := g.begin(prompt, &o)
	if err != nil {
		return Generation{}, err
	}
	for t.out.End == "" {
		if err = ctx.Err(); err == nil {
			err = t.advance()
		}
		if err != nil {
			break
		}
	}
	if err == nil {
		err = t.finish()
	}
	t.out.Text = t.text.String()
	return t.out, err
}

// text is one generation under way.
type text struct {
	g      *Generator
	o      *GenerateOptions
	spec   Speculator
	pick   *Sampler
	stream *tokenizer.Stream
	tokens []int32 // prompt and generated
	out    Generation
	text   strings.Builder // what was given out
	held   string          // text that may be the beginning of a stop string
}

func (g *Generator) begin(prompt string, o *GenerateOptions) (*text, error) {
	if o.MaxTokens < 0 {
		return nil, &OptionError{Option: "max tokens", Got: o.MaxTokens, Want: "0 (no limit) or a positive number"}
	}
	if o.Slide && o.MaxTokens == 0 {
		return nil, &OptionError{Option: "max tokens", Got: 0, Want: "a positive number with a sliding context, which has no end"}
	}
	for _, s := range o.Stop {
		if s == "" {
			return nil, &OptionError{Option: "stop", Got: `""`, Want: "a text that is not empty"}
		}
	}
	t := &text{g: g, o: o, stream: tokenizer.NewStream(g.tok), spec: o.Speculator, out: Generation{Tokens: []int32{}}}
	if t.spec == nil {
		t.spec = &g.plain
	}
	var err error
	if t.pick, err = NewSampler(o.Sampling); err != nil {
		return nil, err
	}
	t.pick.Restrict(g.allowed(o.Allowed))
	if t.tokens, err = g.tok.Encode(prompt); err != nil {
		return nil, fmt.Errorf("decode: prompt: %w", err)
	}
	if len(t.tokens) == 0 {
		if g.tok.EOS() < 0 {
			return nil, fmt.Errorf("decode: %w", ErrEmptyPrompt)
		}
		t.tokens = append(t.tokens, g.tok.EOS())
	}
	if len(t.tokens) > g.r.Context() && !o.Slide {
		return nil, fmt.Errorf("decode: the prompt has %d tokens, the context %d: %w", len(t.tokens), g.r.Context(), ErrContextFull)
	}
	return t, t.restart()
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

// restart fills the session with all tokens but the last, or with the last half of a context of them.
func (t *text) restart() error {
	tokens := t.tokens
	if n := t.g.r.Context(); len(tokens) > n {
		tokens = tokens[len(tokens)-max(1, n/2):]
	}
	t.g.session.Reset()
	_, err := t.g.session.Prefill(0, tokens[:len(tokens)-1])
	return err
}

// advance draws the next tokens.
func (t *text) advance() error {
	room := t.g.r.Context() - t.g.session.Len(0)
	if room == 0 {
		if !t.o.Slide {
			t.out.End = EndContext
			return nil
		}
		if err := t.restart(); err != nil {
			return err
		}
		room = t.g.r.Context() - t.g.session.Len(0)
	}
	limit := room
	if t.o.MaxTokens > 0 {
		limit = min(limit, t.o.MaxTokens-len(t.out.Tokens))
	}
	tokens, err := t.spec.Extend(t.g.session, t.pick, t.tokens[len(t.tokens)-1], limit)
	if err != nil {
		return err
	}
	for _, id := range tokens {
		if id == t.g.tok.EOS() && !t.o.IgnoreEOS {
			t.out.End = EndEOS
			return nil
		}
		t.tokens, t.out.Tokens = append(t.tokens, id), append(t.out.Tokens, id)
		piece, err := t.stream.Next(id)
		if err == nil {
			err = t.emit(piece)
		}
		if err != nil || t.out.End != "" {
			return err
		}
	}
	if len(t.out.Tokens) == t.o.MaxTokens {
		t.out.End = EndLength
	}
	return nil
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

// finish gives out what was held back.
func (t *text) finish() error {
	if t.out.End == EndStop {
		return nil
	}
	if err := t.emit(t.stream.Flush()); err != nil || t.out.End == EndStop {
		return err
	}
	return t.give(t.held)
}
