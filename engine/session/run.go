package session

import "fmt"

func (s *Session[P]) check(seq int, tokens []int32) error {
	if seq < 0 || seq >= s.Batch() {
		return fmt.Errorf("sequence %d of %d: %w", seq, s.Batch(), ErrSequence)
	}
	if have := s.Len(seq); have+len(tokens) > s.m.Context {
		return fmt.Errorf("sequence %d: %d tokens and %d more, the context is %d: %w", seq, have, len(tokens), s.m.Context, ErrContextFull)
	}
	for _, t := range tokens {
		if t < 0 || int(t) >= s.m.Vocab {
			return fmt.Errorf("token %d, the vocabulary has %d: %w", t, s.m.Vocab, ErrToken)
		}
	}
	return nil
}

func (s *Session[P]) checkBatch(tokens [][]int32) error {
	if len(tokens) > s.Batch() {
		return fmt.Errorf("%d texts for %d sequences: %w", len(tokens), s.Batch(), ErrSequence)
	}
	for i, t := range tokens {
		if err := s.check(i, t); err != nil {
			return err
		}
	}
	return nil
}

func (s *Session[P]) begin() {
	s.rows, s.spans = s.rows[:0], s.spans[:0]
	clear(s.byseq)
}

// add queues tokens of one sequence; last asks for the logits after the last of them.
func (s *Session[P]) add(seq int, tokens []int32, last bool) {
	if len(tokens) == 0 {
		return
	}
	pos, lo, v := s.cache.extend(seq, len(tokens)), len(s.rows), s.m.Vocab
	for i, t := range tokens {
		s.rows = append(s.rows, Row{Token: t, Seq: seq, Pos: pos + i, Out: -1, Adapter: s.adapter[seq]})
	}
	if last {
		s.rows[len(s.rows)-1].Out = seq
		s.byseq[seq] = s.logits[seq*v:][:v]
	}
	s.spans = append(s.spans, span{lo, len(s.rows)})
}

// runAll is run with the logits of every row; see row.
func (s *Session[P]) runAll() {
	if need := len(s.rows) * s.m.Vocab; len(s.logits) < need {
		s.logits = make([]float32, need)
	}
	for i := range s.rows {
		s.rows[i].Out = i
	}
	s.run()
}

// row returns the logits of the queued row i after runAll.
func (s *Session[P]) row(i int) []float32 { return s.logits[i*s.m.Vocab:][:s.m.Vocab] }

// run sends the queued rows through the model: whole sequences to a thread, or the rows of a single one to all of them.
func (s *Session[P]) run() {
	if len(s.spans) == 1 {
		s.together(s.rows)
		return
	}
	// Weights are read once per group of rows, so a thread should not get too few.
	grain := 1
	if perSpan := len(s.rows) / max(1, len(s.spans)); perSpan < 8 {
		grain = min(8, max(1, len(s.spans)/s.m.Pool.Threads()))
	}
	s.m.Pool.Run(len(s.spans), grain, (*task[P])(s))
}

// task is a session as the pool sees it.
type task[P any] Session[P]

// Do computes the sequences spans[lo:hi].
func (s *task[P]) Do(lo, hi int) {
	w := <-s.workers
	(*Session[P])(s).compute(w, s.rows[s.spans[lo].lo:s.spans[hi-1].hi])
	s.workers <- w
}

func (s *Session[P]) compute(w Worker[P], rows []Row) {
	for len(rows) > 0 {
		n := min(len(rows), MaxRows)
		w.Begin(&s.cache, rows[:n], s.logits)
		for i := range s.m.Pages.Layers {
			w.Layer(i)
		}
		rows = rows[n:]
	}
}

// workerRows is how many rows at a time are meant for a worker.
func (s *Session[P]) workerRows() int { return min(MaxRows, s.Batch()*s.m.Context) }

// newWorker makes a worker with room for the row that a share may have more, see stage.bound.
func (s *Session[P]) newWorker() Worker[P] { return s.m.NewWorker(s.workerRows() + 1) }

// A thread that got fewer rows of a sequence would read the weights for too few and wait for the others too long.
const fewestRows = 8

// together is compute with the rows shared between threads.
func (s *Session[P]) together(rows []Row) {
	threads := s.m.Pool.Threads()
	if min(threads, len(rows)/fewestRows) < 2 {
		s.compute(s.first, rows)
		return
	}
	if s.team == nil {
		s.team = append(s.team, s.first)
		for range threads - 1 {
			s.team = append(s.team, s.newWorker())
		}
	}
	for len(rows) > 0 {
		n := min(len(rows), threads*s.workerRows())
		members := max(1, min(threads, n/fewestRows))
		s.stage = stage[P]{s, rows[:n], members, -1}
		for ; s.stage.layer < s.m.Pages.Layers; s.stage.layer++ {
			s.m.Pool.Run(members, 1, &s.stage)
		}
		rows = rows[n:]
	}
	s.stage = stage[P]{}
}

// stage is a layer of rows that a team shares, as the pool sees it; -1 is what comes before the first.
type stage[P any] struct {
	s       *Session[P]
	rows    []Row
	members int
	layer   int
}

// Do computes the shares of members lo to hi-1.
func (t *stage[P]) Do(lo, hi int) {
	for i := lo; i < hi; i++ {
		if t.layer >= 0 {
			t.s.team[i].Layer(t.layer)
			continue
		}
		t.s.team[i].Begin(&t.s.cache, t.rows[t.bound(i):t.bound(i+1)], t.s.logits)
	}
}

// bound is the row at which the share of a member begins: not one of an odd slot, whose store may write the bytes of the slot before
// it too (see kv.Shape.StoreQS8), and that is another member's.
func (t *stage[P]) bound(member int) int {
	at := member * len(t.rows) / t.members
	if member > 0 && member < t.members && t.rows[at].Pos%t.s.cache.Size()%2 == 1 {
		at++ // to an even slot, or the first of the next page
	}
	return at
}
