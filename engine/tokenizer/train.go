package tokenizer

import (
	"container/heap"
	"fmt"
	"slices"
)

// minPairCount is how often a pair must occur to become a token: one that
// occurs once saves nothing on any other text.
const minPairCount = 2

// maxVocab keeps ids well inside int32.
const maxVocab = 1 << 24

// TrainBPE learns a byte-level BPE from text (Sennrich et al.,
// arXiv:1508.07909): starting from the 256 bytes it joins the most frequent
// adjacent pair inside the words of GPT-2's pattern until the vocabulary,
// special tokens included, has vocab ids. Of equally frequent pairs the one
// with the smaller ids is taken, so the result depends on nothing but the
// arguments, and equals that of Hugging Face's trainer.
//
// Ids are the 256 bytes in GPT-2's order, then the merges, then the special
// tokens. VocabSize is smaller than vocab if no pair is left that occurs twice.
// It fails with *ArgError if vocab has no room for the bytes and the special
// tokens or text is empty, and with *EncodingError.
func TrainBPE(text string, vocab int, specials ...string) (*BPE, error) {
	if err := checkUTF8(text); err != nil {
		return nil, err
	}
	if text == "" {
		return nil, &ArgError{"text", "empty: there is nothing to learn from"}
	}
	if least := 256 + len(specials); vocab < least || vocab > maxVocab {
		return nil, &ArgError{"vocab", fmt.Sprintf("%d tokens asked for, from %d (256 bytes and %d special tokens) to %d are possible",
			vocab, least, len(specials), maxVocab)}
	}
	// Only their texts matter while learning; the ids follow when the number of
	// merges is known.
	skip, err := specialTokens(specials, 0)
	if err != nil {
		return nil, err
	}
	pre := preTokenizer{words: true}
	tr := newTrainer(text, skip, pre)
	tr.learn(vocab - len(specials))

	added, err := specialTokens(specials, len(tr.pieces))
	if err != nil {
		return nil, err
	}
	own := make([]bool, len(tr.pieces)+len(added))
	for i := range tr.pieces {
		own[i] = true
	}
	for _, t := range added {
		// The file spells bytes as characters: there the two would be one entry.
		if raw, ok := fromByteChars(t.content); ok {
			if _, taken := tr.ids[raw]; taken {
				return nil, &ArgError{"special token", fmt.Sprintf("%q is already a token learned from the text", t.content)}
			}
		}
		tr.pieces = append(tr.pieces, t.content)
	}
	return newBPE(tr.pieces, own, tr.merges, added, template{}, nil, pre, false), nil
}

// trainWord is a distinct word of the text.
type trainWord struct {
	symbols []int32
	count   int64
}

type pairStats struct {
	count int64
	words []int32 // where it has occurred, possibly twice or no longer
}

type trainer struct {
	pieces []string
	ids    map[string]int32
	merges []merge
	joined map[pair]bool
	words  []trainWord
	pairs  map[pair]*pairStats
	queue  pairQueue
}

func newTrainer(text string, skip addedTokens, pre preTokenizer) *trainer {
	tr := &trainer{ids: map[string]int32{}, joined: map[pair]bool{}, pairs: map[pair]*pairStats{}}
	var byteID [256]int32
	for id, b := range byteOrder {
		tr.add(string([]byte{b}))
		byteID[b] = int32(id)
	}
	counts := map[string]int64{}
	// Neither callback fails, so neither does the walk.
	_ = skip.split(text, nil, func(part string, _ int) error {
		return pre.each(part, func(word string, _ int) error {
			counts[word]++
			return nil
		})
	}, func(int32) {})
	for word, count := range counts {
		symbols := make([]int32, len(word))
		for i := range symbols {
			symbols[i] = byteID[word[i]]
		}
		tr.words = append(tr.words, trainWord{symbols, count})
	}
	for w := range tr.words {
		tr.count(int32(w), +1, func(pair) bool { return true })
	}
	for p, s := range tr.pairs {
		tr.queue = append(tr.queue, queued{p, s.count})
	}
	heap.Init(&tr.queue)
	return tr
}

func (tr *trainer) add(piece string) int32 {
	id := int32(len(tr.pieces))
	tr.pieces = append(tr.pieces, piece)
	tr.ids[piece] = id
	return id
}

// count adds the pairs of word w to the statistics, or takes them away, and
// enters w in the lists of those pairs for which list is true.
func (tr *trainer) count(w int32, sign int64, list func(pair) bool) {
	word := &tr.words[w]
	for i := 1; i < len(word.symbols); i++ {
		p := pair{word.symbols[i-1], word.symbols[i]}
		s := tr.pairs[p]
		if s == nil {
			s = &pairStats{}
			tr.pairs[p] = s
		}
		s.count += sign * word.count
		if sign > 0 && list(p) && (len(s.words) == 0 || s.words[len(s.words)-1] != w) {
			s.words = append(s.words, w)
		}
	}
}

// learn merges until there are limit pieces or no pair is frequent enough.
func (tr *trainer) learn(limit int) {
	for len(tr.pieces) < limit && len(tr.queue) > 0 {
		top := heap.Pop(&tr.queue).(queued)
		stats := tr.pairs[top.pair]
		if stats == nil {
			continue
		}
		if top.count != stats.count {
			// Counts only fall while a pair is queued: look again in its new place.
			if stats.count > 0 {
				heap.Push(&tr.queue, queued{top.pair, stats.count})
			}
			continue
		}
		if top.count < minPairCount {
			return
		}
		tr.join(top.pair, stats)
	}
}

func (tr *trainer) join(p pair, stats *pairStats) {
	piece := tr.pieces[p.left] + tr.pieces[p.right]
	id, known := tr.ids[piece] // two ways to the same bytes are one token
	if !known {
		id = tr.add(piece)
	}
	// A token with two derivations can bring a joined pair back; its place in the
	// list is the first one.
	if !tr.joined[p] {
		tr.joined[p] = true
		tr.merges = append(tr.merges, merge{p, id})
	}

	fresh := map[pair]bool{}
	hasNew := func(q pair) bool {
		if q.left == id || q.right == id {
			fresh[q] = true
			return true
		}
		return false
	}
	words := stats.words
	stats.words = nil
	slices.Sort(words)
	for _, w := range slices.Compact(words) {
		tr.count(w, -1, nil)
		tr.words[w].symbols = replace(tr.words[w].symbols, p, id)
		tr.count(w, +1, hasNew)
	}
	for q := range fresh {
		if c := tr.pairs[q].count; c > 0 {
			heap.Push(&tr.queue, queued{q, c})
		}
	}
	if len(tr.pairs[p].words) == 0 {
		delete(tr.pairs, p)
	}
}

// replace joins each p in symbols, from the left, in place.
func replace(symbols []int32, p pair, id int32) []int32 {
	out := symbols[:0]
	for i := 0; i < len(symbols); i++ {
		if i+1 < len(symbols) && symbols[i] == p.left && symbols[i+1] == p.right {
			out = append(out, id)
			i++
			continue
		}
		out = append(out, symbols[i])
	}
	return out
}

type queued struct {
	pair
	count int64
}

// pairQueue is a heap: the most frequent pair first, then the smaller ids.
type pairQueue []queued

func (q pairQueue) Len() int { return len(q) }
func (q pairQueue) Less(i, j int) bool {
	a, b := q[i], q[j]
	if a.count != b.count {
		return a.count > b.count
	}
	return a.left < b.left || a.left == b.left && a.right < b.right
}
func (q pairQueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *pairQueue) Push(x any)   { *q = append(*q, x.(queued)) }
func (q *pairQueue) Pop() any {
	last := (*q)[len(*q)-1]
	*q = (*q)[:len(*q)-1]
	return last
}
