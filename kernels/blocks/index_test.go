package blocks

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// The lists by rows and by columns hold exactly the blocks in which some element is not zero.
func TestOf(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, s := range [][2]int{{4, 8}, {12, 8}, {4, 40}, {36, 56}} {
		n, k := s[0], s[1]
		for _, share := range []float64{0, 0.02, 0.3, 1} {
			m := make([]float32, n*k)
			for i := range m {
				if r.Float64() < share {
					m[i] = 1
				}
			}
			x := Of(m, n, k)
			want := 0
			for i := range n / Rows {
				for j := range k / Cols {
					alive := false
					for e := range Rows * Cols {
						alive = alive || m[(i*Rows+e/Cols)*k+j*Cols+e%Cols] != 0
					}
					if alive {
						want++
					}
					if slices.Contains(x.InRow(i), int32(j)) != alive || slices.Contains(x.InColumn(j), int32(i)) != alive {
						t.Fatalf("[%d,%d], block %d,%d: alive %v, listed %v and %v", n, k, i, j, alive, x.InRow(i), x.InColumn(j))
					}
				}
			}
			for i := range n / Rows {
				if !slices.IsSorted(x.InRow(i)) {
					t.Errorf("block row %d: %v is not ascending", i, x.InRow(i))
				}
			}
			for j := range k / Cols {
				if !slices.IsSorted(x.InColumn(j)) {
					t.Errorf("block column %d: %v is not ascending", j, x.InColumn(j))
				}
			}
			if got := x.Live(); got != float64(want)/float64(n/Rows*(k/Cols)) {
				t.Errorf("[%d,%d]: live share %v with %d blocks", n, k, got, want)
			}
		}
	}
}

func TestOfRefuses(t *testing.T) {
	for _, s := range [][3]int{{5, 8, 40}, {4, 7, 28}, {0, 8, 0}, {4, 8, 31}, {-4, -8, 32}} {
		if Of(make([]float32, s[2]), s[0], s[1]) != nil {
			t.Errorf("%d elements of [%d,%d] have an index", s[2], s[0], s[1])
		}
	}
}
