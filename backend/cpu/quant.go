package cpu

import (
	"sync"

	"gorgonia.org/tensor"

	"mito/backend"
	"mito/backend/internal/check"
	"mito/kernels/kv"
	"mito/kernels/qgemm"
	"mito/kernels/vec"
)

// quantTasks are those of this file.
type quantTasks struct {
	quantize    quantizeTask
	qlinear     qlinearTask
	qembed      qembedTask
	studentNorm studentNormTask
	qattention  qattentionTask
}

// QuantizeRows implements backend.Quant.
func (b *Backend) QuantizeRows(q, scale, x *tensor.Dense) error {
	n, k, err := check.QuantizeRows(b, q, scale, x)
	if err != nil {
		return err
	}
	b.tasks.quantize = quantizeTask{q: i8(q), scale: f32(scale), x: f32(x), k: k}
	b.pool.Run(n, grainRows(k), &b.tasks.quantize)
	return nil
}

type quantizeTask struct {
	q        []int8
	scale, x []float32
	k        int
}

func (t *quantizeTask) Do(lo, hi int) {
	for r := lo; r < hi; r++ {
		t.scale[r] = vec.QuantizeRow(t.q[r*t.k:][:t.k], t.x[r*t.k:][:t.k])
	}
}

// QLinear implements backend.Quant. It packs the weight at every call: the seam's weights are row-major, as every
// backend can read them. The runtime that ships, engine/student, packs once.
func (b *Backend) QLinear(y, xq, xscale, w, wscale, bias *tensor.Dense) error {
	n, m, k, err := check.QLinear(b, y, xq, xscale, w, wscale, bias)
	if err != nil {
		return err
	}
	packed, err := qgemm.Pack(i8(w), m, k)
	if err != nil {
		return packError("QLinear", "w", err)
	}
	b.integerLinear(packed, f32(y), i8(xq), f32(xscale), f32(wscale), f32(bias), n, m, k)
	return nil
}

// packError is the seam's form of an error about the contents of integer weights.
func packError(op, arg string, err error) error {
	return &backend.ArgError{Op: op, Arg: arg, Got: err, Want: "weights in [-127,127], at most 131072 in a row"}
}

// integerWeights are packed weights [M,K] of either kind.
type integerWeights interface {
	MulRows(acc []int32, x []int8, rows int)
}

// integerLinear computes y = (xq·wᵀ)·(xscale·wscale) + bias. Threads take rows of xq.
func (b *Backend) integerLinear(w integerWeights, y []float32, xq []int8, xscale, wscale, bias []float32, n, m, k int) {
	if cap(b.acc) < n*m {
		b.acc = make([]int32, n*m)
	}
	b.tasks.qlinear = qlinearTask{
		w: w, y: y, xq: xq, acc: b.acc[:n*m], xscale: xscale, wscale: wscale, bias: bias, m: m, k: k,
	}
	b.pool.Run(n, grainRows(m*k/32), &b.tasks.qlinear)
}

type qlinearTask struct {
	w                       integerWeights
	y, xscale, wscale, bias []float32
	xq                      []int8
	acc                     []int32
	m, k                    int
}

func (t *qlinearTask) Do(lo, hi int) {
	t.w.MulRows(t.acc[lo*t.m:hi*t.m], t.xq[lo*t.k:hi*t.k], hi-lo)
	for r := lo; r < hi; r++ {
		y := t.y[r*t.m:][:t.m]
		vec.ScaleInt32(y, t.acc[r*t.m:][:t.m], t.xscale[r], t.wscale)
		if t.bias != nil {
			vec.Add(y, y, t.bias)
		}
	}
}

// QEmbed implements backend.Quant.
func (b *Backend) QEmbed(y, table, scale, ids *tensor.Dense) error {
	n, c, vocab, err := check.QEmbed(b, y, table, scale, ids)
	if err == nil {
		err = check.IDs("QEmbed", i32(ids), vocab)
	}
	if err != nil {
		return err
	}
	b.tasks.qembed = qembedTask{y: f32(y), scale: f32(scale), table: i8(table), ids: i32(ids), c: c}
	b.pool.Run(n, grainRows(c), &b.tasks.qembed)
	return nil
}

type qembedTask struct {
	y, scale []float32
	table    []int8
	ids      []int32
	c        int
}

func (t *qembedTask) Do(lo, hi int) {
	for r := lo; r < hi; r++ {
		id := int(t.ids[r])
		vec.DequantizeRow(t.y[r*t.c:][:t.c], t.table[id*t.c:][:t.c], t.scale[id])
	}
}

// StudentNorm implements backend.Quant.
func (b *Backend) StudentNorm(y, x, gain, bias *tensor.Dense, kind backend.NormKind, eps float32) error {
	n, c, err := check.StudentNorm(b, y, x, gain, bias, kind)
	if err != nil {
		return err
	}
	b.tasks.studentNorm = studentNormTask{y: f32(y), x: f32(x), gain: f32(gain), bias: f32(bias), c: c, kind: kind, eps: eps}
	b.pool.Run(n, grainRows(c), &b.tasks.studentNorm)
	return nil
}

type studentNormTask struct {
	y, x, gain, bias []float32
	c                int
	kind             backend.NormKind
	eps              float32
}

func (t *studentNormTask) Do(lo, hi int) {
	for r := lo; r < hi; r++ {
		y, x := t.y[r*t.c:][:t.c], t.x[r*t.c:][:t.c]
		if t.kind == backend.Layer {
			vec.LayerNorm(y, x, t.gain, t.bias, t.eps)
			continue
		}
		vec.RMSNorm(y, x, t.gain, t.eps)
		if t.bias != nil {
			vec.Add(y, y, t.bias)
		}
	}
}

// QAttention implements backend.Quant.
func (b *Backend) QAttention(out, q, k, v *tensor.Dense, args backend.AttentionArgs) error {
	if err := check.Attention(b, "QAttention", out, nil, q, k, v, args); err != nil {
		return err
	}
	b.tasks.qattention = qattentionTask{out: f32(out), q: f32(q), k: f32(k), v: f32(v), args: args, caches: &b.caches}
	b.pool.Run(args.Batch, 1, &b.tasks.qattention)
	return nil
}

// qattentionTask decodes whole sequences token by token over a cache of one page.
type qattentionTask struct {
	out, q, k, v []float32
	args         backend.AttentionArgs
	caches       *caches
}

func (t *qattentionTask) Do(lo, hi int) {
	a := t.args
	c := t.caches.get(a)
	defer t.caches.put(c)
	width, kvWidth := a.Heads*a.HeadDim, a.KVHeads*a.HeadDim
	for s := lo; s < hi; s++ {
		for pos := range a.Time {
			r := s*a.Time + pos
			c.shape.StoreQS8(&c.pages[0], pos, t.k[r*kvWidth:][:kvWidth], t.v[r*kvWidth:][:kvWidth], c.scratch)
			c.shape.AttendQS8(t.out[r*width:][:width], t.q[r*width:][:width], c.pages, c.table[:], pos, c.scratch)
		}
	}
}

// cache is the INT8 cache of one sequence.
type cache struct {
	shape   kv.Shape
	pages   []kv.PageQS8
	scratch *kv.ScratchQS8
	table   [1]int32
}

// caches lends one cache to each thread. They are all of the shape of the last operation.
type caches struct {
	mu    sync.Mutex
	shape kv.Shape
	free  []*cache
}

func (l *caches) get(a backend.AttentionArgs) *cache {
	shape := kv.Shape{
		Heads: a.Heads, KVHeads: a.KVHeads, HeadDim: a.HeadDim, Window: a.Window, Scale: a.Scale,
		PageSize: (a.Time + 15) / 16 * 16, // whole blocks: the kernels for all heads at once want them
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.shape != shape {
		l.shape, l.free = shape, nil
	}
	if last := len(l.free) - 1; last >= 0 {
		c := l.free[last]
		l.free = l.free[:last]
		return c
	}
	c := &cache{shape: shape}
	c.pages, c.scratch = kv.NewPagesQS8(1, &c.shape), kv.NewScratchQS8(&c.shape, a.Time)
	return c
}

func (l *caches) put(c *cache) {
	l.mu.Lock()
	l.free = append(l.free, c)
	l.mu.Unlock()
}
