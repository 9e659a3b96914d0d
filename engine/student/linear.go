package student

import (
	"slices"

	"mito/engine/arch"
	"mito/engine/session/adapters"
	"mito/kernels/edge"
	"mito/kernels/vec"
)

// linear is y = x·Wᵀ + b, W [N,K], as the layers use it: however weights are stored and sums are made, both stay inside. Its
// input x is the worker's quantised rows. After mul, into or addTo hand out each row once.
type linear interface {
	table
	size() (n, k int)
	// need raises the sizes of what it keeps in a worker between mul and the rest.
	need(s *scratch)
	// mul multiplies the first rows of the input; unsigned says that none of it is negative.
	mul(w *worker, rows int, unsigned bool)
	// into sets dst [N] to row i of y.
	into(dst []float32, w *worker, i int)
	// addTo adds row i of y to x [N].
	addTo(x []float32, w *worker, i int)
}

// table is a matrix whose rows are looked up.
type table interface {
	bytes() int
	// lookup sets x [K] to row r in real numbers; q [K] is for its use.
	lookup(x []float32, q []int8, r int)
}

// rowTable is a table that nothing is multiplied by, row-major. It has no use for q.
type rowTable struct {
	q     []int8
	scale []float32
}

func newRowTable(m *Matrix) *rowTable { return &rowTable{slices.Clone(m.Q), slices.Clone(m.Scale)} }

func (t *rowTable) bytes() int { return len(t.q) }

func (t *rowTable) lookup(x []float32, _ []int8, r int) {
	vec.DequantizeRow(x, t.q[r*len(x):][:len(x)], t.scale[r])
}

// normAdder is a linear that can fuse addTo with the RMSNorm of the sum, whose quantised row becomes row i of the input.
type normAdder interface {
	addNorm(x, gain []float32, eps float32, w *worker, i int)
}

// relu2er is a linear that can fuse into with ReLU², whose quantised row becomes row i of the input.
type relu2er interface {
	relu2(w *worker, i int)
}

// scratch counts what linears keep in a worker, for each row.
type scratch struct{ acc, low, in int }

// product multiplies INT8 rows by a packed matrix; qgemm.Packed.Mul says how.
type product interface {
	N() int
	K() int
	PaddedN() int
	Bytes() int
	Row(dst []int8, r int)
	Mul(acc []int32, stride int, x []int8, rows, n0, n1 int, unsigned bool)
}

// int8Linear is a packed INT8 matrix with its scales and bias; the matrices that read the same input are one. Its sums are
// exact integers.
type int8Linear struct {
	product
	n, k, stride int // N, K and PaddedN
	scale, bias  []float32
}

// bareLinear is an int8Linear without a bias, which has the fused forms.
type bareLinear struct{ int8Linear }

func (l *int8Linear) size() (n, k int) { return l.n, l.k }
func (l *int8Linear) bytes() int       { return l.product.Bytes() }
func (l *int8Linear) need(s *scratch)  { s.acc = max(s.acc, l.stride) }

func (l *int8Linear) lookup(x []float32, q []int8, r int) {
	l.product.Row(q, r)
	vec.DequantizeRow(x, q, l.scale[r])
}

// Fewer multiplications than this are over before another thread has begun.
const parallelMACs = 1 << 20

func (l *int8Linear) mul(w *worker, rows int, unsigned bool) {
	if w.m.pool == nil || rows*l.n*l.k < parallelMACs {
		l.product.Mul(w.acc, l.stride, w.q8, rows, 0, l.n, unsigned)
		return
	}
	w.mul = mulTask{l, w, rows, unsigned}
	w.m.pool.Run(l.stride/blockRows, 1, &w.mul)
}

// mulTask shares a product's blocks of 32 weight rows between threads.
type mulTask struct {
	l        *int8Linear
	w        *worker
	rows     int
	unsigned bool
}

const blockRows = 32

func (t *mulTask) Do(lo, hi int) {
	n1 := min(hi*blockRows, t.l.n)
	t.l.product.Mul(t.w.acc, t.l.stride, t.w.q8, t.rows, lo*blockRows, n1, t.unsigned)
}

func (l *int8Linear) into(dst []float32, w *worker, i int) {
	vec.ScaleInt32(dst, w.acc[i*l.stride:], w.scale[i], l.scale)
	if l.bias != nil {
		vec.Add(dst, dst, l.bias)
	}
}

func (l *int8Linear) addTo(x []float32, w *worker, i int) {
	if l.bias == nil {
		vec.AddScaleInt32(x, w.acc[i*l.stride:], w.scale[i], l.scale)
		return
	}
	l.into(w.h[:l.n], w, i)
	vec.Add(x, x, w.h[:l.n])
}

func (l *bareLinear) addNorm(x, gain []float32, eps float32, w *worker, i int) {
	w.scale[i] = edge.ResidualRMSNormQuantize(w.q8[i*l.n:][:l.n], w.h[:l.n], x, gain, eps, w.acc[i*l.stride:], w.scale[i], l.scale)
}

func (l *bareLinear) relu2(w *worker, i int) {
	w.scale[i] = edge.ReLU2Quantize(w.q8[i*l.n:][:l.n], w.h[:l.n], w.acc[i*l.stride:], w.scale[i], l.scale)
}

// packer packs matrices and keeps the first error.
type packer struct {
	blocks   Blocks
	unsigned bool // the inputs of what is packed are never negative
	adapters []adapters.Adapter
	modules  arch.Index
	blocked  int // matrices stored in blocks
	err      error
}

// pack stacks matrices that read the same input.
func (p *packer) pack(name string, ms ...*Matrix) linear {
	var l int8Linear
	var q []int8
	rows := 0
	for _, m := range ms {
		q = append(q, m.Q...)
		l.scale = append(l.scale, m.Scale...)
		if m.Bias != nil {
			l.bias = append(l.bias, m.Bias...)
		}
		rows += m.Rows
	}
	packed, err := p.product(q, rows, ms[0].Cols)
	if err != nil {
		if p.err == nil {
			p.err = &WeightError{Tensor: name, Err: err}
		}
		return nil
	}
	l.product, l.n, l.k, l.stride = packed, packed.N(), packed.K(), packed.PaddedN()
	if l.bias != nil {
		return &l
	}
	return &bareLinear{l}
}
