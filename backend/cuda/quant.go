package cuda

import (
	"gorgonia.org/tensor"

	"mito/backend"
	"mito/backend/cuda/cudax"
	"mito/backend/internal/check"
	kernels "mito/kernels/cuda"
)

const rowsPerBlock = 4 // warps of the kernels that give a row, or an output, one warp

func (b *Backend) quantizeRows(op string, q, scale, x cudax.Address, n, k, stride int) error {
	b.begin(op, kernels.QuantizeRowsF32).Ptr(q).Ptr(scale).Ptr(x).I32(n).I32(k).I32(stride)
	return b.run(line(ceil(n, rowsPerBlock)), line(32*rowsPerBlock))
}

// QuantizeRows implements backend.Quant.
func (b *Backend) QuantizeRows(q, scale, x *tensor.Dense) error {
	n, k, err := check.QuantizeRows(b, q, scale, x)
	if err != nil {
		return err
	}
	return b.quantizeRows("QuantizeRows", at(q), at(scale), at(x), n, k, k)
}

// QLinear implements backend.Quant.
func (b *Backend) QLinear(y, xq, xscale, w, wscale, bias *tensor.Dense) error {
	n, m, k, err := check.QLinear(b, y, xq, xscale, w, wscale, bias)
	if err != nil {
		return err
	}
	const tile, fewRows = 64, 16
	if n >= fewRows && k%16 == 0 && at(xq)%16 == 0 && at(w)%16 == 0 {
		b.begin("QLinear", kernels.QLinearMMA).Ptr(at(y)).Ptr(at(xq)).Ptr(at(xscale)).Ptr(at(w)).Ptr(at(wscale)).Ptr(at(bias)).
			I32(n).I32(m).I32(k)
		return b.run(cudax.Dim{X: ceil(m, tile), Y: ceil(n, tile), Z: 1}, line(128))
	}
	words := k%4 == 0 && at(xq)%4 == 0 && at(w)%4 == 0
	return b.rowChunks(n, func(first, rows int) error {
		b.begin("QLinear", kernels.QLinearDP4A).Ptr(at(y) + cudax.Address(4*first*m)).Ptr(at(xq) + cudax.Address(first*k)).
			Ptr(at(xscale) + cudax.Address(4*first)).Ptr(at(w)).Ptr(at(wscale)).Ptr(at(bias)).I32(m).I32(k).I32(flag(words))
		return b.run(cudax.Dim{X: ceil(m, rowsPerBlock), Y: rows, Z: 1}, line(32*rowsPerBlock))
	})
}

// rowChunks calls f for as many rows at a time as a grid has in its second dimension.
func (b *Backend) rowChunks(n int, f func(first, rows int) error) error {
	const most = 65535
	for first := 0; first < n; first += most {
		if err := f(first, min(most, n-first)); err != nil {
			return err
		}
	}
	return nil
}

// QEmbed implements backend.Quant. An id outside the table gives a row of NaN.
func (b *Backend) QEmbed(y, table, scale, ids *tensor.Dense) error {
	n, c, vocab, err := check.QEmbed(b, y, table, scale, ids)
	if err != nil {
		return err
	}
	b.begin("QEmbed", kernels.QEmbedF32).Ptr(at(y)).Ptr(at(table)).Ptr(at(scale)).Ptr(at(ids)).I64(int64(n) * int64(c)).
		I32(c).I32(vocab)
	return b.elements(n * c)
}

// StudentNorm implements backend.Quant.
func (b *Backend) StudentNorm(y, x, gain, bias *tensor.Dense, kind backend.NormKind, eps float32) error {
	n, c, err := check.StudentNorm(b, y, x, gain, bias, kind)
	if err != nil {
		return err
	}
	if kind == backend.Layer {
		return b.layerNorm("StudentNorm", at(y), 0, 0, at(x), at(gain), at(bias), eps, n, c, 0)
	}
	if err := b.rmsNorm("StudentNorm", at(y), 0, at(x), at(gain), eps, n, c, 0); err != nil || bias == nil {
		return err
	}
	b.begin("StudentNorm", kernels.AddRowF32).Ptr(at(y)).Ptr(at(bias)).I64(int64(n) * int64(c)).I32(c)
	return b.elements(n * c)
}

// QSparseLinear implements backend.Sparse.
func (b *Backend) QSparseLinear(y, xq, xscale *tensor.Dense, w backend.BlockSparse, wscale, bias *tensor.Dense) error {
	n, err := check.QSparseLinear(b, y, xq, xscale, w, wscale, bias)
	if err != nil {
		return err
	}
	words := at(xq)%4 == 0 && at(w.Values)%4 == 0
	return b.rowChunks(n, func(first, rows int) error {
		b.begin("QSparseLinear", kernels.QSparseLinear).Ptr(at(y) + cudax.Address(4*first*w.M)).Ptr(at(xq) + cudax.Address(first*w.K)).
			Ptr(at(xscale) + cudax.Address(4*first)).Ptr(at(w.Values)).Ptr(at(w.Columns)).Ptr(at(w.RowPtr)).Ptr(at(wscale)).
			Ptr(at(bias)).I32(w.M).I32(w.K).I32(flag(words))
		return b.run(cudax.Dim{X: ceil(w.M/4, rowsPerBlock), Y: rows, Z: 1}, line(32*rowsPerBlock))
	})
}
