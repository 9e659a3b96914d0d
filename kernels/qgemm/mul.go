package qgemm

import (
	"sync"

	"mito/kernels/isa"
)

//go:generate go run -C ../_asm ./qgemm -out ../qgemm/qgemm_amd64.s -stubs ../qgemm/stubs_amd64.go -pkg qgemm

// funcs are the kernels of one variant. Each computes, for m < rows and n < 32·blocks,
//
//	acc[m·ldacc+n] = Σ_{k < 4·k4} w[n,k]·x[m·ldx+k]
//
// on packed blocks that are step groups of 128 bytes long. Rows is at least 1; k4 may be 0. unsigned promises
// 0 ≤ x ≤ 127.
type funcs struct {
	signed, unsigned func(acc []int32, ldacc int, w []int8, corr []int32, x []int8, ldx, rows, blocks, k4, step int)
}

var kernels = isa.New("qgemm", append([]isa.Impl[funcs]{{Name: isa.Generic, Funcs: funcs{mulGeneric, mulGeneric}}}, variants()...)...)

// Variants returns the names of the variants that this processor can run, slowest first.
func Variants() []string { return kernels.Variants() }

// Variant returns the name of the chosen variant.
func Variant() string { return kernels.Variant() }

// SetVariant chooses a variant by name. It is for tests, verification and benchmarks, and must not run while a product does.
func SetVariant(name string) error { return kernels.SetVariant(name) }

// MulVec computes acc[n] = Σ_k w[n,k]·x[k].
//
//	acc [N] i32   x [K] i8 in [-127,127]
func (p *Packed) MulVec(acc []int32, x []int8) { p.Mul(acc, p.n, x, 1, 0, p.n, false) }

// MulVecUnsigned is MulVec for activations that are never negative (after ReLU or ReLU²), where AVX2 needs no sign step.
//
//	acc [N] i32   x [K] i8 in [0,127]
func (p *Packed) MulVecUnsigned(acc []int32, x []int8) { p.Mul(acc, p.n, x, 1, 0, p.n, true) }

// MulRows computes acc[m,n] = Σ_k w[n,k]·x[m,k].
//
//	acc [M,N] i32   x [M,K] i8 in [-127,127]
func (p *Packed) MulRows(acc []int32, x []int8, rows int) { p.Mul(acc, p.n, x, rows, 0, p.n, false) }

// Mul is MulRows for the weight rows n0 ≤ n < n1 only, so that threads can share a product. n0 is a multiple of 32, and
// so is n1 unless it is N. Row m of acc begins at m·stride; when stride ≥ PaddedN, columns N ≤ n < PaddedN of acc are
// set to zero by the range that ends at N, which saves a copy. unsigned promises activations in [0,127].
//
//	acc [M,stride] i32   x [M,K] i8
func (p *Packed) Mul(acc []int32, stride int, x []int8, rows, n0, n1 int, unsigned bool) {
	if n0%blockRows != 0 || n1 > p.n || (n1 != p.n && n1%blockRows != 0) || stride < p.n {
		panic("qgemm: bad range")
	}
	if rows <= 0 || n0 >= n1 {
		return
	}
	x = x[:rows*p.k]
	f := kernels.Funcs()
	mul := f.signed
	if unsigned {
		mul = f.unsigned
	}
	k4, step := p.k/groupCols, p.groups()
	whole := n1 / blockRows * blockRows
	if n1 == p.n && stride >= p.PaddedN() {
		whole = p.PaddedN()
	}
	if blocks := (whole - n0) / blockRows; blocks > 0 {
		_ = acc[(rows-1)*stride+whole-1]
		mul(acc[n0:], stride, p.w[n0*step*groupCols:], p.corr[n0:], x, p.k, rows, blocks, k4, step)
	}
	if whole < n1 {
		p.lastBlock(acc, stride, x, rows, whole, mul, k4, step)
	}
	if p.k%groupCols != 0 {
		p.tailColumns(acc, stride, x, rows, n0, n1)
	}
}

// lastBlock computes the rows of the block that N cuts short, by way of a block-wide buffer.
func (p *Packed) lastBlock(acc []int32, stride int, x []int8, rows, n0 int,
	mul func([]int32, int, []int8, []int32, []int8, int, int, int, int, int), k4, step int) {
	buf := blockPool.Get().(*[blockRows]int32)
	for m := range rows {
		mul(buf[:], blockRows, p.w[n0*step*groupCols:], p.corr[n0:], x[m*p.k:], p.k, 1, 1, k4, step)
		copy(acc[m*stride+n0:m*stride+p.n], buf[:])
	}
	blockPool.Put(buf)
}

// A kernel is called through a function value, which makes a buffer on the stack escape: keep a few instead.
var blockPool = sync.Pool{New: func() any { return new([blockRows]int32) }}

// tailColumns adds the last K mod 4 columns, which the kernels would have to load from behind the end of x.
func (p *Packed) tailColumns(acc []int32, stride int, x []int8, rows, n0, n1 int) {
	k0 := p.k / groupCols * groupCols
	for n := n0; n < n1; n++ {
		w := p.w[p.index(n, k0):][:p.k-k0]
		for m := range rows {
			var s int32
			for i, v := range x[m*p.k+k0:][:len(w)] {
				s += int32(v) * int32(w[i])
			}
			acc[m*stride+n] += s
		}
	}
}

// mulGeneric is the meaning of every variant.
func mulGeneric(acc []int32, ldacc int, w []int8, _ []int32, x []int8, ldx, rows, blocks, k4, step int) {
	for m := range rows {
		xr := x[m*ldx:][:k4*groupCols]
		for b := range blocks {
			out := (*[blockRows]int32)(acc[m*ldacc+b*blockRows:])
			*out = [blockRows]int32{}
			wb := w[b*step*blockRows*groupCols:]
			for g := range k4 {
				x0, x1, x2, x3 := int32(xr[4*g]), int32(xr[4*g+1]), int32(xr[4*g+2]), int32(xr[4*g+3])
				wg := (*[blockRows * groupCols]int8)(wb[g*blockRows*groupCols:])
				for r := range out {
					out[r] += int32(wg[4*r])*x0 + int32(wg[4*r+1])*x1 + int32(wg[4*r+2])*x2 + int32(wg[4*r+3])*x3
				}
			}
		}
	}
}

// zero clears rows of 32·blocks sums, which is all there is for fewer than four columns.
func zero(acc []int32, ldacc, rows, blocks int) {
	for m := range rows {
		clear(acc[m*ldacc:][:blocks*blockRows])
	}
}
