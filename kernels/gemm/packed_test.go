package gemm

import (
	"testing"

	"mito/kernels/kerneltest"
	"mito/kernels/parallel"
)

// Packed must give the bits of Gemm in the same variant, for every number of rows, on every number of threads.
func TestPackedHasTheBitsOfGemm(t *testing.T) {
	p := parallel.New(3)
	defer p.Close()
	eachVariant(t, func(t *testing.T) {
		r := kerneltest.Rand("packed")
		for _, s := range [][2]int{{1, 1}, {32, 8}, {31, 9}, {96, 96}, {65, 96}, {128, 33}, {129, 17}, {288, 96}, {100, 1}, {384, 600}, {0, 4}, {4, 0}} {
			n, k := s[0], s[1]
			w := kerneltest.Normal(r, kerneltest.Guarded[float32](t, n*k, kerneltest.End))
			packed := Pack(w, n, k)
			for _, rows := range []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 17} {
				x := kerneltest.Normal(r, kerneltest.Guarded[float32](t, rows*k, kerneltest.Sides[rows%2]))
				y := kerneltest.Normal(r, kerneltest.Guarded[float32](t, rows*n, kerneltest.Sides[rows%2]))
				want := make([]float32, rows*n)
				Gemm(&Args{M: rows, N: n, K: k, A: x, LDA: k, B: w, LDB: k, TransB: true, C: want, LDC: n}, nil)
				packed.MulRows(y, x, rows, nil)
				if err := kerneltest.Bits(y, want); err != nil {
					t.Fatalf("N %d K %d rows %d: %v", n, k, rows, err)
				}
				clear(y)
				packed.MulRows(y, x, rows, p)
				if err := kerneltest.Bits(y, want); err != nil {
					t.Fatalf("N %d K %d rows %d, 3 threads: %v", n, k, rows, err)
				}
			}
		}
	})
}

func TestPackedShape(t *testing.T) {
	p := Pack(make([]float32, 65*96), 65, 96)
	if n, k := p.Shape(); n != 65 || k != 96 {
		t.Errorf("shape %d x %d", n, k)
	}
	if p.Bytes() != 4*96*96 {
		t.Errorf("%d bytes", p.Bytes())
	}
	for name, f := range map[string]func(){
		"short weights": func() { Pack(make([]float32, 5), 2, 3) },
		"short y":       func() { p.MulRows(make([]float32, 64), make([]float32, 96), 1, nil) },
		"short x":       func() { p.MulVec(make([]float32, 65), make([]float32, 95), nil) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			f()
		}()
	}
}
