package grammar

import (
	"cmp"
	"encoding/binary"
	"slices"
	"strconv"
)

// Vocabulary is what masks need of a tokenizer. It does not change, and any number of grammars may share it.
type Vocabulary struct {
	pieces  [][]byte // [V]
	end     int32    // the token that ends a text, -1 for none
	trie    []node   // of the tokens; 0 is its root
	have    set      // bytes of tokens
	longest int      // bytes of a token
}

// NewVocabulary makes the vocabulary of the tokens with these bytes, which are kept; tokens without any are never allowed. The token end,
// -1 for none, ends a text and is no part of it.
func NewVocabulary(pieces [][]byte, end int32) *Vocabulary {
	v := &Vocabulary{pieces: pieces, end: end, trie: make([]node, 1)}
	for id, piece := range pieces {
		if len(piece) == 0 || int32(id) == end {
			continue
		}
		at := int32(0)
		for _, b := range piece {
			v.have.add(b)
			at = v.child(at, b)
		}
		v.trie[at].ids = append(v.trie[at].ids, int32(id))
		v.longest = max(v.longest, len(piece))
	}
	return v
}

func (v *Vocabulary) child(at int32, b byte) int32 {
	list := v.trie[at].children
	i, ok := slices.BinarySearchFunc(list, b, func(c child, b byte) int { return cmp.Compare(c.b, b) })
	if !ok {
		v.trie = append(v.trie, node{})
		v.trie[at].children = slices.Insert(list, i, child{b, int32(len(v.trie) - 1)})
	}
	return v.trie[at].children[i].to
}

// Bounds of what masks keep: where a grammar has more states, they are made anew.
const (
	maxStates = 1 << 14
	maxKept   = 64 << 20 // bytes of masks, about
	maxStacks = 1 << 12  // of a state: a grammar that is more ambiguous is refused where it becomes so
)

// Masks says which tokens of a vocabulary may come where. It belongs to one goroutine.
type Masks struct {
	g       *Grammar
	v       *Vocabulary
	lengths lengths

	start  *State
	states map[string]*State
	frames map[frameKey]*frame
	ids    uint64 // of the last frame
	kept   int

	visited map[frameKey]struct{}
	heads   []*frame
	key     []byte
	within  []bool // what Within returns
}

// node is a place in the trie of tokens: those that end there, and one child for each next byte.
type node struct {
	ids      []int32
	children []child
}

type child struct {
	b  byte
	to int32
}

// frame is a place in the code and what comes when its alternative has ended.
type frame struct {
	frameKey
	id    uint64
	least int32 // bytes to the end of the text
}

type frameKey struct {
	at int32
	up *frame // nil for the end of the text
}

// State is what has been read of a text. Its zero pointer is no state.
type State struct {
	heads   []*frame // each at a terminal
	accepts bool     // the text may end here
	least   int32    // bytes that the text takes to end at least
	tooMany bool     // the grammar is too ambiguous to go on
	next    *[256]*State
	mask    []bool  // [V], nil until wanted
	ids     []int32 // allowed tokens, without the end
	to      []*State
	reach   map[int]bool // whether the text can end within so many tokens
}

// dead is the state of texts that the grammar does not allow.
var dead = &State{least: infinite}

// Bind joins a grammar with a vocabulary. Errors: *VocabularyError.
func (g *Grammar) Bind(v *Vocabulary) (*Masks, error) {
	m := &Masks{g: g, v: v, visited: map[frameKey]struct{}{}, within: make([]bool, len(v.pieces))}
	m.lengths = lengths{g: g, usable: func(s *set) bool { both := s.and(&v.have); return !both.empty() }}
	m.lengths.compute()
	if m.lengths.rules[0] == infinite {
		where, wants := m.missing()
		return nil, &VocabularyError{Where: where, Wants: wants}
	}
	m.forget()
	return m, nil
}

// missing finds a terminal that keeps every text from being written.
func (m *Masks) missing() (where, wants string) {
	r := int32(0)
	for range len(m.g.rules) {
		for i := m.g.rules[r].alts[0]; m.g.code[i].kind != end; i++ {
			s := m.g.code[i]
			if s.kind == terminal && !m.lengths.usable(&m.g.sets[s.index]) {
				return m.g.places[s.place], m.g.sets[s.index].String()
			}
			if s.kind == call && m.lengths.rules[s.index] == infinite {
				r = s.index
				break
			}
		}
	}
	return "rule " + strconv.Quote(m.g.rules[r].name), "characters"
}

// forget begins anew with what is kept. States that texts stand in stay good.
func (m *Masks) forget() {
	m.states, m.frames, m.kept = map[string]*State{}, map[frameKey]*frame{}, 0
	m.heads = m.heads[:0]
	clear(m.visited)
	accepts := false
	for _, a := range m.g.rules[0].alts {
		accepts = m.push(a, nil) || accepts
	}
	m.start = m.intern(accepts)
}

// Start is the state before the first token.
func (m *Masks) Start() *State {
	if len(m.states) > maxStates || m.kept > maxKept {
		m.forget()
	}
	return m.start
}

func (m *Masks) frame(at int32, up *frame) *frame {
	k := frameKey{at, up}
	f, ok := m.frames[k]
	if !ok {
		m.ids++
		f = &frame{frameKey: k, id: m.ids, least: m.lengths.code[at]}
		if up != nil {
			f.least = plus(f.least, up.least)
		}
		m.frames[k] = f
	}
	return f
}

// push collects the terminals that may come at a place, and says whether nothing more need come.
func (m *Masks) push(at int32, up *frame) (accepts bool) {
	if m.lengths.code[at] == infinite || len(m.heads) > maxStacks {
		return false
	}
	k := frameKey{at, up}
	if _, ok := m.visited[k]; ok {
		return false
	}
	m.visited[k] = struct{}{}
	switch s := m.g.code[at]; s.kind {
	case end:
		if up == nil {
			return true
		}
		return m.push(up.at, up.up)
	case terminal:
		m.heads = append(m.heads, m.frame(at, up))
	case call:
		if m.g.code[at+1].kind != end { // else nothing is left to come back to
			up = m.frame(at+1, up)
		}
		for _, a := range m.g.rules[s.index].alts {
			accepts = m.push(a, up) || accepts
		}
	}
	return accepts
}

// intern gives the state of the collected heads.
func (m *Masks) intern(accepts bool) *State {
	if len(m.heads) == 0 && !accepts {
		return dead
	}
	slices.SortFunc(m.heads, func(a, b *frame) int { return cmp.Compare(a.id, b.id) })
	m.key = m.key[:0]
	if accepts {
		m.key = append(m.key, 1)
	}
	for _, f := range m.heads {
		m.key = binary.LittleEndian.AppendUint64(m.key, f.id)
	}
	if s, ok := m.states[string(m.key)]; ok {
		return s
	}
	s := &State{accepts: accepts, least: infinite}
	if s.tooMany = len(m.heads) > maxStacks; !s.tooMany {
		s.heads = slices.Clone(m.heads)
	}
	if accepts {
		s.least = 0
	}
	for _, f := range s.heads {
		s.least = min(s.least, f.least)
	}
	m.states[string(m.key)] = s
	m.kept += 200 + 8*len(s.heads)
	return s
}

// step reads a byte.
func (m *Masks) step(s *State, b byte) *State {
	if s.next == nil {
		if len(s.heads) == 0 {
			return dead
		}
		s.next = new([256]*State)
		m.kept += 8 * len(s.next)
	}
	if s.next[b] == nil {
		m.heads = m.heads[:0]
		clear(m.visited)
		accepts := false
		for _, f := range s.heads {
			if m.g.sets[m.g.code[f.at].index].has(b) {
				accepts = m.push(f.at+1, f.up) || accepts
			}
		}
		s.next[b] = m.intern(accepts)
	}
	return s.next[b]
}

// fill finds the tokens that may come after a state.
func (m *Masks) fill(s *State) {
	if s.mask != nil {
		return
	}
	s.mask = make([]bool, len(m.v.pieces))
	m.walk(s, s, 0)
	if s.accepts && m.v.end >= 0 {
		s.mask[m.v.end] = true
	}
	m.kept += len(s.mask) + 12*len(s.ids)
}

func (m *Masks) walk(from, s *State, at int32) {
	for _, c := range m.v.trie[at].children {
		next := m.step(s, c.b)
		if next == dead {
			continue
		}
		for _, id := range m.v.trie[c.to].ids {
			from.mask[id] = true
			from.ids, from.to = append(from.ids, id), append(from.to, next)
		}
		m.walk(from, next, c.to)
	}
}

// Accepts says that the text may end at a state.
func (m *Masks) Accepts(s *State) bool { return s.accepts }

// Ended says that the text is whole and must end: no token continues it so that it can end well within left more; below 0 is any
// number. Where a token ends texts, that may come as long as there are others.
func (m *Masks) Ended(s *State, left int) bool {
	if !s.accepts {
		return false
	}
	m.fill(s)
	return len(s.ids) == 0 || m.v.end < 0 && left >= 0 && !slices.ContainsFunc(s.to, func(to *State) bool { return m.ends(to, left-1) })
}

// Next is the state after a token, nil where the grammar does not allow it. The token that ends texts changes nothing.
func (m *Masks) Next(s *State, id int32) *State {
	if id == m.v.end {
		if !s.accepts {
			return nil
		}
		return s
	}
	if id < 0 || int(id) >= len(m.v.pieces) || len(m.v.pieces[id]) == 0 {
		return nil
	}
	for _, b := range m.v.pieces[id] {
		if s = m.step(s, b); s == dead {
			return nil
		}
	}
	return s
}

// Append appends the bytes of a token, none for the one that ends texts.
func (m *Masks) Append(text []byte, id int32) []byte {
	if id == m.v.end {
		return text
	}
	return append(text, m.v.pieces[id]...)
}

// Within returns a mask of the tokens that may come where a text may have left more tokens, this one among them; below 0 is any
// number. A token is allowed if the text can still end well after it. The slice is valid until the next call. Errors:
// *DeadEndError without After where no token may come and the text may not end; *LengthError where left is too little for
// any.
func (m *Masks) Within(s *State, left int) ([]bool, error) {
	m.fill(s)
	if len(s.ids) == 0 && !s.accepts {
		return nil, m.deadEnd(s)
	}
	if left < 0 {
		return s.mask, nil
	}
	all := true
	for _, to := range s.to {
		if all = int(to.least) < left; !all {
			break
		}
	}
	if all {
		return s.mask, nil
	}
	clear(m.within)
	any := false
	if s.accepts && m.v.end >= 0 {
		m.within[m.v.end], any = true, true
	}
	for i, id := range s.ids {
		if m.ends(s.to[i], left-1) {
			m.within[id], any = true, true
		}
	}
	if !any && !s.accepts {
		return nil, &LengthError{Tokens: left, Bytes: int(s.least)}
	}
	return m.within, nil
}

// ends says that a text can end within so many tokens. As many as it has bytes are enough: tokenizers have a token for each byte, or
// for each character.
func (m *Masks) ends(s *State, tokens int) bool {
	switch {
	case int(s.least) <= tokens:
		return true
	case tokens <= 0 || int64(s.least) > int64(tokens)*int64(m.v.longest):
		return false
	}
	if yes, ok := s.reach[tokens]; ok {
		return yes
	}
	if s.reach == nil {
		s.reach = map[int]bool{}
	}
	s.reach[tokens] = false // a way that comes back here is no shorter one
	m.fill(s)
	yes := slices.ContainsFunc(s.to, func(to *State) bool { return m.ends(to, tokens-1) })
	s.reach[tokens] = yes
	return yes
}

// deadEnd describes what the grammar wants at a state.
func (m *Masks) deadEnd(s *State) error {
	if s.tooMany {
		return &DeadEndError{Wants: "more than " + strconv.Itoa(maxStacks) + " things at once", Where: "it is too ambiguous there"}
	}
	var wants set
	where := ""
	for _, f := range s.heads {
		t := m.g.code[f.at]
		for i, w := range m.g.sets[t.index] {
			wants[i] |= w
		}
		if where == "" {
			where = m.g.places[t.place]
		}
	}
	return &DeadEndError{Wants: wants.String(), Where: where}
}

// Check refuses a grammar whose shortest text takes more tokens than there may be. Errors: *LengthError.
func (m *Masks) Check(tokens int) error {
	if s := m.Start(); tokens >= 0 && !m.ends(s, tokens) {
		return &LengthError{Tokens: tokens, Bytes: int(s.least)}
	}
	return nil
}
