package gemm

import (
	"testing"

	"mito/kernels/kerneltest"
)

func TestPanelsHaveTheBitsOfGemm(t *testing.T) {
	eachVariant(t, func(t *testing.T) {
		r := kerneltest.Rand("panels")
		var p Panels
		s := NewScratch()
		for _, size := range [][3]int{{1, 1, 1}, {5, 7, 3}, {24, 32, 32}, {13, 70, 33}, {30, 100, 8}, {12, 48, 64}} {
			m, n, k := size[0], size[1], size[2]
			for form := range 4 {
				a := problem(t, r, m, n, k, 3, form&1 != 0, form&2 != 0, start(form%2*2), kerneltest.Sides[form%2])
				p.Pack(a.B, a.LDB, a.TransB, k, n)
				view := Strided{a.A, a.LDA, 1}
				if a.TransA {
					view = Strided{a.A, 1, a.LDA}
				}
				want := chain(a)
				p.Mul(s, a.C, a.LDC, view, m, 0, k, 0, n, a.Accumulate)
				if err := kerneltest.Bits(compact(a), want); err != nil {
					t.Fatalf("M %d N %d K %d form %d: %v", m, n, k, form, err)
				}
				checkPart(t, &p, s, a, view)
			}
		}
	})
}

// checkPart multiplies the second half of K into all but the first panel, padding included.
func checkPart(t *testing.T, p *Panels, s *Scratch, a *Args, view Strided) {
	t.Helper()
	_, nr := p.Tile()
	k0, n0, n1 := a.K/2, min(nr, a.N-1)/nr*nr, p.Padded()
	part := a.sub(0, a.M, n0, a.N, k0, a.K)
	part.Accumulate, part.Bias = false, nil
	want := chain(part)
	ld := n1 - n0
	got := kerneltest.Guarded[float32](t, a.M*ld, kerneltest.End)
	view.Data = view.Data[k0*view.Col:]
	p.Mul(s, got, ld, view, a.M, k0, a.K, n0, n1, false)
	for i := range a.M {
		w := want[i*part.N : (i+1)*part.N]
		if err := kerneltest.Bits(got[i*ld:i*ld+part.N], w); err != nil {
			t.Fatalf("M %d N %d K %d, part, row %d: %v", a.M, a.N, a.K, i, err)
		}
		for j, v := range got[i*ld+part.N : (i+1)*ld] {
			if v != 0 {
				t.Fatalf("padding column %d is %v", j, v)
			}
		}
	}
}

func TestPanelsRefuseShortOperands(t *testing.T) {
	var p Panels
	p.Pack(make([]float32, 12), 4, false, 3, 4)
	s := NewScratch()
	for name, f := range map[string]func(){
		"B":     func() { new(Panels).Pack(make([]float32, 11), 4, false, 3, 4) },
		"A":     func() { p.Mul(s, make([]float32, 8), 4, Strided{make([]float32, 5), 3, 1}, 2, 0, 3, 0, 4, false) },
		"C":     func() { p.Mul(s, make([]float32, 7), 4, Strided{make([]float32, 6), 3, 1}, 2, 0, 3, 0, 4, false) },
		"K":     func() { p.Mul(s, make([]float32, 8), 4, Strided{make([]float32, 8), 4, 1}, 2, 0, 4, 0, 4, false) },
		"empty": func() { p.Mul(s, make([]float32, 8), 4, Strided{make([]float32, 8), 4, 1}, 2, 1, 1, 0, 4, false) },
		"begin": func() { p.Mul(s, make([]float32, 8), 4, Strided{make([]float32, 8), 4, 1}, 2, 0, 3, 1, 4, false) },
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
