package decode

import (
	"context"
	"slices"

	"mito/engine/grammar"
	"mito/engine/tokenizer"
)

// GenerateOptions of one text. The zero value continues greedily to the end of the context.
type GenerateOptions struct {
	Sampling
	MaxTokens int      // tokens to generate at most; 0 is no limit but the context
	Adapter   string   // of the runtime, that the text goes through; "" for none
	Stop      []string // the text ends before the first of these; the prompt is not searched
	IgnoreEOS bool     // the end-of-text token does not end the text
	// Slide lets text outgrow the context: when it is full, the session restarts from the last half of a context of
	// tokens, and the model forgets what came before. It needs MaxTokens.
	Slide   bool
	Allowed []bool                  // tokens that may be drawn; nil for all
	Grammar *grammar.Grammar        // that the text is held to, nil for none: it is one of the grammar's texts however it ends
	OnText  func(text string) error // gets the text piece by piece, never part of a character

	// Sure is the temperature of the probabilities that the text's Confidence is made of; 0 for none. It does not change what is drawn.
	Sure float64

	HashLogits bool // hash the logits that tokens are drawn from, for a Transcript
}

// Why a text ended.
const (
	EndEOS     = "eos"     // the end-of-text token
	EndStop    = "stop"    // a stop string
	EndLength  = "length"  // MaxTokens
	EndContext = "context" // the context is full
	EndGrammar = "grammar" // the text is whole: the grammar lets nothing follow
)

// Generation is a generated text.
type Generation struct {
	Text        string       `json:"text"`   // without the prompt, the end-of-text token and the stop string
	Tokens      []int32      `json:"tokens"` // all that were drawn but the end-of-text token
	End         string       `json:"end"`
	Speculation *Speculation `json:"speculation,omitempty"` // nil for plain decoding
	Confidence  *Confidence  `json:"confidence,omitempty"`  // nil unless Sure
	Logits      string       `json:"-"`                     // their hash, as TranscriptText.Logits says
}

// Request is a text to generate.
type Request struct {
	Prompt string
	GenerateOptions
}

// Result is what became of a Request: the text as far as it was given out, and the error that ended it.
type Result struct {
	Generation
	Err error
}

// GeneratorOptions of NewGenerator. The zero value decodes one text at a time without speculation.
type GeneratorOptions struct {
	Batch      int        // texts side by side at most; fewer than one means one
	CacheBytes int        // keys and values of earlier prompts that are kept for later ones which begin alike; 0 keeps none
	Speculator Speculator // nil for plain decoding; the generator closes it
}

// Generator continues texts, several side by side in one session. It belongs to one goroutine. A text does not depend on those
// beside it, and the text that a Speculator speeds up has the distribution of plain decoding; greedy text is the same text. A prompt
// that begins as a text under way, or as one that is kept, shares its keys and values as far as that goes: they are not computed
// again, and have the same bits.
type Generator struct {
	r       Runtime
	tok     tokenizer.Tokenizer
	session Session
	spec    Speculator
	texts   []*text // by sequence; nil for one that is free
	step    []int32
	kept    prefixes
	drafts  []Proposal // of the texts that take part in a verification
	scored  [][]int32  // by sequence: what a verification scores
	settled [1]int32   // handed to the speculator
	bound   []bound    // grammars of texts before

	vocabulary *grammar.Vocabulary // nil until a grammar needs it
}

// NewGenerator returns a generator. Errors: ErrNoTokenizer, those of NewSession.
func NewGenerator(r Runtime, o GeneratorOptions) (*Generator, error) {
	if r.Tokenizer() == nil {
		return nil, ErrNoTokenizer
	}
	batch := max(1, o.Batch)
	g := &Generator{r: r, tok: r.Tokenizer(), spec: o.Speculator, texts: make([]*text, batch), kept: newPrefixes(batch, o.CacheBytes)}
	all := batch + len(g.kept.slots)
	var err error
	if g.session, err = r.NewSession(all); err != nil {
		return nil, err
	}
	g.step, g.scored = slices.Repeat([]int32{-1}, all), make([][]int32, batch)
	return g, nil
}

// Close closes the speculator.
func (g *Generator) Close() error {
	if g.spec == nil {
		return nil
	}
	return g.spec.Close()
}

// Generate continues a prompt. An empty prompt begins a new text, where the tokenizer has an end-of-text token to begin
// it with. When ctx ends or OnText fails, it returns what was given out and the error. Errors: *OptionError, ErrEmptyPrompt,
// ErrContextFull for a prompt longer than the context (with Slide, only its end is read), ErrNotFinite,
// ErrNothingAllowed, *ProposalError, those of grammar.Bind, *grammar.DeadEndError, *grammar.LengthError, those of the tokenizer, ctx, the speculator and OnText.
func (g *Generator) Generate(ctx context.Context, prompt string, o GenerateOptions) (Generation, error) {
	r := g.GenerateAll(ctx, []Request{{prompt, o}})[0]
	return r.Generation, r.Err
}

// GenerateAll continues prompts, as many side by side as the generator has sequences; the next begins when one ends. The error of
// one text leaves the others alone, but for errors of ctx, of the session and of the speculator, which end all texts.
// Errors: as of Generate.
func (g *Generator) GenerateAll(ctx context.Context, requests []Request) []Result {
	results := make([]Result, len(requests))
	for next := 0; ; {
		for seq := range g.texts {
			for g.texts[seq] == nil && next < len(requests) {
				t, err := g.begin(ctx, seq, &requests[next])
				if err != nil {
					results[next] = Result{Err: err}
				} else {
					t.result = &results[next]
					g.texts[seq] = t
				}
				next++
			}
		}
		if !slices.ContainsFunc(g.texts, func(t *text) bool { return t != nil }) {
			return results
		}
		err := ctx.Err()
		if err == nil {
			err = g.advance(ctx)
		}
		for seq, t := range g.texts {
			if t == nil || err == nil && t.err == nil && t.out.End == "" {
				continue
			}
			if t.err == nil {
				t.err = err
			}
			t.finish()
			g.texts[seq] = nil
			if e := g.session.Truncate(seq, 0); err == nil { // what is kept of its prompt is not shared any more
				if err = e; err == nil {
					err = g.fit()
				}
			}
		}
		if err != nil {
			for ; next < len(requests); next++ {
				results[next].Err = err
			}
			return results
		}
	}
}

// goesOn says that a text wants more tokens.
func (g *Generator) goesOn() bool { return slices.ContainsFunc(g.texts, (*text).goesOn) }

// advance draws the next tokens of every text. Errors of single texts stay with them.
func (g *Generator) advance(ctx context.Context) error {
	for _, t := range g.texts {
		if t != nil {
			t.makeRoom(ctx)
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if !g.goesOn() {
		return nil
	}
	if g.spec != nil {
		if any, err := g.guess(ctx); err != nil {
			return err
		} else if any {
			return g.verify(ctx)
		}
	}
	return g.decodeStep()
}

// decodeStep draws one token of every text, without guesses.
func (g *Generator) decodeStep() error {
	for seq, t := range g.texts {
		g.step[seq] = -1
		if t.goesOn() {
			g.step[seq] = t.last()
		}
	}
	logits, err := g.session.Step(g.step)
	if err != nil {
		return err
	}
	for seq, t := range g.texts {
		if g.step[seq] < 0 {
			continue
		}
		t.hash.see(logits[seq])
		id, err := t.next(logits[seq])
		if err != nil {
			t.err = err
			continue
		}
		t.take(id)
		if err := t.settleOne(id); err != nil {
			return err
		}
	}
	return nil
}

// fed is the number of tokens after which Feed looks at its context.
const fed = 256

// Feed is s.Prefill in pieces, between which it looks whether ctx has ended. Errors: those of ctx and of Prefill; tokens may have
// been appended then.
func Feed(ctx context.Context, s Session, seq int, tokens []int32) (logits []float32, err error) {
	for len(tokens) > 0 {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		n := min(fed, len(tokens))
		if logits, err = s.Prefill(seq, tokens[:n]); err != nil {
			return nil, err
		}
		tokens = tokens[n:]
	}
	return logits, nil
}
