package session

// Pages makes and copies pages of keys and values.
type Pages[P any] struct {
	Layers int
	Size   int                    // positions in a page
	Window int                    // positions that a row looks at, itself among them, in every layer; 0 for all
	Make   func(layer, n int) []P // n empty pages of a layer
	Copy   func(dst, src *P)      // makes dst a copy of src, of the same layer
	Bytes  func(p *P) int
}

// Cache holds the key/value pages of a session. A page covers the same positions in all layers and may belong to several
// sequences (after Fork); it is copied when one of them writes into it. What lies behind the last position of a sequence is
// stale. Pages that no later row can look at, for they lie before its window, are given up as the sequence grows.
type Cache[P any] struct {
	kind   Pages[P]
	pages  [][]P   // [layer][page]
	refs   []int32 // [page] sequences that hold it
	free   []int32
	tables [][]int32 // [sequence] pages in the order of positions, evicted for those that were given up
	length []int     // [sequence] positions
}

// evicted stands in tables for pages that were given up.
const evicted = -1

// PagesOf is the number of pages that a sequence of so many tokens holds at most, given up ones apart; window is that of Pages.
func PagesOf(tokens, size, window int) int {
	if window > 0 {
		tokens = min(tokens, window+2*(size-1)+1) // it begins and ends inside a page, and the last call appended one
	}
	return (tokens + size - 1) / size
}

// madeAtOnce is the number of pages that a session starts with at most: short contexts never wait for memory, long ones
// take it as their sequences grow.
const madeAtOnce = 64

func newCache[P any](kind Pages[P], context, batch int) Cache[P] {
	c := Cache[P]{kind: kind, tables: make([][]int32, batch), length: make([]int, batch), pages: make([][]P, kind.Layers)}
	perSeq := (context + kind.Size - 1) / kind.Size
	for i := range c.tables {
		c.tables[i] = make([]int32, 0, min(perSeq, madeAtOnce))
	}
	c.grow(min(madeAtOnce, batch*min(perSeq, madeAtOnce)))
	return c
}

// Size is the number of positions in a page.
func (c *Cache[P]) Size() int { return c.kind.Size }

// Layer returns all pages of a layer; Table those of a sequence in the order of positions, as indices of Layer. Position p of
// sequence s is slot p%Size of Layer(l)[Table(s)[p/Size]]. Pages before the window of the rows under way have the index -1.
func (c *Cache[P]) Layer(l int) []P       { return c.pages[l] }
func (c *Cache[P]) Table(seq int) []int32 { return c.tables[seq] }

func (c *Cache[P]) grow(n int) {
	have := len(c.refs)
	for l := range c.pages {
		c.pages[l] = append(c.pages[l], c.kind.Make(l, n)...)
	}
	c.refs = append(c.refs, make([]int32, n)...)
	for i := n - 1; i >= 0; i-- {
		c.free = append(c.free, int32(have+i))
	}
}

func (c *Cache[P]) take() int32 {
	if len(c.free) == 0 {
		c.grow(max(1, len(c.refs)/2))
	}
	id := c.free[len(c.free)-1]
	c.free = c.free[:len(c.free)-1]
	c.refs[id] = 1
	return id
}

func (c *Cache[P]) drop(id int32) {
	if c.refs[id]--; c.refs[id] == 0 {
		c.free = append(c.free, id)
	}
}

// extend makes room for n more positions of a sequence and returns the first of them.
func (c *Cache[P]) extend(seq, n int) int {
	first, size := c.length[seq], c.kind.Size
	t := c.tables[seq]
	if at := first / size; n > 0 && first%size != 0 && c.refs[t[at]] > 1 {
		// The last page is shared and about to be written.
		id := c.take()
		for l := range c.pages {
			c.kind.Copy(&c.pages[l][id], &c.pages[l][t[at]])
		}
		c.refs[t[at]]--
		t[at] = id
	}
	c.length[seq] += n
	c.evict(t, first)
	for len(t)*size < c.length[seq] {
		t = append(t, c.take())
	}
	c.tables[seq] = t
	return first
}

// evict gives up the pages before the window of a row at position first. Those before the first that is given up are gone
// already.
func (c *Cache[P]) evict(t []int32, first int) {
	if c.kind.Window < 1 {
		return
	}
	for i := (first+1-c.kind.Window)/c.kind.Size - 1; i >= 0 && t[i] != evicted; i-- {
		c.drop(t[i])
		t[i] = evicted
	}
}

// reaches says that a sequence still has all pages that a row at position n looks at.
func (c *Cache[P]) reaches(seq, n int) bool {
	if c.kind.Window < 1 || n == 0 {
		return true
	}
	at := max(0, n+1-c.kind.Window) / c.kind.Size
	return at >= len(c.tables[seq]) || c.tables[seq][at] != evicted
}

// truncate forgets the positions from n on.
func (c *Cache[P]) truncate(seq, n int) {
	t := c.tables[seq]
	keep := (n + c.kind.Size - 1) / c.kind.Size
	for _, id := range t[keep:] {
		if id != evicted {
			c.drop(id)
		}
	}
	c.tables[seq] = t[:keep]
	c.length[seq] = n
}

// fork makes dst share everything that src holds.
func (c *Cache[P]) fork(dst, src int) {
	c.truncate(dst, 0)
	c.tables[dst] = append(c.tables[dst], c.tables[src]...)
	for _, id := range c.tables[src] {
		if id != evicted {
			c.refs[id]++
		}
	}
	c.length[dst] = c.length[src]
}

// bytes returns the memory of all pages.
func (c *Cache[P]) bytes() int {
	n := 0
	for l := range c.pages {
		for i := range c.pages[l] {
			n += c.kind.Bytes(&c.pages[l][i])
		}
	}
	return n
}

// held returns the memory of the pages of a sequence, a share of those of several.
func (c *Cache[P]) held(seq int) int {
	n := 0
	for _, id := range c.tables[seq] {
		if id == evicted {
			continue
		}
		page := 0
		for l := range c.pages {
			page += c.kind.Bytes(&c.pages[l][id])
		}
		n += page / int(c.refs[id])
	}
	return n
}

// count returns how many pages sequences hold, and how many there are.
func (c *Cache[P]) count() (held, made int) { return len(c.refs) - len(c.free), len(c.refs) }
