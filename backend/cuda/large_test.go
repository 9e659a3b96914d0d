//go:build cuda && linux && (amd64 || arm64)

package cuda_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"gorgonia.org/tensor"

	"mito/backend"
	"mito/backend/backendtest/bf16"
	"mito/backend/cpu"
	"mito/backend/cuda"
)

// pair makes the same tensors on two backends.
type pair struct {
	t     testing.TB
	rng   *rand.Rand
	on    [2]backend.Backend // CPU, CUDA
	slabs [2]backend.Slab
}

func newPair(t testing.TB, p backend.Precision) *pair {
	t.Helper()
	return newPairOf(t, p, 48<<20)
}

// newPairOf makes a pair with room for so many bytes on each.
func newPairOf(t testing.TB, p backend.Precision, bytes int64) *pair {
	t.Helper()
	x := &pair{t: t, rng: rand.New(rand.NewPCG(3, 5))}
	reference := cpu.New(2)
	t.Cleanup(func() { must(t, reference.Close()) })
	x.on = [2]backend.Backend{reference, open(t, p)}
	for i, b := range x.on {
		slab, err := b.NewSlab(bytes)
		must(t, err)
		x.slabs[i] = slab
	}
	return x
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// tensors is one tensor on each backend.
type tensors [2]*tensor.Dense

func (p *pair) make(dt tensor.Dtype, host any, shape ...int) (x tensors) {
	p.t.Helper()
	for i, b := range p.on {
		t, err := p.slabs[i].New(dt, shape...)
		must(p.t, err)
		must(p.t, b.Upload(t, host))
		x[i] = t
	}
	return x
}

func (p *pair) normal(shape ...int) tensors {
	v := make([]float32, tensor.Shape(shape).TotalSize())
	for i := range v {
		v[i] = float32(p.rng.NormFloat64())
	}
	return p.make(backend.F32, v, shape...)
}

// rounded is normal, of numbers that bfloat16 holds.
func (p *pair) rounded(shape ...int) tensors {
	x := p.normal(shape...)
	v := bf16.Widen(bf16.Round(p.read(0, x[0])))
	p.each(func(b backend.Backend, i int) error { return b.Upload(x[i], v) })
	return x
}

// as is a tensor of CUDA as another of the given dtype, rounded where that is bfloat16.
func (p *pair) as(dt tensor.Dtype, x *tensor.Dense) *tensor.Dense {
	p.t.Helper()
	v := p.read(1, x)
	t, err := p.slabs[1].New(dt, x.Shape()...)
	must(p.t, err)
	if dt == backend.BF16 {
		must(p.t, p.on[1].Upload(t, bf16.Round(v)))
	} else {
		must(p.t, p.on[1].Upload(t, v))
	}
	return t
}

// read gives what a tensor of one backend holds.
func (p *pair) read(i int, x *tensor.Dense) []float32 {
	p.t.Helper()
	n := x.Shape().TotalSize()
	if x.Dtype() == backend.BF16 {
		h := make([]uint16, n)
		must(p.t, p.on[i].Download(h, x))
		return bf16.Widen(h)
	}
	v := make([]float32, n)
	must(p.t, p.on[i].Download(v, x))
	return v
}

func (p *pair) ids(limit int, shape ...int) tensors {
	v := make([]int32, tensor.Shape(shape).TotalSize())
	for i := range v {
		v[i] = int32(p.rng.IntN(limit))
	}
	return p.make(backend.I32, v, shape...)
}

// each runs an operation on both backends.
func (p *pair) each(op func(b backend.Backend, i int) error) {
	p.t.Helper()
	for i, b := range p.on {
		must(p.t, op(b, i))
	}
}

// close compares the two by ‖cuda-cpu‖ ≤ limit·‖cpu‖, which NaN never passes.
func (p *pair) close(name string, x tensors, limit float64) {
	p.t.Helper()
	got := p.read(1, x[1])
	var diff, norm float64
	for i, want := range p.read(0, x[0]) {
		d := float64(got[i]) - float64(want)
		diff += d * d
		norm += float64(want) * float64(want)
	}
	if rel := math.Sqrt(diff / norm); !(rel <= limit) {
		p.t.Errorf("%s: off by %.3g of its norm, allowed %.3g", name, rel, limit)
	}
}

// precisions and the relative error that a product of normal factors has in each: 4·2^-24·√k at k = 4096, and two
// rounded factors of unit roundoff 2^-8.
var precisions = []struct {
	precision backend.Precision
	product   float64
}{{backend.Float32, 1.6e-5}, {backend.BFloat16, 0x1p-7}}

// Products of more than one tile in each direction, of long sums that are cut into parts, and from operands that do not
// lie on 16 bytes.
func TestLargeProducts(t *testing.T) {
	for _, prec := range precisions {
		t.Run(prec.precision.String(), func(t *testing.T) {
			p := newPair(t, prec.precision)
			for _, s := range [][3]int{{300, 260, 100}, {64, 200, 4096}, {384, 96, 700}, {257, 129, 65}} {
				for form := range 4 {
					m, n, k := s[0], s[1], s[2]
					args := backend.MatMulArgs{TransA: form&2 != 0, TransB: form&1 != 0}
					a, b, c := p.normal(m, k), p.normal(k, n), p.normal(m, n)
					if args.TransA {
						a = p.normal(k, m)
					}
					if args.TransB {
						b = p.normal(n, k)
					}
					bias := p.normal(n)
					for mode := range 3 {
						call := args
						call.Accumulate = mode == 1
						call.Alpha = []float32{0, -0.3, 1.75}[mode]
						p.each(func(be backend.Backend, i int) error {
							if mode == 2 {
								call.Bias = bias[i]
							}
							return be.MatMul(c[i], a[i], b[i], call)
						})
						p.close(fmt.Sprintf("%v form %d mode %d", s, form, mode), c, prec.product)
					}
				}
			}
			// Views at odd offsets.
			a, b, c := p.normal(40*70+1), p.normal(70*50+3), p.normal(40*50+1)
			p.each(func(be backend.Backend, i int) error {
				av, err := be.View(a[i], 1, 40, 70)
				must(t, err)
				bv, err := be.View(b[i], 3, 70, 50)
				must(t, err)
				cv, err := be.View(c[i], 1, 40, 50)
				must(t, err)
				return be.MatMul(cv, av, bv, backend.MatMulArgs{})
			})
			p.close("odd offsets", c, prec.product)
		})
	}
}

// shapesOf128 are products that tiles of 128 compute on every card: those of a training step of the 7M class, and one whose every side
// has a tail. On the emulator, whose device has few processors, smaller ones have the same tiles.
func shapesOf128() [][3]int {
	if emulated {
		return [][3]int{{256, 384, 96}, {130, 390, 385}}
	}
	return cuda.LargeShapes
}

// Tiles of 128 are picked for large products, and compute what the CPU does.
func TestTilesOf128(t *testing.T) {
	for _, s := range shapesOf128() {
		for form := range 4 {
			m, n, k := s[0], s[1], s[2]
			p := newPairOf(t, backend.BFloat16, 4*int64(m*k+k*n+m*n)+1<<10)
			if tile := cuda.TileOf(p.on[1].(*cuda.Backend), m, n, k); tile != 128 {
				t.Errorf("%v is computed in tiles of %d", s, tile)
			}
			args := backend.MatMulArgs{TransA: form&2 != 0, TransB: form&1 != 0}
			a, b, c := [2]int{m, k}, [2]int{k, n}, p.normal(m, n)
			if args.TransA {
				a = [2]int{k, m}
			}
			if args.TransB {
				b = [2]int{n, k}
			}
			x, y := p.normal(a[:]...), p.normal(b[:]...)
			p.each(func(be backend.Backend, i int) error { return be.MatMul(c[i], x[i], y[i], args) })
			p.close(fmt.Sprintf("%v form %d", s, form), c, 0x1p-7)
		}
	}
}

// Tiles of 128 compute what the CPU does of operands and into results of either dtype. The factors are numbers that bfloat16 holds, so
// only sums are off: by the 4·2^-24·√k of float32, and by 2^-23 for each 8 of k, as tensor cores cut off their sums. A result of bfloat16
// is rounded on top.
func TestTilesOf128Dtypes(t *testing.T) {
	f, h := backend.F32, backend.BF16
	for _, s := range shapesOf128() {
		for form := range 4 {
			m, n, k := s[0], s[1], s[2]
			p := newPairOf(t, backend.BFloat16, 16*int64(m*k+k*n+3*m*n)+16<<10)
			args := backend.MatMulArgs{TransA: form&2 != 0, TransB: form&1 != 0}
			a, b := [2]int{m, k}, [2]int{k, n}
			if args.TransA {
				a = [2]int{k, m}
			}
			if args.TransB {
				b = [2]int{n, k}
			}
			x, y, c := p.rounded(a[:]...), p.rounded(b[:]...), p.normal(m, n)
			must(t, p.on[0].MatMul(c[0], x[0], y[0], args))
			for _, dt := range [][3]tensor.Dtype{{h, h, h}, {h, h, f}, {h, f, h}, {f, h, f}} {
				z := p.as(dt[2], c[1])
				must(t, p.on[1].MatMul(z, p.as(dt[0], x[1]), p.as(dt[1], y[1]), args))
				limit := 0x1p-22*math.Sqrt(float64(k)) + 0x1p-26*float64(k)
				if dt[2] == h {
					limit += bf16.Eps
				}
				p.close(fmt.Sprintf("%v form %d of %v", s, form, dt), tensors{c[0], z}, limit)
			}
		}
	}
}

// Attention over several tiles of queries and keys, every padded head width, windows and shared heads.
func TestLargeAttention(t *testing.T) {
	for _, prec := range precisions {
		t.Run(prec.precision.String(), func(t *testing.T) {
			p := newPair(t, prec.precision)
			limit := 4 * prec.product // two products and the probabilities between them
			for _, a := range []backend.AttentionArgs{
				{Batch: 2, Time: 130, Heads: 4, KVHeads: 2, HeadDim: 32},
				{Batch: 1, Time: 200, Heads: 2, KVHeads: 1, HeadDim: 64, Window: 70},
				{Batch: 1, Time: 129, Heads: 3, KVHeads: 1, HeadDim: 80, Window: 64},
				{Batch: 1, Time: 100, Heads: 2, KVHeads: 2, HeadDim: 128, Window: 33},
				{Batch: 1, Time: 70, Heads: 1, KVHeads: 1, HeadDim: 160},
				{Batch: 1, Time: 66, Heads: 2, KVHeads: 1, HeadDim: 25, Window: 1},
			} {
				a.Scale = float32(1 / math.Sqrt(float64(a.HeadDim)))
				n, width, kv := a.Batch*a.Time, a.Heads*a.HeadDim, a.KVHeads*a.HeadDim
				q, k, v, dout := p.normal(n, width), p.normal(n, kv), p.normal(n, kv), p.normal(n, width)
				out, lse := p.normal(n, width), p.normal(n, a.Heads)
				dq, dk, dv := p.normal(n, width), p.normal(n, kv), p.normal(n, kv)
				p.each(func(b backend.Backend, i int) error {
					must(t, b.Attention(out[i], lse[i], q[i], k[i], v[i], a))
					return b.AttentionBackward(dq[i], dk[i], dv[i], dout[i], out[i], lse[i], q[i], k[i], v[i], a)
				})
				name := fmt.Sprintf("T %d H %d G %d D %d W %d", a.Time, a.Heads, a.KVHeads, a.HeadDim, a.Window)
				p.close(name+" out", out, limit)
				p.close(name+" lse", lse, limit)
				if a.Window != 1 { // where a query sees itself only, dq and dk are zero but for rounding
					p.close(name+" dq", dq, limit)
					p.close(name+" dk", dk, limit)
				}
				p.close(name+" dv", dv, limit)
			}
		})
	}
}

// A window wider than the sequence, also one that 32 bits do not hold, hides nothing.
func TestWideWindow(t *testing.T) {
	for _, prec := range precisions {
		p := newPair(t, prec.precision)
		b := p.on[1]
		const n, width = 20, 8
		q, k, v, dout := p.normal(n, width)[1], p.normal(n, width)[1], p.normal(n, width)[1], p.normal(n, width)[1]
		var want [][]float32
		for i, w := range []int{0, n, math.MaxInt32, 1<<32 + 3} {
			a := backend.AttentionArgs{Batch: 1, Time: n, Heads: 1, KVHeads: 1, HeadDim: width, Window: w, Scale: 0.35}
			lse := p.normal(n, 1)[1]
			results := []*tensor.Dense{p.normal(n, width)[1], p.normal(n, width)[1], p.normal(n, width)[1], p.normal(n, width)[1],
				p.normal(n, width)[1]}
			out, dq, dk, dv := results[0], results[1], results[2], results[3]
			must(t, b.Attention(out, lse, q, k, v, a))
			must(t, b.AttentionBackward(dq, dk, dv, dout, out, lse, q, k, v, a))
			must(t, b.QAttention(results[4], q, k, v, a))
			var got [][]float32
			for _, x := range results {
				host := make([]float32, n*width)
				must(t, b.Download(host, x))
				got = append(got, host)
			}
			if i == 0 {
				want = got
			}
			for j := range got {
				if !slices.Equal(got[j], want[j]) {
					t.Errorf("%v: window %d: result %d is not that of no window", prec.precision, w, j)
				}
			}
		}
	}
}

// Row operations over more rows than a block has, so that partial sums are added up.
func TestManyRows(t *testing.T) {
	p := newPair(t, backend.Float32)
	const n, c, vocab = 700, 160, 50
	const limit = 1e-5
	x, dy, gain, bias := p.normal(n, c), p.normal(n, c), p.normal(c), p.normal(c)
	y, dx, rstd, mean := p.normal(n, c), p.normal(n, c), p.normal(n), p.normal(n)
	dgain, dbias := p.normal(c), p.normal(c)
	p.each(func(b backend.Backend, i int) error {
		must(t, b.RMSNorm(y[i], rstd[i], x[i], gain[i], 1e-5))
		must(t, b.RMSNormBackward(dx[i], dgain[i], dy[i], x[i], gain[i], rstd[i], false))
		return b.SumRows(dbias[i], dy[i])
	})
	p.close("rmsnorm", y, 0)
	p.close("rmsnorm dx", dx, limit)
	p.close("rmsnorm dgain", dgain, limit)
	p.close("sum of rows", dbias, limit)
	p.each(func(b backend.Backend, i int) error {
		must(t, b.LayerNorm(y[i], mean[i], rstd[i], x[i], gain[i], bias[i], 1e-5))
		return b.LayerNormBackward(dx[i], dgain[i], dbias[i], dy[i], x[i], gain[i], mean[i], rstd[i], false)
	})
	p.close("layernorm", y, 0)
	p.close("layernorm dx", dx, limit)
	p.close("layernorm dgain", dgain, limit)
	p.close("layernorm dbias", dbias, limit)

	// A small vocabulary is cut into shares; wide rows take several turns.
	for _, width := range []int{c, 300} {
		table, rows, ids := p.normal(vocab, width), p.normal(n, width), p.ids(vocab, n)
		p.each(func(b backend.Backend, i int) error { return b.EmbedBackward(table[i], rows[i], ids[i]) })
		p.close("embedding gradient", table, limit)
	}

	// A vocabulary of more than one block's turn.
	const wide = 3000
	logits, targets, weights := p.normal(9, wide), p.ids(wide, 9), p.make(backend.F32, []float32{1, 0, 2, 1, 1, 0.5, 1, 0, 1}, 9)
	loss, dlogits := p.normal(9), p.normal(9, wide)
	p.each(func(b backend.Backend, i int) error {
		return b.CrossEntropy(loss[i], dlogits[i], logits[i], targets[i], weights[i], backend.CrossEntropyArgs{Smoothing: 0.1, Scale: 0.25})
	})
	p.close("cross-entropy", loss, limit)
	p.close("cross-entropy gradient", dlogits, limit)

	sum := p.make(backend.F32, []float32{1}, 1)
	p.each(func(b backend.Backend, i int) error {
		must(t, b.SumSquares(sum[i], x[i]))
		return b.SumSquares(sum[i], dlogits[i])
	})
	p.close("sum of squares", sum, limit)
}
