package decode

import (
	"fmt"

	"mito/kernels/attn"
)

// maxRows is the number of tokens that go through the layers together: enough to reuse each weight from the cache, few
// enough for the activations to stay there too.
const maxRows = 32

// floatSession implements Session. The memory of its cache is touched only as far as sequences grow.
type floatSession struct {
	r       *float32Runtime
	pages   [][]*attn.PageF32 // [sequence][layer]
	length  []int
	rows    []floatRow
	spans   []floatSpan
	logits  []float32
	byseq   [][]float32
	workers chan *floatWorker
}

// floatRow is one token on its way through the model.
type floatRow struct {
	token    int32
	seq, pos int
	out      int // its place in logits, -1 for none
}

// floatSpan is the rows of one sequence.
type floatSpan struct{ lo, hi int }

func newFloatSession(r *float32Runtime, batch int) *floatSession {
	s := &floatSession{
		r: r, pages: make([][]*attn.PageF32, batch), length: make([]int, batch), byseq: make([][]float32, batch),
		logits: make([]float32, batch*r.cfg.VocabSize), rows: make([]floatRow, 0, batch), spans: make([]floatSpan, 0, batch),
	}
	for i := range s.pages {
		s.pages[i] = make([]*attn.PageF32, len(r.layers))
		for l := range s.pages[i] {
			s.pages[i][l] = attn.NewPageF32(&r.layers[l].shape)
		}
	}
	threads := min(r.Threads(), batch)
	rows := min(maxRows, batch*r.cfg.Context)
	s.workers = make(chan *floatWorker, threads)
	for range threads {
		s.workers <- newFloatWorker(r, rows)
	}
	return s
}

func (s *floatSession) Batch() int { return len(s.byseq) }

func (s *floatSession) Len(seq int) int {
	if seq < 0 || seq >= s.Batch() {
		return 0
	}
	return s.length[seq]
}

func (s *floatSession) Step(tokens []int32) ([][]float32, error) {
	if len(tokens) != s.Batch() {
		return nil, fmt.Errorf("decode: step: %d tokens for %d sequences: %w", len(tokens), s.Batch(), ErrSequence)
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

func (s *floatSession) Prefill(seq int, tokens []int32) ([]float32, error) {
	if err := s.check(seq, tokens); err != nil {
		return nil, err
	}
	s.begin()
	s.add(seq, tokens, true)
	s.run()
	return s.byseq[seq], nil
}

func (s *floatSession) PrefillBatch(prompts [][]int32) ([][]float32, error) {
	if len(prompts) > s.Batch() {
		return nil, fmt.Errorf("decode: %d prompts for %d sequences: %w", len(prompts), s.Batch(), ErrSequence)
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

func (s *floatSession) Score(seq int, tokens []int32, visit func(i int, logits []float32) error) error {
	if err := s.check(seq, tokens); err != nil {
		return err
	}
	v := s.r.cfg.VocabSize
	if len(s.logits) < maxRows*v {
		s.logits = make([]float32, maxRows*v)
	}
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

func (s *floatSession) Truncate(seq, n int) error {
	if err := s.check(seq, nil); err != nil {
		return err
	}
	if n < 0 || n > s.length[seq] {
		return fmt.Errorf("decode: truncate sequence %d to %d of %d tokens", seq, n, s.length[seq])
	}
	s.length[seq] = n
	return nil
}

func (s *floatSession) Reset() { clear(s.length) }

func (s *floatSession) check(seq int, tokens []int32) error {
	if seq < 0 || seq >= s.Batch() {
		return fmt.Errorf("decode: sequence %d of %d: %w", seq, s.Batch(), ErrSequence)
	}
	if have := s.length[seq]; have+len(tokens) > s.r.cfg.Context {
		return fmt.Errorf("decode: sequence %d: %d tokens and %d more, the context is %d: %w", seq, have, len(tokens), s.r.cfg.Context, ErrContextFull)
	}
	for _, t := range tokens {
		if t < 0 || int(t) >= s.r.cfg.VocabSize {
			return fmt.Errorf("decode: token %d, the vocabulary has %d: %w", t, s.r.cfg.VocabSize, ErrToken)
		}
	}
	return nil
}

func (s *floatSession) begin() {
	s.rows, s.spans = s.rows[:0], s.spans[:0]
	clear(s.byseq)
}

// add queues tokens of one sequence; last asks for the logits after the last of them.
func (s *floatSession) add(seq int, tokens []int32, last bool) {
	if len(tokens) == 0 {
		return
	}
	lo, v := len(s.rows), s.r.cfg.VocabSize
	for i, t := range tokens {
		s.rows = append(s.rows, floatRow{token: t, seq: seq, pos: s.length[seq] + i, out: -1})
	}
	s.length[seq] += len(tokens)
	if last {
		s.rows[len(s.rows)-1].out = seq
		s.byseq[seq] = s.logits[seq*v:][:v]
	}
	s.spans = append(s.spans, floatSpan{lo, len(s.rows)})
}

// run sends the queued rows through the model, whole sequences to a thread.
func (s *floatSession) run() {
	t := (*floatTask)(s)
	if len(s.spans) == 1 {
		t.Do(0, 1)
		return
	}
	// Weights are read once per group of rows, so a thread should not get too few.
	grain := 1
	if perSpan := len(s.rows) / max(1, len(s.spans)); perSpan < 8 {
		grain = min(8, max(1, len(s.spans)/s.r.Threads()))
	}
	s.r.pool.Run(len(s.spans), grain, t)
}

// floatTask is a session as the pool sees it.
type floatTask floatSession

// Do computes the sequences spans[lo:hi].
func (s *floatTask) Do(lo, hi int) {
	w := <-s.workers
	rows := s.rows[s.spans[lo].lo:s.spans[hi-1].hi]
	for len(rows) > 0 {
		n := min(len(rows), w.rows)
		s.r.forward(w, s.pages, rows[:n], s.logits)
		rows = rows[n:]
	}
	s.workers <- w
}
