//go:build cuda && cudaemu && linux && (amd64 || arm64)

package cuda

import (
	"math"
	"strings"
	"testing"
	stdtime "time"

	"gorgonia.org/tensor"

	"mito/backend"
	"mito/backend/cuda/cudaemu"
)

func openWith(t *testing.T, p backend.Precision) *Backend {
	t.Helper()
	b, err := Open(backend.Options{Precision: p})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return b
}

// products runs products in four forms, one that adds to its result, one with a factor, one with a bias and one with an activation,
// and returns what they gave and how many of them the library computed.
func products(t *testing.T, b *Backend) (results [][]float32, library int) {
	t.Helper()
	const m, n, k = 24, 20, 36
	made := func(rows, cols, seed int) *tensor.Dense {
		v := make([]float32, rows*cols)
		for i := range v {
			v[i] = float32((i*7+seed)%23-11) / 8
		}
		x := newTensor(t, b, v)
		view, err := b.View(x, 0, rows, cols)
		if err != nil {
			t.Fatal(err)
		}
		return view
	}
	bias := newTensor(t, b, make([]float32, n))
	before := cudaemu.CublasLtProducts()
	run := func(activate bool, args backend.MatMulArgs) {
		a, bb, c := made(m, k, 1), made(k, n, 2), made(m, n, 3)
		if args.TransA {
			a = made(k, m, 1)
		}
		if args.TransB {
			bb = made(n, k, 2)
		}
		activated := made(m, n, 4)
		err := b.MatMul(c, a, bb, args)
		if err == nil && activate {
			err = b.Activate(activated, c, backend.ReLU2)
		}
		if err != nil {
			t.Fatal(err)
		}
		results = append(results, read(t, b, c))
	}
	for form := range 4 {
		run(false, backend.MatMulArgs{TransA: form&2 != 0, TransB: form&1 != 0})
	}
	run(false, backend.MatMulArgs{TransB: true, Accumulate: true, Alpha: 0.5})
	run(false, backend.MatMulArgs{TransB: true, Bias: bias})
	run(true, backend.MatMulArgs{TransB: true})
	return results, cudaemu.CublasLtProducts() - before
}

// The library computes what is alone in its launch, where it is faster, also in recordings; the rest and what it is slower at, the
// own kernels do. Results are the same but for the order of sums.
func TestCublasLt(t *testing.T) {
	defer cudaemu.SetCublasLt(false, false, 0)
	want, used := products(t, openWith(t, backend.BFloat16))
	if used != 0 {
		t.Errorf("%d products of the library, which was not asked for", used)
	}
	const measured = 4 * 3 // calls
	for _, c := range []struct {
		name  string
		delay stdtime.Duration
		used  int // products once all shapes are known
		says  string
	}{{"faster", 0, 5, "libcublasLt"}, {"slower", 30 * stdtime.Millisecond, 0, "libcublasLt"}} {
		t.Run(c.name, func(t *testing.T) {
			cudaemu.SetCublasLt(true, true, c.delay)
			b := openWith(t, backend.CublasLt)
			if says := b.Info().Kernels["products"]; !strings.Contains(says, c.says) {
				t.Errorf("products by %q", says)
			}
			for round := range 2 {
				got, used := products(t, b)
				expected := c.used
				if round == 0 {
					expected += 5 * measured
				}
				if used != expected {
					t.Errorf("round %d: %d products of the library, want %d", round, used, expected)
				}
				for i := range want {
					for j := range want[i] {
						if d := math.Abs(float64(got[i][j] - want[i][j])); !(d < 1e-5) {
							t.Fatalf("product %d, element %d: %v, own %v", i, j, got[i][j], want[i][j])
						}
					}
				}
			}
			times := b.ProductTimes()
			if len(times) != 5 {
				t.Errorf("%d shapes were measured, want 5", len(times))
			}
			for _, x := range times {
				if x.Own <= 0 || x.Library <= 0 || (x.Library < x.Own) != (c.used > 0) {
					t.Errorf("%+v", x)
				}
			}
		})
	}
}

// A shape that first comes in a recording is not measured there; one that is known is recorded as what it is.
func TestCublasLtInCapture(t *testing.T) {
	defer cudaemu.SetCublasLt(false, false, 0)
	cudaemu.SetCublasLt(true, true, 0)
	b := openWith(t, backend.CublasLt)
	x, err := b.View(newTensor(t, b, []float32{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}), 0, 4, 4)
	if err != nil {
		t.Fatal(err)
	}
	y, err := b.View(newTensor(t, b, make([]float32, 16)), 0, 4, 4)
	if err != nil {
		t.Fatal(err)
	}
	product := func() error { return b.MatMul(y, x, x, backend.MatMulArgs{TransB: true}) }
	for _, known := range []bool{false, true} {
		before := cudaemu.CublasLtProducts()
		g, err := b.Capture(product)
		if err != nil {
			t.Fatal(err)
		}
		if got := cudaemu.CublasLtProducts() - before; got != flag(known) {
			t.Errorf("known %v: %d products of the library", known, got)
		}
		if err := g.Replay(); err != nil {
			t.Fatal(err)
		}
		if got := read(t, b, y); got[0] != 30 || got[1] != 70 || got[15] != 13*13+14*14+15*15+16*16 {
			t.Errorf("known %v: %v", known, got)
		}
		if err := g.Close(); err != nil {
			t.Error(err)
		}
		if err := product(); err != nil { // is measured
			t.Fatal(err)
		}
		read(t, b, y)
	}
}

// Where there is no library, or it does not start, the own kernels do everything and Info says why.
func TestNoCublasLt(t *testing.T) {
	defer cudaemu.SetCublasLt(false, false, 0)
	for _, c := range []struct {
		there, starts bool
		says          string
	}{{false, false, "none of"}, {true, false, "cublasLtCreate: cuBLAS status 7"}} {
		cudaemu.SetCublasLt(c.there, c.starts, 0)
		b := openWith(t, backend.CublasLt)
		if says := b.Info().Kernels["products"]; !strings.HasPrefix(says, "mito's kernels") || !strings.Contains(says, c.says) {
			t.Errorf("%+v: products by %q", c, says)
		}
		if _, used := products(t, b); used != 0 {
			t.Errorf("%+v: %d products of the library", c, used)
		}
	}
}
