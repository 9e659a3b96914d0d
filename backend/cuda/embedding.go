package cuda

import (
	"gorgonia.org/tensor"

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

// EmbedBackward implements backend.Embedding. The rows are cut into shares so that there is a block for every
// processor also where the vocabulary is small; the shares' sums are added in order.
func (b *Backend) EmbedBackward(dtable, dy, ids *tensor.Dense) error {
	n, c, vocab, err := check.Embed(b, "EmbedBackward", dy, dtable, ids)
	if err != nil {
		return err
	}
	const most, least = 64, 64 // shares, and rows of one
	shares := max(1, min(16*b.card.processors/vocab, most, n/least, int(b.work.room()/(4*int64(vocab)*int64(c)))))
	each := ceil(ceil(n, shares), 32) * 32
	shares = ceil(n, each)
	var partial cudax.Address
	if shares > 1 {
		if partial, err = b.work.take("EmbedBackward", int64(shares)*int64(vocab)*int64(c)*4); err != nil {
			return err
		}
	}
	b.begin("EmbedBackward", kernels.EmbedBackwardF32).Ptr(at(dtable)).Ptr(partial).Ptr(at(dy)).Ptr(at(ids)).
		I32(n).I32(c).I32(vocab).I32(each)
	if err := b.run(cudax.Dim{X: vocab, Y: shares, Z: 1}, line(min(256, ceil(c, 32)*32))); err != nil || shares == 1 {
		return err
	}
	return b.addPartials("EmbedBackward", at(dtable), partial, shares, vocab*c, vocab*c)
}

// RoPE implements backend.Embedding. A position outside the tables gives NaN.
func (b *Backend) RoPE(x, positions, cos, sin *tensor.Dense, inverse bool) error {
	n, heads, d, limit, err := check.RoPE(b, x, positions, cos, sin)
	if err != nil {
		return err
	}
	b.begin("RoPE", kernels.RoPEF32).Ptr(at(x)).Ptr(at(positions)).Ptr(at(cos)).Ptr(at(sin)).
		I32(n).I32(heads).I32(d / 2).I32(limit).I32(flag(inverse))
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
