package session

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"mito/engine/internal/imports"
	"mito/kernels/parallel"
)

// page holds the tokens of its positions.
type page []int32

const (
	vocab   = 11
	context = 40
	layers  = 3
)

// toy is a model whose logits depend on every token that a sequence holds, in its order, as its pages say.
type toy struct{ size, window int }

func (m toy) session(t *testing.T, batch, threads int) *Session[page] {
	t.Helper()
	model := Model[page]{
		Vocab: vocab, Context: context,
		Pages: Pages[page]{
			Layers: layers, Size: m.size, Window: m.window,
			Make: func(_, n int) []page {
				pages := make([]page, n)
				for i := range pages {
					pages[i] = slices.Repeat([]int32{-7}, m.size) // poison
				}
				return pages
			},
			Copy:  func(dst, src *page) { copy(*dst, *src) },
			Bytes: func(p *page) int { return 4 * len(*p) },
		},
		NewWorker: func(rows int) Worker[page] { return &toyWorker{toy: m, room: rows} },
	}
	if threads > 1 {
		model.Pool = parallel.New(threads)
		t.Cleanup(model.Pool.Close)
	}
	s, err := New(model, batch)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// toyWorker reads what a layer's pages hold as attention does, so rows of other workers must have been stored before. Like a kernel
// that stores whole lanes, it writes the other slot of a pair back.
type toyWorker struct {
	toy
	room   int
	c      *Cache[page]
	rows   []Row
	logits []float32
	agree  []bool // of each row: its layers hold the same
}

func (w *toyWorker) at(layer int, r *Row, pos int) *int32 {
	return &w.c.Layer(layer)[w.c.Table(r.Seq)[pos/w.c.Size()]][pos%w.c.Size()]
}

func (w *toyWorker) store(layer int) {
	for i := range w.rows {
		r := &w.rows[i]
		slots, slot := w.c.Layer(layer)[w.c.Table(r.Seq)[r.Pos/w.size]], r.Pos%w.size
		pair := slots[slot&^1 : min(slot|1+1, w.size)]
		lane := slices.Clone(pair)
		lane[slot&1] = r.Token + int32(layer)
		copy(pair, lane)
	}
}

func (w *toyWorker) Begin(c *Cache[page], rows []Row, logits []float32) {
	if len(rows) > w.room {
		panic("more rows than a worker has room for")
	}
	w.c, w.rows, w.logits, w.agree = c, rows, logits, slices.Repeat([]bool{true}, len(rows))
	w.store(0)
}

func (w *toyWorker) Layer(l int) {
	for i := range w.rows {
		r := &w.rows[i]
		var seen []int32
		first := 0
		if w.window > 0 {
			first = max(0, r.Pos+1-w.window)
		}
		for pos := first; pos <= r.Pos; pos++ {
			seen = append(seen, *w.at(l, r, pos)-int32(l))
			w.agree[i] = w.agree[i] && seen[pos-first] == *w.at(0, r, pos)
		}
		if l+1 == layers && r.Out >= 0 {
			copy(w.logits[r.Out*vocab:][:vocab], expected(seen))
			if !w.agree[i] {
				w.logits[r.Out*vocab] = -1
			}
		}
	}
	if l+1 < layers {
		w.store(l + 1)
	}
}

// expected are the toy's logits after tokens.
func expected(tokens []int32) []float32 {
	h := uint32(17)
	for _, t := range tokens {
		h = h*31 + uint32(t+1)
	}
	out := make([]float32, vocab)
	for i := range out {
		out[i] = float32(h >> 8)
		h = h*1664525 + 1013904223
	}
	return out
}

// TestRandomHistory appends, scores, rolls back, forks and empties at random, on pages of several sizes and threads, and compares
// every row of logits with the recomputation and every count of pages with the tables.
func TestRandomHistory(t *testing.T) {
	for _, size := range []int{1, 3, 16, 64} {
		for _, threads := range []int{1, 3} {
			for _, window := range []int{0, 1, 5, 16, 33} {
				t.Run(fmt.Sprintf("pages of %d, %d threads, window %d", size, threads, window), func(t *testing.T) { history(t, toy{size, window}, threads) })
			}
		}
	}
}

func history(t *testing.T, m toy, threads int) {
	const batch = 5
	s := m.session(t, batch, threads)
	rng := rand.New(rand.NewPCG(uint64(m.size), uint64(threads)))
	texts := make([][]int32, batch)
	draw := func(seq, most int) []int32 {
		x := make([]int32, rng.IntN(min(most, context-len(texts[seq]))+1))
		for i := range x {
			x[i] = int32(rng.IntN(vocab))
		}
		return x
	}
	same := func(seq, n int, logits []float32) {
		t.Helper()
		first := 0
		if m.window > 0 {
			first = max(0, n-m.window)
		}
		if !slices.Equal(logits, expected(texts[seq][first:n])) {
			t.Fatalf("sequence %d after %d of %d tokens: logits differ from the recomputation", seq, n, len(texts[seq]))
		}
	}
	steps := 2500 // 100,000 in all
	if testing.Short() {
		steps = 250
	}
	for range steps {
		seq := rng.IntN(batch)
		switch rng.IntN(7) {
		case 0:
			step := slices.Repeat([]int32{-1}, batch)
			for i := range step {
				if x := draw(i, 1); len(x) > 0 {
					step[i] = x[0]
					texts[i] = append(texts[i], x[0])
				}
			}
			for i, l := range must(s.Step(step)) {
				if step[i] >= 0 {
					same(i, len(texts[i]), l)
				} else if l != nil {
					t.Fatal("logits for a sequence that was left alone")
				}
			}
		case 1:
			x := draw(seq, 12)
			texts[seq] = append(texts[seq], x...)
			if l := must(s.Prefill(seq, x)); len(x) > 0 {
				same(seq, len(texts[seq]), l)
			} else if l != nil {
				t.Fatal("logits for no token")
			}
		case 2, 3: // all at once, with the logits after the last token or after each
			more, old := make([][]int32, batch), make([]int, batch)
			for i := range more {
				more[i], old[i] = draw(i, 25), len(texts[i])
				texts[i] = append(texts[i], more[i]...)
			}
			if rng.IntN(2) == 0 {
				for i, l := range must(s.PrefillBatch(more)) {
					if len(more[i]) > 0 {
						same(i, len(texts[i]), l)
					}
				}
				break
			}
			seen := make([]int, batch)
			err := s.ScoreBatch(more, func(seq, i int, l []float32) error {
				if i != seen[seq] {
					t.Fatalf("sequence %d: visited %d, want %d", seq, i, seen[seq])
				}
				seen[seq]++
				same(seq, old[seq]+i+1, l)
				return nil
			})
			for i := range more {
				if err != nil || seen[i] != len(more[i]) {
					t.Fatalf("sequence %d: %d of %d tokens visited, %v", i, seen[i], len(more[i]), err)
				}
			}
		case 4:
			x, old := draw(seq, context), len(texts[seq])
			texts[seq] = append(texts[seq], x...)
			if err := s.Score(seq, x, func(i int, l []float32) error { same(seq, old+i+1, l); return nil }); err != nil {
				t.Fatal(err)
			}
		case 5:
			n := rng.IntN(len(texts[seq]) + 1)
			if err := s.Truncate(seq, n); errors.Is(err, ErrEvicted) && m.window > 0 && n > 0 && n < len(texts[seq]) {
				break
			} else if err != nil {
				t.Fatal(err)
			}
			texts[seq] = texts[seq][:n]
		case 6:
			dst := rng.IntN(batch)
			texts[dst] = slices.Clone(texts[seq])
			if err := s.Fork(dst, seq); err != nil {
				t.Fatal(err)
			}
		}
		checkPages(t, s, texts)
	}
	s.Reset()
	if held, made := s.PageCount(); held != 0 || made == 0 {
		t.Fatalf("%d of %d pages are held after Reset", held, made)
	}
}

// TestShares wants the shares of a team to cover the rows, to fit its workers, and none but the first to begin at an odd slot.
func TestShares(t *testing.T) {
	for _, size := range []int{1, 3, 16, 64} {
		s := toy{size, 0}.session(t, 1, 1)
		for start := range 6 {
			for _, threads := range []int{2, 3, 5} {
				for n := 2 * fewestRows; n <= threads*MaxRows; n++ {
					rows := make([]Row, n)
					for i := range rows {
						rows[i].Pos = start + i
					}
					members := min(threads, n/fewestRows)
					share := stage[page]{s: s, rows: rows, members: members}
					for i := range members {
						lo, hi := share.bound(i), share.bound(i+1)
						if i == 0 && lo != 0 || i+1 == members && hi != n || hi <= lo || hi-lo > MaxRows+1 {
							t.Fatalf("pages of %d, %d rows: member %d of %d has rows %d to %d", size, n, i, members, lo, hi)
						}
						if i > 0 && rows[lo].Pos%size%2 == 1 {
							t.Fatalf("pages of %d, %d rows: member %d of %d begins at slot %d", size, n, i, members, rows[lo].Pos%size)
						}
					}
				}
			}
		}
	}
}

// checkPages counts references to pages and compares with the cache's own counts.
func checkPages(t *testing.T, s *Session[page], texts [][]int32) {
	t.Helper()
	c := &s.cache
	refs := make([]int32, len(c.refs))
	for seq, table := range c.tables {
		if s.Len(seq) != len(texts[seq]) {
			t.Fatalf("sequence %d holds %d tokens, want %d", seq, s.Len(seq), len(texts[seq]))
		}
		if want := (len(texts[seq]) + c.Size() - 1) / c.Size(); len(table) != want {
			t.Fatalf("sequence %d holds %d pages, want %d", seq, len(table), want)
		}
		for i, id := range table {
			if id != evicted {
				refs[id]++
			} else if last := (i+1)*c.Size() - 1; c.kind.Window == 0 || last > len(texts[seq])-c.kind.Window {
				t.Fatalf("sequence %d of %d tokens has lost page %d", seq, len(texts[seq]), i)
			}
		}
	}
	held := 0
	for _, n := range refs {
		held += min(int(n), 1)
	}
	if n, _ := s.PageCount(); !slices.Equal(refs, c.refs) || n != held {
		t.Fatal("page counts leak")
	}
	for _, id := range c.free {
		if refs[id] != 0 {
			t.Fatalf("page %d is free and held", id)
		}
	}
}

func TestRefusedCallsChangeNothing(t *testing.T) {
	if _, err := New(Model[page]{}, 0); !errors.Is(err, ErrSequence) {
		t.Errorf("a session of no sequences: %v", err)
	}
	s := toy{4, 0}.session(t, 2, 1)
	must(s.Prefill(0, []int32{1, 2, 3}))
	visit := func(int, []float32) error { return nil }
	visitAll := func(int, int, []float32) error { return nil }
	for name, tc := range map[string]struct {
		want error
		f    func() error
	}{
		"sequence":     {ErrSequence, func() error { _, err := s.Prefill(2, nil); return err }},
		"negative":     {ErrSequence, func() error { return s.Truncate(-1, 0) }},
		"fork to":      {ErrSequence, func() error { return s.Fork(2, 0) }},
		"fork from":    {ErrSequence, func() error { return s.Fork(0, -1) }},
		"step size":    {ErrSequence, func() error { _, err := s.Step([]int32{1}); return err }},
		"batch size":   {ErrSequence, func() error { _, err := s.PrefillBatch(make([][]int32, 3)); return err }},
		"score batch":  {ErrSequence, func() error { return s.ScoreBatch(make([][]int32, 3), visitAll) }},
		"step token":   {ErrToken, func() error { _, err := s.Step([]int32{1, vocab}); return err }},
		"second token": {ErrToken, func() error { return s.ScoreBatch([][]int32{{1}, {2, vocab}}, visitAll) }},
		"negative id":  {ErrToken, func() error { return s.Score(0, []int32{-1}, visit) }},
		"context":      {ErrContextFull, func() error { _, err := s.Prefill(0, make([]int32, context-2)); return err }},
		"beyond":       {nil, func() error { return s.Truncate(0, 4) }},
	} {
		if err := tc.f(); err == nil || tc.want != nil && !errors.Is(err, tc.want) {
			t.Errorf("%s: error %v, want %v", name, err, tc.want)
		}
		if s.Len(0) != 3 || s.Len(1) != 0 || s.Len(2) != 0 {
			t.Fatalf("%s: the failed call changed the session", name)
		}
	}
	stop := errors.New("stop")
	if err := s.ScoreBatch([][]int32{nil, {1, 2}}, func(int, int, []float32) error { return stop }); err != stop {
		t.Errorf("error %v, want that of visit", err)
	}
}

// TestLongContext wants a session over a million positions to take memory only as its sequences grow.
func TestLongContext(t *testing.T) {
	made := 0
	s, err := New(Model[page]{
		Vocab: vocab, Context: 1 << 20,
		Pages: Pages[page]{
			Layers: 1, Size: 16, Make: func(_, n int) []page { made += n; return make([]page, n) },
			Copy: func(_, _ *page) {}, Bytes: func(*page) int { return 1 },
		},
		NewWorker: func(int) Worker[page] { return nothing{} },
	}, 8)
	if err != nil {
		t.Fatal(err)
	}
	if made > madeAtOnce {
		t.Errorf("%d pages for empty sequences", made)
	}
	for range 8 {
		must(s.Prefill(3, make([]int32, 300*16)))
	}
	if held, _ := s.PageCount(); held != 2400 || made > 2*held {
		t.Errorf("%d pages made for %d that are held", made, held)
	}
	if s.CacheBytes() != made {
		t.Errorf("%d bytes, want %d", s.CacheBytes(), made)
	}
}

// TestScoreRoom wants the rows of all threads scored together, but no more than their logits have room for.
func TestScoreRoom(t *testing.T) {
	const threads, tokens = 4, 300
	pool := parallel.New(threads)
	t.Cleanup(pool.Close)
	for v, want := range map[int]int{vocab: threads * MaxRows, 1 << 17: scoreBytes / 4 >> 17, 1 << 19: MaxRows} {
		s := must(New(Model[page]{
			Vocab: v, Context: tokens, Pool: pool,
			Pages: Pages[page]{
				Layers: 1, Size: 16, Make: func(_, n int) []page { return make([]page, n) }, Copy: func(_, _ *page) {}, Bytes: func(*page) int { return 1 },
			},
			NewWorker: func(int) Worker[page] { return nothing{} },
		}, 2))
		seen := 0
		err := errors.Join(
			s.Score(0, make([]int32, tokens), func(int, []float32) error { seen++; return nil }),
			s.ScoreBatch([][]int32{nil, make([]int32, tokens)}, func(int, int, []float32) error { seen++; return nil }),
		)
		if err != nil || seen != 2*tokens || len(s.logits) != want*v {
			t.Errorf("vocabulary of %d: %d logits of %d tokens, want %d rows of them, %v", v, len(s.logits), seen, want, err)
		}
	}
}

// TestWindowEviction wants a sequence to hold the pages of its window only, what the last call appended to be taken back, and more
// refused.
func TestWindowEviction(t *testing.T) {
	const window, size = 6, 4
	s := toy{size, window}.session(t, 2, 1)
	for n := 1; n <= context; n++ {
		must(s.Step([]int32{int32(n % vocab), -1}))
		held := 0
		for _, id := range s.cache.tables[0] {
			held += min(1, int(id)+1)
		}
		if held > window/size+2 {
			t.Fatalf("%d pages are held after %d tokens", held, n)
		}
		if n > 1 {
			if err := errors.Join(s.Truncate(0, n-1), s.Fork(1, 0)); err != nil {
				t.Fatal(err)
			}
			must(s.Step([]int32{int32(n % vocab), -1}))
		}
	}
	if err := s.Truncate(0, 20); !errors.Is(err, ErrEvicted) || s.Len(0) != context {
		t.Errorf("back before the window: %v", err)
	}
	s.Reset()
	if held, _ := s.PageCount(); held != 0 {
		t.Errorf("%d pages are held after Reset", held)
	}
	must(s.Prefill(0, make([]int32, context)))
	if err := s.Truncate(0, 1); err != nil {
		t.Errorf("what the last call appended: %v", err)
	}
}

type nothing struct{}

func (nothing) Begin(*Cache[page], []Row, []float32) {}
func (nothing) Layer(int)                            {}

// TestRotary wants the same rows however the tables have grown, and no more positions than twice those asked for.
func TestRotary(t *testing.T) {
	const limit = 5000
	made := 0
	table := func(n int) (cos, sin []float32) {
		made = n
		for i := range n {
			cos, sin = append(cos, float32(i)), append(sin, -float32(i))
		}
		return cos, sin
	}
	r := NewRotary(limit, table)
	if made != firstPositions {
		t.Errorf("%d positions at first", made)
	}
	if r.UpTo(firstPositions + 1); made != 2*firstPositions {
		t.Errorf("%d positions for one more than at first", made)
	}
	if cos, _ := NewRotary(limit, table).UpTo(3 * firstPositions); len(cos) != 3*firstPositions {
		t.Errorf("%d positions, want three times as many as at first", len(cos))
	}
	var wg sync.WaitGroup
	for k := range 4 {
		wg.Go(func() {
			for n := 1 + k; n <= limit; n += 97 {
				if cos, sin := r.UpTo(n); len(cos) < n || cos[n-1] != float32(n-1) || sin[n-1] != -float32(n-1) {
					t.Errorf("%d positions: tables of %d", n, len(cos))
				}
			}
		})
	}
	wg.Wait()
	if cos, _ := r.UpTo(limit); len(cos) != limit {
		t.Errorf("%d positions, want the limit", len(cos))
	}
	if NewRotary(7, table); made != 7 {
		t.Errorf("%d positions for a context of 7", made)
	}
}

func TestImports(t *testing.T) { imports.Closure(t, "mito/kernels/parallel", "mito/kernels/sentinel") }

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
