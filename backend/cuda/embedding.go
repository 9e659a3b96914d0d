package cuda

import (
	"gorgonia.org/tensor"

	"mito/backend"
	"mito/backend/cuda/cudax"
	"mito/backend/internal/check"
	kernels "mito/kernels/cuda"
)

// Embed implements backend.Embedding. An id outside the table gives a row of NaN.
func (b *Backend) Embed(dst, table, ids *tensor.Dense, accumulate bool) error {
	n, c, vocab, err := check.Embed(b, "Embed", dst, table, ids)
	if err != nil {
		return err
	}
	b.begin("Embed", kernels.EmbedF32).Ptr(at(dst)).Ptr(at(table)).Ptr(at(ids)).I64(int64(n) * int64(c)).
		I32(c).I32(vocab).I32(flag(accumulate))
	return b.elements(n * c)
}

// embedSortRounds is how many bytes of an id embed_sort_i32 sorts by: as many as the number vocab needs, which stands for what is no
// id.
func embedSortRounds(vocab int) int {
	rounds := 1
	for rounds < 4 && vocab>>(8*rounds) != 0 {
		rounds++
	}
	return rounds
}

// EmbedBackward implements backend.Embedding. The rows are sorted by their ids. Those of one id are cut into shares so that there is
// a block for every processor also where the vocabulary is small; the shares' sums are added in order.
func (b *Backend) EmbedBackward(dtable, dy, ids *tensor.Dense) error {
	const op = "EmbedBackward"
	n, c, vocab, err := check.Embed(b, op, dy, dtable, ids)
	if err != nil {
		return err
	}
	lists := backend.Align(4 * int64(2*n+vocab+1)) // order, scratch, bounds
	const most, least = 64, 64                     // shares, and rows of one
	room := b.work.room() - lists
	shares := max(1, min(16*b.card.processors/vocab, most, n/least, int(room/(4*int64(vocab)*int64(c)))))
	bytes := lists
	if shares > 1 {
		bytes += int64(shares) * int64(vocab) * int64(c) * 4
	}
	order, err := b.work.take(op, bytes)
	if err != nil {
		return err
	}
	spare, bounds := order+cudax.Address(4*n), order+cudax.Address(8*n)
	partial := order + cudax.Address(lists)
	b.begin(op, kernels.EmbedSortI32).Ptr(order).Ptr(spare).Ptr(bounds).Ptr(at(ids)).I32(n).I32(vocab)
	if err := b.run(line(1), line(1024)); err != nil {
		return err
	}
	b.begin(op, kernels.EmbedBackwardF32).Ptr(at(dtable)).Ptr(partial).Ptr(at(dy)).Ptr(order).Ptr(bounds).I32(n).I32(c).I32(vocab)
	if err := b.run(cudax.Dim{X: vocab, Y: shares, Z: 1}, line(min(256, ceil(c, 32)*32))); err != nil || shares == 1 {
		return err
	}
	return b.addPartials(op, at(dtable), partial, shares, vocab*c, vocab*c)
}

// RoPE implements backend.Embedding. A position outside the tables gives NaN.
func (b *Backend) RoPE(x, positions, cos, sin *tensor.Dense, inverse bool) error {
	n, heads, d, limit, err := check.RoPE(b, x, positions, cos, sin)
	if err != nil {
		return err
	}
	b.begin("RoPE", kernels.RoPEF32).Ptr(at(x)).Ptr(at(positions)).Ptr(at(cos)).Ptr(at(sin)).
		I32(n).I32(heads).I32(d / 2).I32(limit).I32(flag(inverse)).I32(flag(half(x)))
	return b.elements(n * heads * d / 2)
}

// GatherRows implements backend.Gatherer.
func (b *Backend) GatherRows(inputs, targets, tokens, starts *tensor.Dense) error {
	rows, time, length, err := check.GatherRows(b, inputs, targets, tokens, starts)
	if err != nil {
		return err
	}
	b.begin("GatherRows", kernels.GatherRowsI32).Ptr(at(inputs)).Ptr(at(targets)).Ptr(at(tokens)).Ptr(at(starts)).
		I64(int64(rows) * int64(time)).I32(time).I32(length)
	return b.elements(rows * time)
}
