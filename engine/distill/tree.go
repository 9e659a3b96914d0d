package distill

import (
	"cmp"
	"slices"
)

// tree is a prefix tree of pieces. A node's pieces, those that begin with what leads to it, are a range of order.
type tree struct {
	order []int32 // ids by their pieces; ids without one are left out
	nodes []node
}

type node struct {
	lo, hi int32 // of order
	kids   []edge
	id     int32 // whose piece ends here, the first of equals; -1 for none
}

type edge struct {
	b  byte
	to int32
}

func newTree(pieces []string) *tree {
	t := &tree{}
	for id, p := range pieces {
		if p != "" {
			t.order = append(t.order, int32(id))
		}
	}
	slices.SortFunc(t.order, func(a, b int32) int {
		return cmp.Or(cmp.Compare(pieces[a], pieces[b]), cmp.Compare(a, b))
	})
	t.nodes = append(t.nodes, node{hi: int32(len(t.order)), id: -1})
	path := []int32{0} // nodes from the root along the piece before
	last := ""
	for i, id := range t.order {
		p, same := pieces[id], 0
		for same < min(len(p), len(last)) && p[same] == last[same] {
			same++
		}
		path = path[:same+1]
		for k := same; k < len(p); k++ {
			n := int32(len(t.nodes))
			t.nodes = append(t.nodes, node{lo: int32(i), id: -1})
			at := &t.nodes[path[k]]
			at.kids = append(at.kids, edge{p[k], n})
			path = append(path, n)
		}
		for _, n := range path {
			t.nodes[n].hi = int32(i) + 1
		}
		if end := &t.nodes[path[len(path)-1]]; end.id < 0 {
			end.id = id
		}
		last = p
	}
	return t
}

// step goes down by a byte, -1 where no piece goes on so.
func (t *tree) step(n int32, b byte) int32 {
	kids := t.nodes[n].kids
	if i, ok := slices.BinarySearchFunc(kids, b, func(e edge, b byte) int { return cmp.Compare(e.b, b) }); ok {
		return kids[i].to
	}
	return -1
}

// walk goes down by a text.
func (t *tree) walk(n int32, text string) int32 {
	for i := 0; i < len(text) && n >= 0; i++ {
		n = t.step(n, text[i])
	}
	return n
}
