package backend

import "gorgonia.org/tensor"

// CheckQuantizeRows checks QuantizeRows.
func CheckQuantizeRows(b tensor.Engine, q, scale, x *tensor.Dense) (n, k int, err error) {
	c := checker{owner: b, op: "QuantizeRows"}
	n, k = c.rows("x", x)
	c.matrix("q", q, I8, n, k)
	c.vector("scale", scale, F32, n)
	return n, k, c.err
}

// CheckQLinear checks QLinear and returns the rows, outputs and inputs.
func CheckQLinear(b tensor.Engine, y, xq, xscale, w, wscale, bias *tensor.Dense) (n, m, k int, err error) {
	c := checker{owner: b, op: "QLinear"}
	if c.is("w", w, I8) {
		m, k = Rows(w)
	}
	n = c.qrows(y, xq, xscale, wscale, bias, m, k)
	return n, m, k, c.err
}

func (c *checker) qrows(y, xq, xscale, wscale, bias *tensor.Dense, m, k int) (n int) {
	if c.is("xq", xq, I8) {
		n, _ = Rows(xq)
	}
	c.matrix("xq", xq, I8, n, k)
	c.vector("xscale", xscale, F32, n)
	c.matrix("y", y, F32, n, m)
	c.vector("wscale", wscale, F32, m)
	c.optional("bias", bias, F32, m)
	return n
}

// CheckQEmbed checks QEmbed.
func CheckQEmbed(b tensor.Engine, y, table, scale, ids *tensor.Dense) (n, cols, vocab int, err error) {
	c := checker{owner: b, op: "QEmbed"}
	if c.is("table", table, I8) {
		vocab, cols = Rows(table)
	}
	if c.is("ids", ids, I32) {
		n = ids.Shape().TotalSize()
	}
	c.vector("scale", scale, F32, vocab)
	c.matrix("y", y, F32, n, cols)
	return n, cols, vocab, c.err
}

// CheckStudentNorm checks StudentNorm.
func CheckStudentNorm(b tensor.Engine, y, x, gain, bias *tensor.Dense, kind NormKind) (n, cols int, err error) {
	c := checker{owner: b, op: "StudentNorm"}
	n, cols = c.rows("x", x)
	c.matrix("y", y, F32, n, cols)
	c.vector("gain", gain, F32, cols)
	c.optional("bias", bias, F32, cols)
	that(&c, kind == RMS || kind == Layer, "kind", int(kind), "RMS or Layer")
	return n, cols, c.err
}

// CheckQSparseLinear checks QSparseLinear and returns the rows.
func CheckQSparseLinear(b tensor.Engine, y, xq, xscale *tensor.Dense, w BlockSparse, wscale, bias *tensor.Dense) (n int, err error) {
	c := checker{owner: b, op: "QSparseLinear"}
	that(&c, w.M > 0 && w.M%4 == 0, "w.M", w.M, "a positive multiple of 4")
	that(&c, w.K > 0 && w.K%8 == 0, "w.K", w.K, "a positive multiple of 8")
	blocks := 0
	if c.is("w.Columns", w.Columns, I32) {
		blocks = w.Columns.Shape().TotalSize()
	}
	c.vector("w.Values", w.Values, I8, blocks*32)
	c.vector("w.RowPtr", w.RowPtr, I32, w.M/4+1)
	n = c.qrows(y, xq, xscale, wscale, bias, w.M, w.K)
	return n, c.err
}
