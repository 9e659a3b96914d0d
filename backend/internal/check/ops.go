package check

import (
	"math"

	"gorgonia.org/tensor"

	"mito/backend"
	"mito/kernels/blocks"
)

// View checks View.
func View(b tensor.Engine, t *tensor.Dense, offset int, shape []int) error {
	c := checker{owner: b, op: "View"}
	if t == nil || t.Engine() != b {
		return &backend.OwnerError{Op: "View", Arg: "t"}
	}
	if !c.is("t", t, t.Dtype()) {
		return c.err
	}
	bytes, err := backend.TensorBytes(t.Dtype(), shape...)
	if err != nil {
		return &backend.ShapeError{Op: c.op, Arg: "shape", Got: append([]int(nil), shape...)}
	}
	n, total := bytes/int64(t.Dtype().Size()), int64(t.Shape().TotalSize())
	that(&c, offset >= 0 && int64(offset) <= total && n <= total-int64(offset), "offset", offset, "a range inside the tensor")
	return c.err
}

// Copy checks Copy.
func Copy(b tensor.Engine, dst, src *tensor.Dense) error {
	if src == nil || src.Engine() != b {
		return &backend.OwnerError{Op: "Copy", Arg: "src"}
	}
	c := checker{owner: b, op: "Copy"}
	c.is("src", src, src.Dtype())
	c.vector("dst", dst, src.Dtype(), src.Shape().TotalSize())
	return c.err
}

// Transfer checks Upload and Download: a host slice against a tensor. It returns the bytes to move.
func Transfer(b tensor.Engine, op string, t *tensor.Dense, host any) (int, error) {
	c := checker{owner: b, op: op}
	n := 0
	switch h := host.(type) {
	case []float32:
		c.vector("tensor", t, backend.F32, len(h))
		n = 4 * len(h)
	case []uint16:
		c.vector("tensor", t, backend.BF16, len(h))
		n = 2 * len(h)
	case []int32:
		c.vector("tensor", t, backend.I32, len(h))
		n = 4 * len(h)
	case []int8:
		c.vector("tensor", t, backend.I8, len(h))
		n = len(h)
	default:
		that(&c, false, "host", host, "[]float32, []uint16, []int32 or []int8")
	}
	return n, c.err
}

// MatMul checks MatMul and returns M, N and K.
func MatMul(b tensor.Engine, cc, a, bb *tensor.Dense, args backend.MatMulArgs) (m, n, k int, err error) {
	c := checker{owner: b, op: "MatMul"}
	m, k = c.actRows("a", a)
	if args.TransA {
		m, k = k, m
	}
	kb, n := c.actRows("b", bb)
	if args.TransB {
		kb, n = n, kb
	}
	if c.err == nil && kb != k {
		c.err = &backend.ShapeError{Op: c.op, Arg: "b", Got: bb.Shape().Clone(), Want: transposed(k, n, args.TransB)}
	}
	c.acts("c", cc, m, n)
	c.optional("bias", args.Bias, backend.F32, n)
	that(&c, !args.Accumulate || args.Bias == nil, "bias", "set", "nil together with Accumulate")
	if args.Add != nil {
		c.matrix("add", args.Add, backend.F32, m, n)
		that(&c, !args.Accumulate, "add", "set", "nil together with Accumulate")
	}
	c.number("alpha", args.Alpha)
	c.separate("c", cc, a, bb, args.Add)
	c.blocks("live", args.Live, bb)
	c.blocks("wanted", args.Wanted, cc)
	return m, n, k, c.err
}

// blocks refuses an index of a matrix of another shape than t.
func (c *checker) blocks(arg string, x *blocks.Index, t *tensor.Dense) {
	if c.err == nil && x != nil && !t.Shape().Eq(tensor.Shape{x.N, x.K}) {
		c.err = &backend.ShapeError{Op: c.op, Arg: arg, Got: []int{x.N, x.K}, Want: t.Shape().Clone()}
	}
}

func transposed(rows, cols int, t bool) []int {
	if t {
		return []int{cols, rows}
	}
	return []int{rows, cols}
}

// SumRows checks SumRows.
func SumRows(b tensor.Engine, dst, x *tensor.Dense) (n, cols int, err error) {
	c := checker{owner: b, op: "SumRows"}
	n, cols = c.actRows("x", x)
	c.vector("dst", dst, backend.F32, cols)
	return n, cols, c.err
}

// Same checks operations whose f32 tensors all have the same number of elements, and returns it. args are
// the names of ts, in order.
func Same(b tensor.Engine, op string, args []string, ts ...*tensor.Dense) (int, error) {
	c := checker{owner: b, op: op}
	n := c.size(args[0], ts[0])
	for i := 1; i < len(ts); i++ {
		c.vector(args[i], ts[i], backend.F32, n)
	}
	return n, c.err
}

// SameAct is Same for tensors of F32 or BF16, which are all of one dtype.
func SameAct(b tensor.Engine, op string, args []string, ts ...*tensor.Dense) (n int, half bool, err error) {
	c := checker{owner: b, op: op}
	if c.act(args[0], ts[0]) {
		n, half = ts[0].Shape().TotalSize(), ts[0].Dtype() == backend.BF16
	}
	for i := 1; i < len(ts) && c.err == nil; i++ {
		c.vector(args[i], ts[i], ts[0].Dtype(), n)
	}
	return n, half, c.err
}

// Cast checks Cast and returns the number of elements.
func Cast(b tensor.Engine, dst, x *tensor.Dense) (n int, err error) {
	c := checker{owner: b, op: "Cast"}
	if c.act("x", x) {
		n = x.Shape().TotalSize()
	}
	if c.act("dst", dst) {
		c.vector("dst", dst, dst.Dtype(), n)
	}
	c.separate("dst", dst, x)
	return n, c.err
}

// Activation refuses values that are not activations.
func Activation(op string, act backend.Activation) error {
	if act < backend.ReLU || act > backend.ReLU2Output {
		return &backend.ArgError{Op: op, Arg: "act", Got: int(act), Want: "relu, relu2, gelu, silu or relu2-output"}
	}
	return nil
}

// Dropout checks Dropout.
func Dropout(b tensor.Engine, dst, x *tensor.Dense, args backend.DropoutArgs) (n, cols int, err error) {
	c := checker{owner: b, op: "Dropout"}
	n, cols = c.rows("x", x)
	c.matrix("dst", dst, backend.F32, n, cols)
	that(&c, args.Rate >= 0 && args.Rate < 1, "rate", args.Rate, "in [0,1)")
	c.optional("step", args.Step, backend.F32, backend.StepLen)
	return n, cols, c.err
}

// Softmax checks Softmax.
func Softmax(b tensor.Engine, dst, x *tensor.Dense, temperature float32) (n, v int, err error) {
	c := checker{owner: b, op: "Softmax"}
	n, v = c.rows("x", x)
	c.matrix("dst", dst, backend.F32, n, v)
	c.finite("temperature", temperature)
	c.separate("dst", dst, x)
	return n, v, c.err
}

// RMSNorm checks RMSNorm.
func RMSNorm(b tensor.Engine, y, rstd, x, gain *tensor.Dense) (n, cols int, err error) {
	c := checker{owner: b, op: "RMSNorm"}
	n, cols = c.actRows("x", x)
	c.acts("y", y, n, cols)
	c.vector("rstd", rstd, backend.F32, n)
	c.vector("gain", gain, backend.F32, cols)
	return n, cols, c.err
}

// RMSNormBackward checks RMSNormBackward.
func RMSNormBackward(b tensor.Engine, dx, dgain, dy, x, gain, rstd *tensor.Dense, accumulate bool) (n, cols int, err error) {
	c := checker{owner: b, op: "RMSNormBackward"}
	n, cols = c.actRows("x", x)
	c.acts("dx", dx, n, cols)
	c.acts("dy", dy, n, cols)
	c.vector("dgain", dgain, backend.F32, cols)
	c.vector("gain", gain, backend.F32, cols)
	c.vector("rstd", rstd, backend.F32, n)
	if accumulate {
		c.separate("dx", dx, dy)
	}
	return n, cols, c.err
}

// LayerNorm checks LayerNorm.
func LayerNorm(b tensor.Engine, y, mean, rstd, x, gain, bias *tensor.Dense) (n, cols int, err error) {
	c := checker{owner: b, op: "LayerNorm"}
	n, cols = c.actRows("x", x)
	c.acts("y", y, n, cols)
	c.vector("mean", mean, backend.F32, n)
	c.vector("rstd", rstd, backend.F32, n)
	c.vector("gain", gain, backend.F32, cols)
	c.optional("bias", bias, backend.F32, cols)
	return n, cols, c.err
}

// LayerNormBackward checks LayerNormBackward.
func LayerNormBackward(b tensor.Engine, dx, dgain, dbias, dy, x, gain, mean, rstd *tensor.Dense, accumulate bool) (n, cols int, err error) {
	c := checker{owner: b, op: "LayerNormBackward"}
	n, cols = c.actRows("x", x)
	c.acts("dx", dx, n, cols)
	c.acts("dy", dy, n, cols)
	c.vector("dgain", dgain, backend.F32, cols)
	c.optional("dbias", dbias, backend.F32, cols)
	c.vector("gain", gain, backend.F32, cols)
	c.vector("mean", mean, backend.F32, n)
	c.vector("rstd", rstd, backend.F32, n)
	if accumulate {
		c.separate("dx", dx, dy)
	}
	return n, cols, c.err
}

// Embed checks Embed and EmbedBackward: rows [N,C], table [V,C], ids [N].
func Embed(b tensor.Engine, op string, rows, table, ids *tensor.Dense) (n, cols, vocab int, err error) {
	c := checker{owner: b, op: op}
	vocab, cols = c.rows("table", table)
	if c.is("ids", ids, backend.I32) {
		n = ids.Shape().TotalSize()
	}
	c.matrix("rows", rows, backend.F32, n, cols)
	return n, cols, vocab, c.err
}

// RoPE checks RoPE and returns the rows, the heads in a row, the width of a head and the rows of the tables.
func RoPE(b tensor.Engine, x, positions, cos, sin *tensor.Dense) (n, heads, d, limit int, err error) {
	c := checker{owner: b, op: "RoPE"}
	if c.is("positions", positions, backend.I32) {
		n = positions.Shape().TotalSize()
	}
	limit, half := c.rows("cos", cos)
	c.matrix("sin", sin, backend.F32, limit, half)
	d = 2 * half
	total := 0
	if c.act("x", x) {
		total = x.Shape().TotalSize()
	}
	if c.err == nil && (n == 0 || total%(n*d) != 0) {
		c.err = &backend.ShapeError{Op: c.op, Arg: "x", Got: x.Shape().Clone(), Want: []int{n, d}}
	}
	if c.err != nil {
		return 0, 0, 0, 0, c.err
	}
	return n, total / (n * d), d, limit, nil
}

// Attention checks the arguments that Attention, AttentionBackward and QAttention share. lse is nil in
// QAttention.
func Attention(b tensor.Engine, op string, out, lse, q, k, v *tensor.Dense, a backend.AttentionArgs) error {
	c := checker{owner: b, op: op}
	c.positive("batch", a.Batch)
	c.positive("time", a.Time)
	c.positive("heads", a.Heads)
	c.positive("kvHeads", a.KVHeads)
	c.positive("headDim", a.HeadDim)
	that(&c, c.err != nil || a.Heads%a.KVHeads == 0, "heads", a.Heads, "a multiple of the key/value heads")
	that(&c, a.Window >= 0, "window", a.Window, "0 or more")
	c.finite("scale", a.Scale)
	if c.err == nil {
		// Sizes beyond any tensor could wrap around to one that fits.
		_, c.err = backend.TensorBytes(backend.F32, a.Batch, a.Time, a.Heads, a.HeadDim)
	}
	n := a.Batch * a.Time
	dt := backend.F32
	if op != "QAttention" && c.act("q", q) {
		dt = q.Dtype()
	}
	c.vector("q", q, dt, n*a.Heads*a.HeadDim)
	c.vector("k", k, dt, n*a.KVHeads*a.HeadDim)
	c.vector("v", v, dt, n*a.KVHeads*a.HeadDim)
	c.vector("out", out, dt, n*a.Heads*a.HeadDim)
	c.optional("starts", a.Starts, backend.I32, n)
	that(&c, a.Starts == nil || a.Window == 0, "window", a.Window, "0 beside starts")
	if op == "QAttention" {
		that(&c, a.Starts == nil, "starts", "a tensor", "none: the student's attention has a window")
	} else {
		c.vector("lse", lse, backend.F32, n*a.Heads)
		c.separate("lse", lse, out, q, k, v)
	}
	c.separate("out", out, q, k, v)
	return c.err
}

// AttentionBackward checks AttentionBackward.
func AttentionBackward(b tensor.Engine, dq, dk, dv, dout, out, lse, q, k, v *tensor.Dense, a backend.AttentionArgs) error {
	const op = "AttentionBackward"
	if err := Attention(b, op, out, lse, q, k, v, a); err != nil {
		return err
	}
	c := checker{owner: b, op: op}
	n := a.Batch * a.Time
	c.vector("dout", dout, q.Dtype(), n*a.Heads*a.HeadDim)
	c.vector("dq", dq, q.Dtype(), n*a.Heads*a.HeadDim)
	c.vector("dk", dk, q.Dtype(), n*a.KVHeads*a.HeadDim)
	c.vector("dv", dv, q.Dtype(), n*a.KVHeads*a.HeadDim)
	c.separate("dq", dq, dout, out, q, k, v)
	c.separate("dk", dk, dout, out, q, k, v, dq)
	c.separate("dv", dv, dout, out, q, k, v, dq, dk)
	return c.err
}

// CrossEntropy checks CrossEntropy.
func CrossEntropy(
	b tensor.Engine, loss, dlogits, logits, targets, weights *tensor.Dense, args backend.CrossEntropyArgs,
) (n, vocab int, err error) {
	c := checker{owner: b, op: "CrossEntropy"}
	n, vocab = c.rows("logits", logits)
	if dlogits != nil {
		c.matrix("dlogits", dlogits, backend.F32, n, vocab)
	}
	c.vector("loss", loss, backend.F32, n)
	c.vector("weights", weights, backend.F32, n)
	c.vector("targets", targets, backend.I32, n)
	that(&c, args.Smoothing >= 0 && args.Smoothing < 1, "smoothing", args.Smoothing, "in [0,1)")
	c.optional("step", args.Step, backend.F32, backend.StepLen)
	return n, vocab, c.err
}

// Distill checks Distill.
func Distill(b tensor.Engine, kl, dlogits, logits, probs, weights *tensor.Dense, args backend.DistillArgs) (n, vocab int, err error) {
	c := checker{owner: b, op: "Distill"}
	n, vocab = c.rows("logits", logits)
	c.distill(kl, dlogits, logits, weights, args, n, vocab)
	c.matrix("probs", probs, backend.F32, n, vocab)
	return n, vocab, c.err
}

// DistillTopK checks DistillTopK and returns N, V and K.
func DistillTopK(
	b tensor.Engine, kl, dlogits, logits, ids, probs, tail, weights *tensor.Dense, args backend.DistillArgs,
) (n, vocab, k int, err error) {
	c := checker{owner: b, op: "DistillTopK"}
	n, vocab = c.rows("logits", logits)
	c.distill(kl, dlogits, logits, weights, args, n, vocab)
	_, k = c.rows("probs", probs)
	that(&c, k <= vocab, "k", k, "at most the vocabulary")
	c.matrix("probs", probs, backend.F32, n, k)
	c.matrix("ids", ids, backend.I32, n, k)
	c.vector("tail", tail, backend.F32, n)
	return n, vocab, k, c.err
}

func (c *checker) distill(kl, dlogits, logits, weights *tensor.Dense, args backend.DistillArgs, n, vocab int) {
	c.matrix("dlogits", dlogits, backend.F32, n, vocab)
	c.vector("kl", kl, backend.F32, n)
	c.vector("weights", weights, backend.F32, n)
	c.finite("temperature", args.Temperature)
	c.optional("step", args.Step, backend.F32, backend.StepLen)
	c.separate("dlogits", dlogits, logits)
}

// Reduce checks Sum and SumSquares.
func Reduce(b tensor.Engine, op string, dst, x *tensor.Dense) (int, error) {
	c := checker{owner: b, op: op}
	c.vector("dst", dst, backend.F32, 1)
	n := c.size("x", x)
	return n, c.err
}

// ClipScale checks ClipScale.
func ClipScale(b tensor.Engine, step, sumsq *tensor.Dense, maxNorm float32) error {
	c := checker{owner: b, op: "ClipScale"}
	c.vector("step", step, backend.F32, backend.StepLen)
	c.vector("sumsq", sumsq, backend.F32, 1)
	that(&c, maxNorm >= 0, "maxNorm", maxNorm, "0 or more")
	return c.err
}

// AdamW checks AdamW.
func AdamW(b tensor.Engine, p, g, m, v, step *tensor.Dense, args backend.AdamWArgs) (int, error) {
	c := checker{owner: b, op: "AdamW"}
	n := c.size("p", p)
	c.vector("g", g, backend.F32, n)
	c.vector("m", m, backend.F32, n)
	c.vector("v", v, backend.F32, n)
	c.vector("step", step, backend.F32, backend.StepLen)
	that(&c, args.Beta1 >= 0 && args.Beta1 < 1, "beta1", args.Beta1, "in [0,1)")
	that(&c, args.Beta2 >= 0 && args.Beta2 < 1, "beta2", args.Beta2, "in [0,1)")
	that(&c, args.Eps > 0, "eps", args.Eps, "positive")
	that(&c, args.NoDecay >= 0 && args.NoDecay <= n, "elements without decay", args.NoDecay, "at most as many as p has")
	return n, c.err
}

// Muon checks Muon.
func Muon(b tensor.Engine, p, g, buf, work, table, step *tensor.Dense, plan *backend.MuonPlan, args backend.MuonArgs) error {
	c := checker{owner: b, op: "Muon"}
	n := c.size("p", p)
	c.vector("g", g, backend.F32, n)
	c.vector("buf", buf, backend.F32, n)
	c.vector("step", step, backend.F32, backend.StepLen)
	if c.err == nil && (plan == nil || len(plan.Matrices()) == 0) {
		c.err = &backend.ArgError{Op: c.op, Arg: "plan", Got: "no matrices", Want: "a plan of at least one"}
	}
	if c.err != nil {
		return c.err
	}
	c.matrix("table", table, backend.I32, len(plan.Matrices()), backend.MuonColumns)
	if have := c.size("work", work); c.err == nil && have < plan.Work() {
		c.err = &backend.ShapeError{Op: c.op, Arg: "work", Got: []int{have}, Want: []int{plan.Work()}}
	}
	for _, m := range plan.Matrices() {
		if end := m.Offset + m.M*m.N; c.err == nil && end > n {
			c.err = &backend.ShapeError{Op: c.op, Arg: "p", Got: []int{n}, Want: []int{end}}
		}
	}
	that(&c, args.Momentum >= 0 && args.Momentum < 1, "momentum", args.Momentum, "in [0,1)")
	that(&c, args.Steps >= 1, "steps", args.Steps, "1 or more")
	return c.err
}

// Lerp checks Lerp.
func Lerp(b tensor.Engine, dst, x *tensor.Dense, weight float32, step *tensor.Dense) (int, error) {
	c := checker{owner: b, op: "Lerp"}
	n := c.size("dst", dst)
	c.vector("x", x, backend.F32, n)
	c.optional("step", step, backend.F32, backend.StepLen)
	that(&c, weight >= 0 && weight <= 1 && !math.IsNaN(float64(weight)), "weight", weight, "in [0,1]")
	return n, c.err
}

// GatherRows checks GatherRows and returns B, T and L.
func GatherRows(b tensor.Engine, inputs, targets, tokens, starts *tensor.Dense) (rows, time, length int, err error) {
	c := checker{owner: b, op: "GatherRows"}
	if c.is("inputs", inputs, backend.I32) {
		rows, time = backend.Rows(inputs)
	}
	c.matrix("targets", targets, backend.I32, rows, time)
	c.vector("starts", starts, backend.I32, rows)
	if c.is("tokens", tokens, backend.I32) {
		length = tokens.Shape().TotalSize()
	}
	return rows, time, length, c.err
}
