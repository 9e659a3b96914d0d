package gemm

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"mito/kernels/parallel"
)

// TestMulPanels compares with Gemm, bit by bit, in every variant: in all numbers of rows and panels up to a few, and in more rows,
// which go over a large B in blocks of its panels.
func TestMulPanels(t *testing.T) {
	s := NewScratch()
	eachVariant(t, func(t *testing.T) {
		for _, k := range []int{1, 7, 24, 65, 900} {
			for _, rows := range []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 15, 27} {
				if k == 900 && rows < 15 {
					continue
				}
				for panels := 1; panels <= 9; panels += 2 {
					t.Run(fmt.Sprintf("k %d rows %d panels %d", k, rows, panels), func(t *testing.T) {
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
						for _, first := range []int{k, k / 2} { // at once, and in two products of which the second adds
							if first == 0 {
								continue
							}
							copy(got, before)
							MulPanels(s, got, ldy, x, ldx, rows, PanelOperand{w, stride}, panels, first)
							if first < k {
								AddPanels(s, got, ldy, x[first:], ldx, rows, PanelOperand{w[first*PanelCols:], stride}, panels, k-first)
							}
							for i := range got {
								r, c := i/ldy, i%ldy
								expect := before[i]
								if c < n {
									expect = want[r*n+c]
								}
								if math.Float32bits(got[i]) != math.Float32bits(expect) {
									t.Fatalf("first %d: row %d, column %d: %x, want %x", first, r, c, got[i], expect)
								}
							}
						}
					})
				}
			}
		}
	})
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

// TestMulPadded compares with MulRows, bit by bit, on the caller and on threads.
func TestMulPadded(t *testing.T) {
	pool := parallel.New(2)
	defer pool.Close()
	s := NewScratch()
	for _, n := range []int{1, 32, 65, 700} {
		for _, k := range []int{0, 1, 300} {
			for _, rows := range []int{1, 3, 11} {
				rng := rand.New(rand.NewPCG(uint64(n), uint64(k)))
				w, x := make([]float32, n*k), make([]float32, rows*(k+2))
				for i := range w {
					w[i] = rng.Float32() - 0.5
				}
				for i := range x {
					x[i] = rng.Float32() - 0.5
				}
				dense := make([]float32, rows*k)
				for r := range rows {
					copy(dense[r*k:][:k], x[r*(k+2):])
				}
				p := Pack(w, n, k)
				want := make([]float32, rows*n)
				p.MulRows(want, dense, rows, nil)
				ld := (n+PanelCols-1)/PanelCols*PanelCols + 7
				for _, on := range []*parallel.Pool{nil, pool} {
					got := make([]float32, rows*ld)
					p.MulPadded(s, got, ld, x, k+2, rows, on)
					for i, v := range want {
						if g := got[i/n*ld+i%n]; math.Float32bits(g) != math.Float32bits(v) {
							t.Fatalf("n %d, k %d, rows %d, %d threads: element %d is %x, want %x", n, k, rows, on.Threads(), i, g, v)
						}
					}
					if a := testing.AllocsPerRun(5, func() { p.MulPadded(s, got, ld, x, k+2, rows, on) }); a != 0 {
						t.Fatalf("n %d, k %d, rows %d, %d threads: %v allocations", n, k, rows, on.Threads(), a)
					}
				}
			}
		}
	}
}
