package student

import (
	"errors"
	"fmt"
	"slices"
)

// maxRows is the number of tokens that go through the layers together: enough to reuse each weight from the cache, few
// enough for the activations to stay there too.
const maxRows = 32

// Session decodes a batch of sequences, each with its own position. It belongs to one goroutine at a time; its results
// are valid until the next call.
type Session struct {
	m       *Model
	cache   cache
	rows    []row
	spans   []span // rows of one sequence each
	logits  []float32
	byseq   [][]float32
	workers chan *worker
	first   *worker // one of workers; outside a run of the pool it is free
}

// row is one token on its way through the model.
type row struct {
	token    int32
	seq, pos int
	out      int // its place in logits, -1 for none
}

type span struct{ lo, hi int }

// NewSession returns a session of batch empty sequences. Errors: batch < 1.
func (m *Model) NewSession(batch int) (*Session, error) {
	if batch < 1 {
		return nil, fmt.Errorf("student: a session of %d sequences, want 1 or more", batch)
	}
	s := &Session{
		m: m, cache: newCache(m, batch), byseq: make([][]float32, batch),
		logits: make([]float32, batch*m.cfg.VocabSize), rows: make([]row, 0, batch), spans: make([]span, 0, batch),
	}
	threads := min(m.Threads(), batch)
	s.workers = make(chan *worker, threads)
	rows := maxRows
	if batch == 1 {
		rows = min(maxRows, m.cfg.Context)
	}
	for range threads {
		s.first = newWorker(m, rows)
		s.workers <- s.first
	}
	return s, nil
}

// Model returns the model of the session.
func (s *Session) Model() *Model { return s.m }

// Batch returns the number of sequences.
func (s *Session) Batch() int { return len(s.byseq) }

// Len returns the number of tokens that a sequence holds, 0 for a sequence that does not exist.
func (s *Session) Len(seq int) int {
	if seq < 0 || seq >= s.Batch() {
		return 0
	}
	return s.cache.length[seq]
}

// CacheBytes returns the memory of the key/value pages.
func (s *Session) CacheBytes() int { return s.cache.bytes() }

// Step appends tokens[i] to sequence i and returns the logits [V] after it. A negative token leaves its sequence alone; its
// logits are nil. Errors (nothing is changed then): ErrSequence if there is not one token per sequence, ErrToken,
// ErrContextFull.
func (s *Session) Step(tokens []int32) ([][]float32, error) {
	if len(tokens) != s.Batch() {
		return nil, fmt.Errorf("student: step: %d tokens for %d sequences: %w", len(tokens), s.Batch(), ErrSequence)
	}
	for i := range tokens {
		if tokens[i] >= 0 {
			if err := s.check(i, tokens[i:i+1]); err != nil {
				return nil, err
			}
		}
	}
	s.begin()
	for i := range tokens {
		if tokens[i] >= 0 {
			s.add(i, tokens[i:i+1], true)
		}
	}
	s.run()
	return s.byseq, nil
}

// Prefill appends tokens to one sequence at once and returns the logits [V] after the last, nil for no tokens. Errors
// (nothing is changed then): ErrSequence, ErrToken, ErrContextFull.
func (s *Session) Prefill(seq int, tokens []int32) ([]float32, error) {
	if err := s.check(seq, tokens); err != nil {
		return nil, err
	}
	s.begin()
	s.add(seq, tokens, true)
	s.run()
	return s.byseq[seq], nil
}

// PrefillBatch appends prompts[i] to sequence i, all at once, and returns the logits [V] after the last token of each, nil
// for an empty prompt. Errors (nothing is changed then): ErrSequence if there are more prompts than sequences, ErrToken,
// ErrContextFull.
func (s *Session) PrefillBatch(prompts [][]int32) ([][]float32, error) {
	if len(prompts) > s.Batch() {
		return nil, fmt.Errorf("student: %d prompts for %d sequences: %w", len(prompts), s.Batch(), ErrSequence)
	}
	for i, p := range prompts {
		if err := s.check(i, p); err != nil {
			return nil, err
		}
	}
	s.begin()
	for i, p := range prompts {
		s.add(i, p, true)
	}
	s.run()
	return s.byseq[:len(prompts)], nil
}

// Score appends tokens to one sequence and calls visit with the logits [V] after each of them, in order; they are valid
// during the call only. Errors: as Prefill, before anything is changed, or the first error of visit.
func (s *Session) Score(seq int, tokens []int32, visit func(i int, logits []float32) error) error {
	if err := s.check(seq, tokens); err != nil {
		return err
	}
	v := s.m.cfg.VocabSize
	s.logits = grown(s.logits, maxRows*v)
	for lo := 0; lo < len(tokens); lo += maxRows {
		part := tokens[lo:min(lo+maxRows, len(tokens))]
		s.begin()
		s.add(seq, part, false)
		for i := range s.rows {
			s.rows[i].out = i
		}
		s.run()
		for i := range part {
			if err := visit(lo+i, s.logits[i*v:][:v]); err != nil {
				return err
			}
		}
	}
	return nil
}

// Truncate rolls a sequence back to its first n tokens. Errors: ErrSequence, n outside 0 to Len.
func (s *Session) Truncate(seq, n int) error {
	if err := s.check(seq, nil); err != nil {
		return err
	}
	if n < 0 || n > s.Len(seq) {
		return fmt.Errorf("student: truncate sequence %d to %d of %d tokens", seq, n, s.Len(seq))
	}
	s.cache.truncate(seq, n)
	return nil
}

// Fork makes sequence dst a copy of sequence src. They share pages until one of them writes. Errors: ErrSequence.
func (s *Session) Fork(dst, src int) error {
	if err := errors.Join(s.check(dst, nil), s.check(src, nil)); err != nil {
		return err
	}
	if dst != src {
		s.cache.fork(dst, src)
	}
	return nil
}

// Reset empties every sequence.
func (s *Session) Reset() {
	for i := range s.byseq {
		s.cache.truncate(i, 0)
	}
}

func (s *Session) check(seq int, tokens []int32) error {
	if seq < 0 || seq >= s.Batch() {
		return fmt.Errorf("student: sequence %d of %d: %w", seq, s.Batch(), ErrSequence)
	}
	if have := s.Len(seq); have+len(tokens) > s.m.cfg.Context {
		return fmt.Errorf("student: sequence %d: %d tokens and %d more, the context is %d: %w", seq, have, len(tokens), s.m.cfg.Context, ErrContextFull)
	}
	for _, t := range tokens {
		if t < 0 || int(t) >= s.m.cfg.VocabSize {
			return fmt.Errorf("student: token %d, the vocabulary has %d: %w", t, s.m.cfg.VocabSize, ErrToken)
		}
	}
	return nil
}

func (s *Session) begin() {
	s.rows, s.spans = s.rows[:0], s.spans[:0]
	clear(s.byseq)
}

// add queues tokens of one sequence; last asks for the logits after the last of them.
func (s *Session) add(seq int, tokens []int32, last bool) {
	if len(tokens) == 0 {
		return
	}
	pos, lo, v := s.cache.extend(seq, len(tokens)), len(s.rows), s.m.cfg.VocabSize
	for i, t := range tokens {
		s.rows = append(s.rows, row{token: t, seq: seq, pos: pos + i, out: -1})
	}
	if last {
		s.rows[len(s.rows)-1].out = seq
		s.byseq[seq] = s.logits[seq*v:][:v]
	}
	s.spans = append(s.spans, span{lo, len(s.rows)})
}

// run sends the queued rows through the model, whole sequences to a thread.
func (s *Session) run() {
	if len(s.spans) == 1 {
		s.compute(s.first, s.rows)
		return
	}
	// Weights are read once per group of rows, so a thread should not get too few.
	grain := 1
	if perSpan := len(s.rows) / max(1, len(s.spans)); perSpan < 8 {
		grain = min(8, max(1, len(s.spans)/s.m.Threads()))
	}
	s.m.pool.Run(len(s.spans), grain, (*task)(s))
}

// task is a session as the pool sees it.
type task Session

// Do computes the sequences spans[lo:hi].
func (s *task) Do(lo, hi int) {
	w := <-s.workers
	(*Session)(s).compute(w, s.rows[s.spans[lo].lo:s.spans[hi-1].hi])
	s.workers <- w
}

func (s *Session) compute(w *worker, rows []row) {
	for len(rows) > 0 {
		n := min(len(rows), w.rows)
		s.m.forward(w, &s.cache, rows[:n], s.logits)
		rows = rows[n:]
	}
}

func grown(x []float32, n int) []float32 {
	if len(x) < n {
		return slices.Grow(x, n-len(x))[:n]
	}
	return x
}
