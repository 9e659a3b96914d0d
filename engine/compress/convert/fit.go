package convert

import (
	"math"
	"math/cmplx"
	"math/rand/v2"
	"slices"

	"mito/engine/arch"
	"mito/engine/model"
)

// iterations are those of the power methods. A subspace need not be exact: a training follows.
const iterations = 60

// group is a new head of keys and values with the old heads that it stands for.
type group struct {
	c       arch.Config
	kv      []int         // old heads of keys and values
	query   map[int][]int // query heads of each
	factor  matrix        // [C,C] L of what they read
	q, o    []float32     // [H·D,C], [C,H·D] of the layer, which are changed
	k, v    []float32     // [G·D,C]
	qn, kn  []float32     // gains of QK-norm [D], or nil
	columns int           // H·D
}

// fit finds the keys and values that lose least of what the heads of a group compute, and changes query and output to go with
// them.
//
// A head h adds O_h·V_k·x for its values; the best D rows to have in common are the first right singular vectors of all O_h·V_k
// below each other, and O_h becomes O_h·V_k·V'ᵀ. The score of a query x and a key y that lie Δ apart is, with RoPE, a sum over
// pairs of channels of Re(a·x · conj(b·y) · e^{iΔθ}), a and b the two rows as one complex one; the best b in common is the first
// eigenvector of Σ |a|²·b·bᴴ, and a becomes a·(bᴴb')/|b'|². Without RoPE scores are as values are. x is what the norm before
// attention makes, its channels taken for independent.
func (g *group) fit() (key, value []float32) {
	value = g.values()
	switch {
	case g.c.Position == arch.PositionRoPE:
		key = g.rotated()
	case g.qn == nil:
		key = g.keys()
	default:
		key = g.mean(g.k)
	}
	return key, value
}

func (g *group) mean(x []float32) []float32 {
	out := make([]float32, g.c.HeadDim*g.c.HiddenSize)
	for i := range out {
		sum := 0.0
		for _, k := range g.kv {
			sum += float64(x[k*len(out)+i])
		}
		out[i] = float32(sum / float64(len(g.kv)))
	}
	return out
}

// scaled are the rows of an old head, times L.
func (g *group) scaled(x []float32, head int) matrix {
	d, c := g.c.HeadDim, g.c.HiddenSize
	m := newMatrix(d, c)
	for i := range m.v {
		m.v[i] = float64(x[head*d*c+i])
	}
	return m.times(g.factor)
}

// common finds the D rows in common: the subspace of largest Σ_k X_kᵀ·P_k·X_k, orthonormal.
func (g *group) common(x, p map[int]matrix) matrix {
	d, c := g.c.HeadDim, g.c.HiddenSize
	rng, q := rand.New(rand.NewPCG(1, 2)), newMatrix(d, c)
	for i := range q.v {
		q.v[i] = rng.NormFloat64()
	}
	q.orthonormal()
	for range iterations {
		next := newMatrix(d, c)
		for _, k := range g.kv {
			next.add(q.timesT(x[k]).times(p[k]).times(x[k]))
		}
		q = next
		q.orthonormal()
	}
	return q
}

// unscaled divides rows by L.
func (g *group) unscaled(m matrix) []float32 {
	x := matrix{m.rows, m.cols, slices.Clone(m.v)}.over(g.factor)
	out := make([]float32, len(x.v))
	for i, v := range x.v {
		out[i] = float32(v)
	}
	return out
}

func (g *group) values() []float32 {
	d := g.c.HeadDim
	x, p := map[int]matrix{}, map[int]matrix{}
	for _, k := range g.kv {
		x[k], p[k] = g.scaled(g.v, k), newMatrix(d, d)
		for _, h := range g.query[k] {
			o := g.output(h)
			p[k].add(o.timesT(o))
		}
	}
	q := g.common(x, p)
	value, by := g.level(g.unscaled(q), g.v)
	for _, k := range g.kv {
		mix := q.timesT(x[k]) // V'·V_kᵀ
		for _, h := range g.query[k] {
			o := mix.times(g.output(h))
			for i := range o.v {
				o.v[i] /= by
			}
			g.setOutput(h, o)
		}
	}
	return value
}

// level makes new rows as large as the old ones were, by a factor that the other side is to be divided by: a training that
// follows moves both sides at the same rate.
func (g *group) level(rows, old []float32) ([]float32, float64) {
	square := func(x []float32) (sum float64) {
		for _, v := range x {
			sum += float64(v) * float64(v)
		}
		return sum / float64(len(x))
	}
	is, was := square(rows), 0.0
	for _, k := range g.kv {
		was += square(old[k*len(rows):][:len(rows)]) / float64(len(g.kv))
	}
	if is == 0 || was == 0 {
		return rows, 1
	}
	by := math.Sqrt(was / is)
	for i := range rows {
		rows[i] = float32(by * float64(rows[i]))
	}
	return rows, by
}

// output is O_hᵀ [D,C].
func (g *group) output(h int) matrix {
	d := g.c.HeadDim
	m := newMatrix(d, g.c.HiddenSize)
	for r := range m.cols {
		for i := range d {
			m.v[i*m.cols+r] = float64(g.o[r*g.columns+h*d+i])
		}
	}
	return m
}

func (g *group) setOutput(h int, m matrix) {
	d := g.c.HeadDim
	for r := range m.cols {
		for i := range d {
			g.o[r*g.columns+h*d+i] = float32(m.v[i*m.cols+r])
		}
	}
}

// keys are those of scores without RoPE.
func (g *group) keys() []float32 {
	d, c := g.c.HeadDim, g.c.HiddenSize
	queries := func(h int) matrix {
		m := newMatrix(d, c)
		for i := range m.v {
			m.v[i] = float64(g.q[h*d*c+i])
		}
		return m
	}
	x, p := map[int]matrix{}, map[int]matrix{}
	for _, k := range g.kv {
		x[k], p[k] = g.scaled(g.k, k), newMatrix(d, d)
		for _, h := range g.query[k] {
			q := g.scaled(g.q, h)
			p[k].add(q.timesT(q))
		}
	}
	q := g.common(x, p)
	key, by := g.level(g.unscaled(q), g.k)
	for _, k := range g.kv {
		mix := q.timesT(x[k])
		for _, h := range g.query[k] {
			for i, v := range mix.times(queries(h)).v {
				g.q[h*d*c+i] = float32(v / by)
			}
		}
	}
	return key
}

// rotated are the keys of scores with RoPE, which pairs channel i with i+D/2.
func (g *group) rotated() []float32 {
	d, c := g.c.HeadDim, g.c.HiddenSize
	out := newMatrix(d, c)
	norm := func(gains []float32, i int) float64 {
		if gains == nil || gains[i] == 0 {
			return 1
		}
		return float64(gains[i])
	}
	pair := func(m matrix, p int, gains []float32) []complex128 {
		z := make([]complex128, c)
		for i := range z {
			z[i] = complex(m.row(p)[i]*norm(gains, p), m.row(p + d/2)[i]*norm(gains, p+d/2))
		}
		return z
	}
	keys, queries := map[int]matrix{}, map[int]matrix{}
	for _, k := range g.kv {
		keys[k] = g.scaled(g.k, k)
		for _, h := range g.query[k] {
			queries[h] = g.scaled(g.q, h)
		}
	}
	for p := range d / 2 {
		old, weight := map[int][]complex128{}, map[int]float64{}
		size, total := 0.0, 0.0
		for _, k := range g.kv {
			old[k] = pair(keys[k], p, g.kn)
			for _, h := range g.query[k] {
				a := pair(queries[h], p, g.qn)
				weight[k] += real(dot(a, a))
			}
			size, total = size+weight[k]*real(dot(old[k], old[k])), total+weight[k]
		}
		if size == 0 {
			continue
		}
		b := principal(g.kv, old, weight, math.Sqrt(size/total))
		for i, z := range b {
			out.row(p)[i], out.row(p + d/2)[i] = real(z)/norm(g.kn, p), imag(z)/norm(g.kn, p+d/2)
		}
		for _, k := range g.kv {
			turn := dot(old[k], b) / dot(b, b)
			for _, h := range g.query[k] {
				re, im := g.q[(h*d+p)*c:][:c], g.q[(h*d+p+d/2)*c:][:c]
				for i := range re {
					z := turn * complex(float64(re[i])*norm(g.qn, p), float64(im[i])*norm(g.qn, p+d/2))
					re[i], im[i] = float32(real(z)/norm(g.qn, p)), float32(imag(z)/norm(g.qn, p+d/2))
				}
			}
		}
	}
	return g.unscaled(out)
}

// principal is the first eigenvector of Σ weight·z·zᴴ, of a length.
func principal(order []int, z map[int][]complex128, weight map[int]float64, length float64) []complex128 {
	best := order[0]
	for _, k := range order {
		if weight[k]*real(dot(z[k], z[k])) > weight[best]*real(dot(z[best], z[best])) {
			best = k
		}
	}
	b := z[best]
	for range iterations {
		next := make([]complex128, len(b))
		for _, k := range order {
			s := complex(weight[k], 0) * dot(z[k], b)
			for i, v := range z[k] {
				next[i] += s * v
			}
		}
		s := complex(length/math.Sqrt(real(dot(next, next))), 0)
		for i := range next {
			next[i] *= s
		}
		b = next
	}
	return b
}

// dot is xᴴ·y.
func dot(x, y []complex128) (sum complex128) {
	for i := range x {
		sum += cmplx.Conj(x[i]) * y[i]
	}
	return sum
}

// matrix is a small one in float64, row-major.
type matrix struct {
	rows, cols int
	v          []float64
}

func newMatrix(rows, cols int) matrix { return matrix{rows, cols, make([]float64, rows*cols)} }

func (m matrix) row(i int) []float64 { return m.v[i*m.cols:][:m.cols] }

func (m matrix) add(o matrix) {
	for i, v := range o.v {
		m.v[i] += v
	}
}

// times is m·o.
func (m matrix) times(o matrix) matrix {
	out := newMatrix(m.rows, o.cols)
	for i := range m.rows {
		dst := out.row(i)
		for k, a := range m.row(i) {
			for j, b := range o.row(k) {
				dst[j] += a * b
			}
		}
	}
	return out
}

// timesT is m·oᵀ.
func (m matrix) timesT(o matrix) matrix {
	out := newMatrix(m.rows, o.rows)
	for i := range m.rows {
		for j := range o.rows {
			sum := 0.0
			for k, b := range o.row(j) {
				sum += m.row(i)[k] * b
			}
			out.v[i*o.rows+j] = sum
		}
	}
	return out
}

// orthonormal makes the rows so, by Gram and Schmidt. Rows that depend on those before become zero.
func (m matrix) orthonormal() {
	for i := range m.rows {
		x := m.row(i)
		before := 0.0
		for _, v := range x {
			before += v * v
		}
		for range 2 { // once more for what rounding left
			for j := range i {
				y, s := m.row(j), 0.0
				for k := range x {
					s += x[k] * y[k]
				}
				for k := range x {
					x[k] -= s * y[k]
				}
			}
		}
		after := 0.0
		for _, v := range x {
			after += v * v
		}
		if after <= 1e-20*before {
			clear(x)
			continue
		}
		s := 1 / math.Sqrt(after)
		for k := range x {
			x[k] *= s
		}
	}
}

// fitLayer fits the new heads of a layer.
func fitLayer(w, out *model.Weights, moments Moments, layer, heads int) {
	c := w.Config
	at := func(p arch.Part) string {
		return w.Config.Index()[arch.Place{Layer: layer, Part: p}].Weight().Name
	}
	l := c.Layer(layer)
	clone := func(p arch.Part) []float32 {
		v := append([]float32(nil), w.Tensors[at(p)]...)
		out.Tensors[at(p)] = v
		return v
	}
	q, o := clone(arch.Query), clone(arch.Output)
	g := group{c: c, factor: moments.factor(layer, w.Tensors[at(arch.Norm1)]), q: q, o: o, k: w.Tensors[at(arch.Key)], v: w.Tensors[at(arch.Value)], columns: l.Heads * c.HeadDim}
	if c.QKNorm {
		g.qn, g.kn = w.Tensors[at(arch.QueryNorm)], w.Tensors[at(arch.KeyNorm)]
	}
	var key, value []float32
	ratio := l.KVHeads / heads
	for n := range heads {
		g.kv, g.query = nil, map[int][]int{}
		for k := n * ratio; k < (n+1)*ratio; k++ {
			g.kv = append(g.kv, k)
			each := l.Heads / l.KVHeads
			for h := k * each; h < (k+1)*each; h++ {
				g.query[k] = append(g.query[k], h)
			}
		}
		k, v := g.fit()
		key, value = append(key, k...), append(value, v...)
	}
	out.Tensors[at(arch.Key)], out.Tensors[at(arch.Value)] = key, value
}
