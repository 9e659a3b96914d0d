package cpu

import (
	"gorgonia.org/tensor"

	"mito/backend/internal/check"
	"mito/kernels/vec"
)

// embeddingTasks are those of this file.
type embeddingTasks struct {
	embed     embedTask
	embedBack embedBackTask
	rope      ropeTask
}

// Embed implements backend.Embedding.
func (b *Backend) Embed(dst, table, ids *tensor.Dense, accumulate bool) error {
	n, c, vocab, err := check.Embed(b, "Embed", dst, table, ids)
	if err == nil {
		err = check.IDs("Embed", i32(ids), vocab)
	}
	if err != nil {
		return err
	}
	b.tasks.embed = embedTask{dst: f32(dst), table: f32(table), ids: i32(ids), c: c, accumulate: accumulate}
	b.pool.Run(n, grainRows(c), &b.tasks.embed)
	return nil
}

type embedTask struct {
	dst, table []float32
	ids        []int32
	c          int
	accumulate bool
}

func (t *embedTask) Do(lo, hi int) {
	for r := lo; r < hi; r++ {
		dst, row := t.dst[r*t.c:][:t.c], t.table[int(t.ids[r])*t.c:][:t.c]
		if t.accumulate {
			vec.Add(dst, dst, row)
		} else {
			copy(dst, row)
		}
	}
}

// EmbedBackward implements backend.Embedding. Threads take columns, so that every row of the table is summed in
// the order of the tokens.
func (b *Backend) EmbedBackward(dtable, dy, ids *tensor.Dense) error {
	n, c, vocab, err := check.Embed(b, "EmbedBackward", dy, dtable, ids)
	if err == nil {
		err = check.IDs("EmbedBackward", i32(ids), vocab)
	}
	if err != nil {
		return err
	}
	b.tasks.embedBack = embedBackTask{dtable: f32(dtable), dy: f32(dy), ids: i32(ids), n: n, c: c}
	b.pool.Run(c, b.grainCols(c), &b.tasks.embedBack)
	return nil
}

type embedBackTask struct {
	dtable, dy []float32
	ids        []int32
	n, c       int
}

func (t *embedBackTask) Do(lo, hi int) {
	for r := range t.n {
		row := t.dtable[int(t.ids[r])*t.c:][lo:hi]
		vec.Add(row, row, t.dy[r*t.c+lo:r*t.c+hi])
	}
}

// RoPE implements backend.Embedding.
func (b *Backend) RoPE(x, positions, cos, sin *tensor.Dense, inverse bool) error {
	n, heads, d, limit, err := check.RoPE(b, x, positions, cos, sin)
	if err == nil {
		err = check.IDs("RoPE", i32(positions), limit)
	}
	if err != nil {
		return err
	}
	b.tasks.rope = ropeTask{
		x: f32(x), cos: f32(cos), sin: f32(sin), positions: i32(positions), heads: heads, d: d, inverse: inverse,
	}
	b.pool.Run(n, grainRows(heads*d), &b.tasks.rope)
	return nil
}

type ropeTask struct {
	x, cos, sin []float32
	positions   []int32
	heads, d    int
	inverse     bool
}

func (t *ropeTask) Do(lo, hi int) {
	half := t.d / 2
	for r := lo; r < hi; r++ {
		at := int(t.positions[r]) * half
		cos, sin := t.cos[at:][:half], t.sin[at:][:half]
		for h := range t.heads {
			vec.RoPE(t.x[(r*t.heads+h)*t.d:][:t.d], cos, sin, t.inverse)
		}
	}
}
