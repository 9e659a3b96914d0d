package session

import (
	"errors"
	"fmt"
	"slices"

	"mito/kernels/parallel"
)

// MaxRows is the number of tokens that go through the layers together: enough to reuse each weight from the cache, few enough
// for the activations to stay there too.
const MaxRows = 32

// Row is one token on its way through a model.
type Row struct {
	Token    int32
	Seq, Pos int
	Out      int // the row of logits that it wants written, -1 for none
	Adapter  int // of its sequence, from 1 on; 0 for none
}

// Worker sends rows through a model, on one thread at a time. A layer of all rows stores keys and values before any of them looks
// at those of the layer, so that several workers can share the rows of a sequence: they meet between the calls.
type Worker[P any] interface {
	// Begin takes up to MaxRows+1 rows and stores their keys and values of the first layer. Rows of one sequence come in ascending
	// positions, for which the cache has room; where workers share them, none but the first begins at an odd slot of a page. The
	// logits of row r, if wanted, will go to logits[r.Out·V:].
	Begin(c *Cache[P], rows []Row, logits []float32)
	// Layer sends the rows through layer i, from attention on, and stores their keys and values of the next. The last layer
	// writes the logits.
	Layer(i int)
}

// Model is what a session needs of a model with pages P.
type Model[P any] struct {
	Vocab, Context int
	Pages          Pages[P]
	Adapters       []string                 // names of the adapters that rows may go through
	Pool           *parallel.Pool           // nil for the caller's thread only
	NewWorker      func(rows int) Worker[P] // with room for so many rows at a time
}

// Session decodes a batch of sequences, each with its own position. It belongs to one goroutine at a time; its results are
// valid until the next call. A call that fails with ErrSequence, ErrToken or ErrContextFull has changed nothing. Logits have
// the same bits however tokens are split over calls, sequences and threads, if those of the model have.
type Session[P any] struct {
	m       Model[P]
	cache   Cache[P]
	rows    []Row
	spans   []span // rows of one sequence each
	logits  []float32
	byseq   [][]float32
	adapter []int // of each sequence, see Row
	workers chan Worker[P]
	first   Worker[P]   // one of workers; outside a run of the pool it is free
	team    []Worker[P] // that share the rows of one sequence, first among them; made when there are rows enough
	stage   stage[P]
}

type span struct{ lo, hi int }

// New returns a session of batch empty sequences. Errors: ErrSequence for a batch below 1.
func New[P any](m Model[P], batch int) (*Session[P], error) {
	if batch < 1 {
		return nil, fmt.Errorf("a session of %d sequences, want 1 or more: %w", batch, ErrSequence)
	}
	s := &Session[P]{
		m: m, cache: newCache(m.Pages, m.Context, batch), byseq: make([][]float32, batch), adapter: make([]int, batch),
		logits: make([]float32, batch*m.Vocab), rows: make([]Row, 0, batch), spans: make([]span, 0, batch),
	}
	threads := min(m.Pool.Threads(), batch)
	s.workers = make(chan Worker[P], threads)
	for range threads {
		s.first = s.newWorker()
		s.workers <- s.first
	}
	return s, nil
}

// Batch returns the number of sequences.
func (s *Session[P]) Batch() int { return len(s.byseq) }

// Len returns the number of tokens that a sequence holds, 0 for a sequence that does not exist.
func (s *Session[P]) Len(seq int) int {
	if seq < 0 || seq >= s.Batch() {
		return 0
	}
	return s.cache.length[seq]
}

// CacheBytes returns the memory of the key/value pages.
func (s *Session[P]) CacheBytes() int { return s.cache.bytes() }

// HeldBytes returns the memory of the key/value pages that a sequence holds, each divided by the number of sequences that share
// it; 0 for a sequence that does not exist.
func (s *Session[P]) HeldBytes(seq int) int {
	if seq < 0 || seq >= s.Batch() {
		return 0
	}
	return s.cache.held(seq)
}

// PageCount returns how many pages sequences hold, those of several once, and how many there are.
func (s *Session[P]) PageCount() (held, made int) { return s.cache.count() }

// Worker returns one of the session's workers. It is free between calls.
func (s *Session[P]) Worker() Worker[P] { return s.first }

// Step appends tokens[i] to sequence i and returns the logits [V] after it. A negative token leaves its sequence alone; its
// logits are nil. Nothing is allocated but pages that sequences grow into. Errors: ErrSequence if there is not one token per
// sequence, ErrToken, ErrContextFull.
func (s *Session[P]) Step(tokens []int32) ([][]float32, error) {
	if len(tokens) != s.Batch() {
		return nil, fmt.Errorf("step: %d tokens for %d sequences: %w", len(tokens), s.Batch(), ErrSequence)
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

// Prefill appends tokens to one sequence and returns the logits [V] after the last, nil for no tokens. Errors: ErrSequence,
// ErrToken, ErrContextFull.
func (s *Session[P]) Prefill(seq int, tokens []int32) ([]float32, error) {
	if err := s.check(seq, tokens); err != nil {
		return nil, err
	}
	s.begin()
	s.add(seq, tokens, true)
	s.run()
	return s.byseq[seq], nil
}

// PrefillBatch appends prompts[i] to sequence i, all at once, and returns the logits [V] after the last token of each, nil
// for an empty prompt. Errors: ErrSequence if there are more prompts than sequences, ErrToken, ErrContextFull.
func (s *Session[P]) PrefillBatch(prompts [][]int32) ([][]float32, error) {
	if err := s.checkBatch(prompts); err != nil {
		return nil, err
	}
	s.begin()
	for i, p := range prompts {
		s.add(i, p, true)
	}
	s.run()
	return s.byseq[:len(prompts)], nil
}

// scoreBytes bounds the logits that scoring holds at a time, if MaxRows rows have no more.
const scoreBytes = 32 << 20

// scoreRows is the number of rows that are scored at a time: enough for all threads where their logits fit.
func (s *Session[P]) scoreRows() int {
	return min(MaxRows*s.m.Pool.Threads(), max(MaxRows, scoreBytes/4/s.m.Vocab))
}

// Score appends tokens to one sequence and calls visit with the logits [V] after each of them, in order; they are valid
// during the call only. Errors: as Prefill, or the first error of visit, which leaves what was computed until then.
func (s *Session[P]) Score(seq int, tokens []int32, visit func(i int, logits []float32) error) error {
	if err := s.check(seq, tokens); err != nil {
		return err
	}
	room := s.scoreRows()
	for lo := 0; lo < len(tokens); lo += room {
		part := tokens[lo:min(lo+room, len(tokens))]
		s.begin()
		s.add(seq, part, false)
		s.runAll()
		for i := range part {
			if err := visit(lo+i, s.row(i)); err != nil {
				return err
			}
		}
	}
	return nil
}

// ScoreBatch is Score of tokens[i] on sequence i, all sequences together. Tokens of one sequence are visited in order. Errors:
// as PrefillBatch, or the first error of visit, which leaves what was computed until then.
func (s *Session[P]) ScoreBatch(tokens [][]int32, visit func(seq, i int, logits []float32) error) error {
	if err := s.checkBatch(tokens); err != nil {
		return err
	}
	starts := slices.Clone(s.cache.length)
	room := s.scoreRows()
	for seq, done := 0, 0; seq < len(tokens); {
		s.begin()
		for seq < len(tokens) && len(s.rows) < room {
			part := tokens[seq][done:min(done+room-len(s.rows), len(tokens[seq]))]
			s.add(seq, part, false)
			if done += len(part); done == len(tokens[seq]) {
				seq, done = seq+1, 0
			}
		}
		s.runAll()
		for i, r := range s.rows {
			if err := visit(r.Seq, r.Pos-starts[r.Seq], s.row(i)); err != nil {
				return err
			}
		}
	}
	return nil
}

// Truncate rolls a sequence back to its first n tokens. Errors: ErrSequence, n outside 0 to Len, ErrEvicted where pages that the next
// row looks at lay before the window of later ones: what was appended by the last call can always be taken back, and
// everything.
func (s *Session[P]) Truncate(seq, n int) error {
	if err := s.check(seq, nil); err != nil {
		return err
	}
	if n < 0 || n > s.Len(seq) {
		return fmt.Errorf("sequence %d cannot be cut to %d of its %d tokens", seq, n, s.Len(seq))
	}
	if !s.cache.reaches(seq, n) {
		return fmt.Errorf("sequence %d cannot be cut to %d of its %d tokens: %w", seq, n, s.Len(seq), ErrEvicted)
	}
	s.cache.truncate(seq, n)
	return nil
}

// Fork makes sequence dst a copy of sequence src. They share pages until one of them writes. Errors: ErrSequence.
func (s *Session[P]) Fork(dst, src int) error {
	if err := errors.Join(s.check(dst, nil), s.check(src, nil)); err != nil {
		return err
	}
	if dst != src {
		s.cache.fork(dst, src)
		s.adapter[dst] = s.adapter[src]
	}
	return nil
}

// Adapt sends a sequence through the adapter of that name from now on, "" for none. The sequence must be empty: its keys and
// values would be another's. Nothing is loaded. A forked sequence has the adapter of the one that it came from. Errors:
// ErrSequence, ErrAdapter with the names that there are.
func (s *Session[P]) Adapt(seq int, name string) error {
	if err := s.check(seq, nil); err != nil {
		return err
	}
	i := 1 + slices.Index(s.m.Adapters, name)
	switch {
	case i == 0 && name != "":
		return fmt.Errorf("%w: %q; known: %q", ErrAdapter, name, s.m.Adapters)
	case s.Len(seq) > 0 && i != s.adapter[seq]:
		return fmt.Errorf("sequence %d holds %d tokens of another adapter: empty it first", seq, s.Len(seq))
	}
	s.adapter[seq] = i
	return nil
}

// Reset empties every sequence.
func (s *Session[P]) Reset() {
	for i := range s.byseq {
		s.cache.truncate(i, 0)
	}
}
