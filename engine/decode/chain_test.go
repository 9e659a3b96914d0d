package decode

import (
	"mito/engine/session"
	"mito/engine/tokenizer"
)

// chain is a model whose logits after a row are those of a function. It records what it was given to read.
type chain struct {
	Runtime
	tok        tokenizer.Tokenizer
	vocab, ctx int
	logits     func(r session.Row, l []float32) // l is zero
	given      []int                            // lengths of the prefills
	onPrefill  func()
}

// counter is a chain whose next token is the one after the last token, round and round.
func counter(tok tokenizer.Tokenizer, vocab, ctx int) *chain {
	return &chain{tok: tok, vocab: vocab, ctx: ctx, logits: func(r session.Row, l []float32) {
		next := int(r.Token) + 1
		if tok != nil {
			next %= tok.VocabSize()
		}
		l[next%vocab] = 9
	}}
}

func (c *chain) VocabSize() int                 { return c.vocab }
func (c *chain) Context() int                   { return c.ctx }
func (c *chain) Tokenizer() tokenizer.Tokenizer { return c.tok }

func (c *chain) NewSession(batch int) (Session, error) {
	s, err := session.New(session.Model[struct{}]{
		Vocab: c.vocab, Context: c.ctx, NewWorker: func(int) session.Worker[struct{}] { return chainWorker{c} },
		Pages: session.Pages[struct{}]{
			Size: 4, Layers: 1, Make: func(_, n int) []struct{} { return make([]struct{}, n) }, Copy: func(_, _ *struct{}) {},
			Bytes: func(*struct{}) int { return 0 },
		},
	}, batch)
	return chainSession{s, c}, err
}

type chainWorker struct{ c *chain }

func (w chainWorker) Begin(_ *session.Cache[struct{}], rows []session.Row, logits []float32) {
	for _, r := range rows {
		if r.Out >= 0 {
			l := logits[r.Out*w.c.vocab:][:w.c.vocab]
			clear(l)
			w.c.logits(r, l)
		}
	}
}

func (chainWorker) Layer(int) {}

type chainSession struct {
	*session.Session[struct{}]
	c *chain
}

func (s chainSession) Prefill(seq int, tokens []int32) ([]float32, error) {
	s.c.given = append(s.c.given, len(tokens))
	if s.c.onPrefill != nil {
		s.c.onPrefill()
	}
	return s.Session.Prefill(seq, tokens)
}
