package check

import (
	"gorgonia.org/tensor"

	"mito/backend"
)

// QuantizeRows checks QuantizeRows.
func QuantizeRows(b tensor.Engine, q, scale, x *tensor.Dense) (n, k int, err error) {
	c := checker{owner: b, op: "QuantizeRows"}
	n, k = c.rows("x", x)
	c.matrix("q", q, backend.I8, n, k)
	c.vector("scale", scale, backend.F32, n)
	return n, k, c.err
}

// QLinear checks QLinear and returns the rows, outputs and inputs.
func QLinear(b tensor.Engine, y, xq, xscale, w, wscale, bias *tensor.Dense) (n, m, k int, err error) {
	c := checker{owner: b, op: "QLinear"}
	if c.is("w", w, backend.I8) {
		m, k = backend.Rows(w)
	}
	n = c.qrows(y, xq, xscale, wscale, bias, m, k)
	return n, m, k, c.err
}

func (c *checker) qrows(y, xq, xscale, wscale, bias *tensor.Dense, m, k int) (n int) {
	if c.is("xq", xq, backend.I8) {
		n, _ = backend.Rows(xq)
	}
	c.matrix("xq", xq, backend.I8, n, k)
	c.vector("xscale", xscale, backend.F32, n)
	c.matrix("y", y, backend.F32, n, m)
	c.vector("wscale", wscale, backend.F32, m)
	c.optional("bias", bias, backend.F32, m)
	return n
}

// QEmbed checks QEmbed.
func QEmbed(b tensor.Engine, y, table, scale, ids *tensor.Dense) (n, cols, vocab int, err error) {
	c := checker{owner: b, op: "QEmbed"}
	if c.is("table", table, backend.I8) {
		vocab, cols = backend.Rows(table)
	}
	if c.is("ids", ids, backend.I32) {
		n = ids.Shape().TotalSize()
	}
	c.vector("scale", scale, backend.F32, vocab)
	c.matrix("y", y, backend.F32, n, cols)
	return n, cols, vocab, c.err
}

// StudentNorm checks StudentNorm.
func StudentNorm(b tensor.Engine, y, x, gain, bias *tensor.Dense, kind backend.NormKind) (n, cols int, err error) {
	c := checker{owner: b, op: "StudentNorm"}
	n, cols = c.rows("x", x)
	c.matrix("y", y, backend.F32, n, cols)
	c.vector("gain", gain, backend.F32, cols)
	c.optional("bias", bias, backend.F32, cols)
	that(&c, kind == backend.RMS || kind == backend.Layer, "kind", int(kind), "RMS or Layer")
	return n, cols, c.err
}

// QSparseLinear checks QSparseLinear and returns the rows.
func QSparseLinear(b tensor.Engine, y, xq, xscale *tensor.Dense, w backend.BlockSparse, wscale, bias *tensor.Dense) (n int, err error) {
	c := checker{owner: b, op: "QSparseLinear"}
	that(&c, w.M > 0 && w.M%4 == 0, "w.M", w.M, "a positive multiple of 4")
	that(&c, w.K > 0 && w.K%8 == 0, "w.K", w.K, "a positive multiple of 8")
	blocks := 0
	if c.is("w.Columns", w.Columns, backend.I32) {
		blocks = w.Columns.Shape().TotalSize()
	}
	c.vector("w.Values", w.Values, backend.I8, blocks*32)
	c.vector("w.RowPtr", w.RowPtr, backend.I32, w.M/4+1)
	n = c.qrows(y, xq, xscale, wscale, bias, w.M, w.K)
	return n, c.err
}
