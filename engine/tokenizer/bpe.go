package tokenizer

import (
	"container/heap"
)

// BPE is byte-level byte-pair encoding: a text is cut into words, each word
// starts as its bytes, and the adjacent pair that stands first in the list of
// merges is joined until no pair is in the list.
type BPE struct {
	core
	form         *form
	pre          preTokenizer
	ignoreMerges bool // a word that is itself a token needs no merges
	merges       []merge
	rank         map[pair]int32
	byteID       [256]int32       // -1 where the vocabulary lacks the byte
	ids          map[string]int32 // pieces that are not added tokens, only for ignoreMerges
}

type pair struct{ left, right int32 }

// merge joins left and right to id.
type merge struct {
	pair
	id int32
}

// newBPE builds the tokenizer. own[id] says that id belongs to the model, not
// only to the added tokens.
func newBPE(pieces []string, own []bool, merges []merge, added addedTokens, around template, form *form, pre preTokenizer, ignoreMerges bool) *BPE {
	t := &BPE{
		core:         core{pieces: pieces, added: added, eos: findEOS(added), around: around},
		form:         form,
		pre:          pre,
		ignoreMerges: ignoreMerges,
		merges:       merges,
		rank:         make(map[pair]int32, len(merges)),
		ids:          map[string]int32{},
	}
	for i := range t.byteID {
		t.byteID[i] = -1
	}
	for id, p := range pieces {
		if !own[id] {
			continue
		}
		if len(p) == 1 {
			t.byteID[p[0]] = int32(id)
		}
		if ignoreMerges {
			t.ids[p] = int32(id)
		}
	}
	for i, m := range merges {
		t.rank[m.pair] = int32(i)
	}
	spelling := make([]string, len(t.pieces))
	for id, p := range t.pieces {
		spelling[id] = toByteChars(p)
	}
	for _, a := range t.added {
		spelling[a.id] = a.content
	}
	t.seal(spelling, func(post string) []byte { return marshalBPE(t, spelling, post) })
	return t
}

// Merges is the number of merges.
func (t *BPE) Merges() int { return len(t.merges) }

// Words that are met again cost one lookup. The bounds keep the memory of a
// hostile text small.
const (
	cacheWords    = 1 << 16
	cacheWordSize = 64
)

// Encode implements [Tokenizer].
func (t *BPE) Encode(s string) ([]int32, error) {
	if err := checkUTF8(s); err != nil {
		return nil, err
	}
	out := make([]int32, 0, len(s)/3+1)
	cache := map[string][]int32{}
	var w merger
	err := t.added.split(s, t.form, func(part string, base int) error {
		return t.pre.each(part, func(word string, offset int) error {
			if ids, ok := cache[word]; ok {
				out = append(out, ids...)
				return nil
			}
			from := len(out)
			var err error
			if out, err = t.appendWord(out, word, base+offset, &w); err != nil {
				return err
			}
			if len(word) <= cacheWordSize && len(cache) < cacheWords {
				cache[word] = append([]int32(nil), out[from:]...)
			}
			return nil
		})
	}, func(id int32) { out = append(out, id) })
	if err != nil {
		return nil, err
	}
	return out, nil
}

func (t *BPE) appendWord(out []int32, word string, offset int, w *merger) ([]int32, error) {
	if t.ignoreMerges {
		if id, ok := t.ids[word]; ok {
			return append(out, id), nil
		}
	}
	w.symbols = w.symbols[:0]
	for i := range len(word) {
		id := t.byteID[word[i]]
		if id < 0 {
			return out, &UnknownByteError{Byte: word[i], Offset: offset + i}
		}
		w.symbols = append(w.symbols, symbol{id: id, prev: i - 1, next: i + 1})
	}
	w.run(t)
	for i := 0; i < len(w.symbols); i = w.symbols[i].next {
		out = append(out, w.symbols[i].id)
	}
	return out, nil
}

// symbol is one element of a word under merging, in a list linked by index.
type symbol struct {
	id         int32
	prev, next int
	gone       bool
}

type candidate struct {
	rank int32
	at   int // index of the left symbol
}

// merger holds the buffers of one Encode. A heap of candidates keeps a word of
// n bytes at O(n log n): a file without white space is one word.
type merger struct {
	symbols []symbol
	queue   candidates
}

type candidates []candidate

func (q candidates) Len() int { return len(q) }
func (q candidates) Less(i, j int) bool {
	return q[i].rank < q[j].rank || q[i].rank == q[j].rank && q[i].at < q[j].at
}
func (q candidates) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *candidates) Push(x any)   { *q = append(*q, x.(candidate)) }
func (q *candidates) Pop() any {
	last := (*q)[len(*q)-1]
	*q = (*q)[:len(*q)-1]
	return last
}

func (w *merger) rankAt(t *BPE, i int) (int32, bool) {
	next := w.symbols[i].next
	if next >= len(w.symbols) {
		return 0, false
	}
	rank, ok := t.rank[pair{w.symbols[i].id, w.symbols[next].id}]
	return rank, ok
}

func (w *merger) run(t *BPE) {
	w.queue = w.queue[:0]
	for i := range w.symbols {
		if rank, ok := w.rankAt(t, i); ok {
			w.queue = append(w.queue, candidate{rank, i})
		}
	}
	heap.Init(&w.queue)
	for len(w.queue) > 0 {
		c := heap.Pop(&w.queue).(candidate)
		s := &w.symbols[c.at]
		if s.gone {
			continue
		}
		// The pair may have changed since it was queued. As in Hugging Face, it is
		// still joined if what is there now gives the same token.
		rank, ok := w.rankAt(t, c.at)
		if !ok || t.merges[rank].id != t.merges[c.rank].id {
			continue
		}
		right := &w.symbols[s.next]
		s.id = t.merges[c.rank].id
		right.gone = true
		s.next = right.next
		if s.next < len(w.symbols) {
			w.symbols[s.next].prev = c.at
		}
		if s.prev >= 0 {
			if rank, ok := w.rankAt(t, s.prev); ok {
				heap.Push(&w.queue, candidate{rank, s.prev})
			}
		}
		if rank, ok := w.rankAt(t, c.at); ok {
			heap.Push(&w.queue, candidate{rank, c.at})
		}
	}
}

// Table is what a BPE knows, for programs that have no tokenizer.json.
type Table struct {
	Merges [][3]int32 // left, right and what they become, the first first
	Bytes  [256]int32 // the token of each byte, -1 for none
	// Plain says that text is cut by GPT-2's pattern and by nothing else, is not normalised, and that words are made by merges.
	Plain bool
}

// Table returns the merges and how text is cut.
func (t *BPE) Table() Table {
	out := Table{Bytes: t.byteID, Plain: t.pre.words && len(t.pre.steps) == 0 && t.form == nil && !t.ignoreMerges}
	for _, m := range t.merges {
		out.Merges = append(out.Merges, [3]int32{m.left, m.right, m.id})
	}
	return out
}
