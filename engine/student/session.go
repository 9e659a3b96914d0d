package student

import (
	"mito/engine/session"
	"mito/kernels/kv"
)

// Session decodes a batch of sequences, each with its own position; session.Session says what it can do. It belongs to one
// goroutine at a time; its results are valid until the next call.
type Session struct {
	*session.Session[kv.PageQS8]
	m *Model
}

// cache is where a session's sequences keep their keys and values.
type cache = session.Cache[kv.PageQS8]

// NewSession returns a session of batch empty sequences. Errors: ErrSequence for a batch below 1.
func (m *Model) NewSession(batch int) (*Session, error) {
	s, err := session.New(session.Model[kv.PageQS8]{
		Vocab: m.cfg.VocabSize, Context: m.cfg.Context, Pool: m.pool, Adapters: m.adapters,
		NewWorker: func(rows int) session.Worker[kv.PageQS8] { return newWorker(m, rows) },
		Pages: session.Pages[kv.PageQS8]{
			Layers: len(m.layers), Size: m.page, Window: m.cfg.WidestWindow(), Copy: (*kv.PageQS8).CopyFrom, Bytes: (*kv.PageQS8).Bytes,
			Make: func(layer, n int) []kv.PageQS8 { return kv.NewPagesQS8(n, &m.layers[layer].shape) },
		},
	}, batch)
	if err != nil {
		return nil, err
	}
	return &Session{s, m}, nil
}

// Model returns the model of the session.
func (s *Session) Model() *Model { return s.m }

// CacheBytes returns the memory of the keys and values of a sequence of so many tokens, and the positions in a page. Where all layers
// have windows, only the pages of the widest are held.
func (m *Model) CacheBytes(tokens int) (bytes, page int) {
	pages := session.PagesOf(tokens, m.page, m.cfg.WidestWindow())
	for i := range m.layers {
		bytes += pages * m.layers[i].shape.BytesQS8()
	}
	return bytes, m.page
}
