package gemm

import (
	"unsafe"

	"mito/kernels/isa"
)

//go:generate go run -C ../_asm ./gemm -out ../gemm/gemm_amd64.s -stubs ../gemm/stubs_amd64.go -pkg gemm
//go:generate go run -C ../_asm ./gemmneon -out ../gemm/gemm_arm64.s -stubs ../gemm/stubs_arm64.go

const (
	maxMR = 12 // rows of the largest register tile of any variant
	maxNR = 32

	// stripRows rows of a transposed A are packed at a time: three cache lines of each k, of any variant a whole number
	// of tiles.
	stripRows   = 48
	stripFloats = 64 // elements per k that all their strips take at most
)

// tile is the argument of a micro-kernel. Strides are in bytes. The assembly knows the offsets of the fields.
type tile struct {
	k        int            //  0
	a        unsafe.Pointer //  8: A[i,k] at a + i*ars + k*aks
	ars, aks int            // 16, 24
	b        unsafe.Pointer // 32: B[k,j] at b + k*bks + 4*j, panel p at b + p*bps
	bks, bps int            // 40, 48
	src      unsafe.Pointer // 56: where the chains start: row i at src + i*srs
	srs      int            // 64
	c        unsafe.Pointer // 72: where they end
	crs      int            // 80
}

// microKernel computes a tile of a fixed number of rows and columns:
//
//	for i, j { s := src[i,j]; for k { s = fma(a[i,k], b[k,j], s) }; c[i,j] = s }
type microKernel func(t *tile)

// smallKernel computes rows of so many whole panels of Packed.
type smallKernel struct {
	panels int
	kernel microKernel
}

// funcs is one variant.
type funcs struct {
	mr, nr int // register tile of full[mr]
	strip  int // elements from one k to the next in a packed strip of A, mr at least

	// full[r] computes r rows and nr columns, half[r] r rows and nr/2 columns. Where an entry is nil, fewer rows are
	// computed at a time; entry 1 is never nil.
	full, half [maxMR + 1]microKernel

	// small[r] lists kernels for r rows of Packed, most panels first. Panels that none of them takes are computed by
	// full[r], part by part.
	small [smallRows + 1][]smallKernel

	// packRows copies rows of n elements: dst[r*n+j] = src[r*ld+j], n a multiple of nr/2.
	packRows func(dst, src *float32, rows, n, ld int)
	// packCols transposes: dst[k*n+j] = src[j*ld+k] for k < rows, j < n; n a multiple of nr/2.
	packCols func(dst, src *float32, rows, n, ld int)
	// packStrip copies rows of r <= mr elements into rows of strip: dst[k*strip+i] = src[k*ld+i] for i < r.
	packStrip func(dst, src *float32, k, r, ld int)

	blocks *blockFuncs // nil: products leave no blocks out
}

var dispatch = isa.New("gemm", append([]isa.Impl[funcs]{{Name: isa.Generic, Funcs: genericFuncs()}}, variants()...)...)

// rowsAtOnce returns the rows of the largest kernel in ks that does not exceed left.
func rowsAtOnce(ks *[maxMR + 1]microKernel, left int) int {
	r := min(left, maxMR)
	for ks[r] == nil {
		r--
	}
	return r
}

func elem(s []float32, i int) unsafe.Pointer { return unsafe.Pointer(&s[i]) }
