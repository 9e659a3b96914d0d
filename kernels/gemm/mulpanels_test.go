package gemm

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// TestMulPanels compares with Gemm, bit by bit, in every variant and in all numbers of rows and panels up to a few.
func TestMulPanels(t *testing.T) {
	defer func(v string) { _ = SetVariant(v) }(Variant())
	s := NewScratch()
	for _, v := range Variants() {
		if err := SetVariant(v); err != nil {
			t.Fatal(err)
		}
		for _, k := range []int{1, 7, 24, 65} {
			for rows := 1; rows <= 10; rows++ {
				for panels := 1; panels <= 9; panels += 2 {
					t.Run(fmt.Sprintf("%s/k %d rows %d panels %d", v, k, rows, panels), func(t *testing.T) {
						rng := rand.New(rand.NewPCG(uint64(k), uint64(rows*100+panels)))
						draw := func(n int) []float32 {
							x := make([]float32, n)
							for i := range x {
								x[i] = rng.Float32() - 0.5
							}
							return x
						}
						ldx, ldy, stride, n := k+3, panels*PanelCols+5, (k+2)*PanelCols, panels*PanelCols
						x, w := draw((rows-1)*ldx+k), draw((panels-1)*stride+k*PanelCols)
						got, want := draw((rows-1)*ldy+n), make([]float32, rows*n)
						before := append([]float32(nil), got...)
						b := make([]float32, k*n)
						for i := range k {
							for j := range n {
								b[i*n+j] = w[j/PanelCols*stride+i*PanelCols+j%PanelCols]
							}
						}
						Gemm(&Args{M: rows, N: n, K: k, A: x, LDA: ldx, B: b, LDB: n, C: want, LDC: n}, nil)
						MulPanels(s, got, ldy, x, ldx, rows, PanelOperand{w, stride}, panels, k)
						for i := range got {
							r, c := i/ldy, i%ldy
							expect := before[i]
							if c < n {
								expect = want[r*n+c]
							}
							if math.Float32bits(got[i]) != math.Float32bits(expect) {
								t.Fatalf("row %d, column %d: %x, want %x", r, c, got[i], expect)
							}
						}
					})
				}
			}
		}
	}
}

func TestMulPanelsRefuses(t *testing.T) {
	w, x, y := make([]float32, 64), make([]float32, 2), make([]float32, 32)
	for name, f := range map[string]func(){
		"x short": func() { MulPanels(NewScratch(), y, 32, x[:1], 2, 1, PanelOperand{w, 64}, 1, 2) },
		"y short": func() { MulPanels(NewScratch(), y[:31], 32, x, 2, 1, PanelOperand{w, 64}, 1, 2) },
		"b short": func() { MulPanels(NewScratch(), y, 32, x, 2, 1, PanelOperand{w[:63], 64}, 1, 2) },
		"no k":    func() { MulPanels(NewScratch(), y, 32, x, 2, 1, PanelOperand{w, 64}, 1, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Fatal("no panic")
				}
			}()
			f()
		})
	}
}
