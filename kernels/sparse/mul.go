package sparse

import "mito/kernels/isa"

//go:generate go run -C ../_asm ./sparse -out ../sparse/sparse_amd64.s -stubs ../sparse/stubs_amd64.go -pkg sparse

// funcs are the kernels of one variant: for one activation row and the slices from ≤ s < to of a tile they set, or with add = 1
// add to, acc[n] for every row n of those slices, up to PaddedN. x begins at the tile's columns and has a multiple of 8.
type funcs struct {
	signed, unsigned func(t *tile, acc []int32, x []int8, from, to, add int)
}

var kernels = isa.New("sparse", append([]isa.Impl[funcs]{{Name: isa.Generic, Funcs: funcs{mulGeneric, mulGeneric}}}, variants()...)...)

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

// MulRows computes acc[m,n] = Σ_k w[n,k]·x[m,k].
//
//	acc [M,N] i32   x [M,K] i8 in [-127,127]
func (p *Packed) MulRows(acc []int32, x []int8, rows int) { p.Mul(acc, p.n, x, rows, 0, p.n, false) }

// Mul is MulRows for a share of the weight rows, so that threads can split a product: calls whose ranges n0 ≤ n < n1 cover
// 0 ≤ n < N once compute every row once, but not necessarily the rows n0 to n1 themselves, because rows are sorted. n0 is
// a multiple of 32, and so is n1 unless it is N. Row m of acc begins at m·stride; when stride ≥ PaddedN, columns N to
// PaddedN-1 of acc are set to zero on the way. unsigned promises activations in [0,127].
//
//	acc [M,stride] i32   x [M,K] i8
func (p *Packed) Mul(acc []int32, stride int, x []int8, rows, n0, n1 int, unsigned bool) {
	if n0%outRows != 0 || n1 > p.n || (n1 != p.n && n1%outRows != 0) || stride < p.n {
		panic("sparse: bad range")
	}
	// A range computes the windows that begin in it.
	mask := p.window - 1
	from := (n0 + mask) &^ mask / outRows
	to := min((n1+mask)&^mask, p.padded) / outRows
	if rows <= 0 || from >= to {
		return
	}
	x = x[:rows*p.k]
	f := kernels.Funcs()
	mul, width := f.signed, p.padded
	if unsigned {
		mul = f.unsigned
	}
	if p.k%BlockCols != 0 || stride < p.padded {
		mul, width = mulGeneric, p.n // never reads or writes beyond a row
	}
	for m := range rows {
		row, xs := acc[m*stride:][:width], x[m*p.k:]
		for i := range p.tiles {
			t := &p.tiles[i]
			mul(t, row, xs[t.col:t.end], from, to, min(i, 1))
		}
	}
}

// mulGeneric is the meaning of every variant. It leaves rows beyond the end of acc out.
func mulGeneric(t *tile, acc []int32, x []int8, from, to, add int) {
	for s := from; s < to; s++ {
		var sum [outRows]int32
		for i := range sliceRows {
			for j := range t.count(s*sliceRows + i) {
				slot := t.slot(s*sliceRows+i, j)
				c := int(t.index[slot]) * BlockCols
				xs := x[min(len(x), c):min(len(x), c+BlockCols)]
				for r := range BlockRows {
					w := t.w[place(slot, r):][:BlockCols]
					for b, v := range xs {
						sum[i*BlockRows+r] += int32(v) * int32(w[b])
					}
				}
			}
		}
		for i, place := range t.places[s*sliceRows:][:sliceRows] {
			at := int(place) / 2 * BlockRows
			for b := at; b < min(at+BlockRows, len(acc)); b++ {
				v := sum[i*BlockRows+b-at]
				if add == 1 {
					v += acc[b]
				}
				acc[b] = v
			}
		}
	}
}
