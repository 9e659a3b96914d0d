package student

import "mito/kernels/attn"

// cache holds the key/value pages of a session. A page covers the same positions in all layers and may belong to several
// sequences (after Fork); it is copied when one of them writes into it.
type cache struct {
	shapes []*attn.DecodeShape // by layer
	size   int                 // positions in a page
	pages  [][]attn.PageQS8    // [layer][page]
	refs   []int32             // sequences that hold the page
	free   []int32
	tables [][]int32 // [sequence] pages in the order of positions
	length []int     // [sequence] positions
}

func newCache(m *Model, batch int) cache {
	c := cache{size: m.page, tables: make([][]int32, batch), length: make([]int, batch), pages: make([][]attn.PageQS8, len(m.layers))}
	for i := range m.layers {
		c.shapes = append(c.shapes, &m.layers[i].shape)
	}
	perSeq := (m.cfg.Context + m.page - 1) / m.page
	for i := range c.tables {
		c.tables[i] = make([]int32, 0, perSeq)
	}
	// A few sequences get all that they can need at once; a large batch grows, since its prompts are often short.
	c.grow(min(batch*perSeq, max(perSeq, 64)))
	return c
}

func (c *cache) grow(n int) {
	have := len(c.refs)
	for l := range c.pages {
		c.pages[l] = append(c.pages[l], attn.NewPagesQS8(n, c.shapes[l])...)
	}
	c.refs = append(c.refs, make([]int32, n)...)
	for i := n - 1; i >= 0; i-- {
		c.free = append(c.free, int32(have+i))
	}
}

func (c *cache) take() int32 {
	if len(c.free) == 0 {
		c.grow(max(1, len(c.refs)/2))
	}
	id := c.free[len(c.free)-1]
	c.free = c.free[:len(c.free)-1]
	c.refs[id] = 1
	return id
}

func (c *cache) drop(id int32) {
	if c.refs[id]--; c.refs[id] == 0 {
		c.free = append(c.free, id)
	}
}

// extend makes room for n more positions of a sequence and returns the first of them.
func (c *cache) extend(seq, n int) int {
	first := c.length[seq]
	t := c.tables[seq]
	if at := first / c.size; n > 0 && first%c.size != 0 && c.refs[t[at]] > 1 {
		// The last page is shared and about to be written.
		id := c.take()
		for l := range c.pages {
			c.pages[l][id].CopyFrom(&c.pages[l][t[at]])
		}
		c.refs[t[at]]--
		t[at] = id
	}
	c.length[seq] += n
	for len(t)*c.size < c.length[seq] {
		t = append(t, c.take())
	}
	c.tables[seq] = t
	return first
}

// truncate forgets the positions from n on.
func (c *cache) truncate(seq, n int) {
	t := c.tables[seq]
	keep := (n + c.size - 1) / c.size
	for _, id := range t[keep:] {
		c.drop(id)
	}
	c.tables[seq] = t[:keep]
	c.length[seq] = n
}

// fork makes dst share everything that src holds.
func (c *cache) fork(dst, src int) {
	c.truncate(dst, 0)
	c.tables[dst] = append(c.tables[dst], c.tables[src]...)
	for _, id := range c.tables[src] {
		c.refs[id]++
	}
	c.length[dst] = c.length[src]
}

// bytes returns the memory of all pages.
func (c *cache) bytes() int {
	n := 0
	for l := range c.pages {
		for i := range c.pages[l] {
			n += c.pages[l][i].Bytes()
		}
	}
	return n
}
