//go:build cuda && cudaemu && linux && (amd64 || arm64)

package cuda_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"gorgonia.org/tensor"

	"mito/backend"
	"mito/backend/backendtest"
	"mito/backend/cuda/cudaemu"
)

// emulated says that products of the size of a training step take minutes.
const emulated = true

// Work is cut by the number of processors and the shared memory of a block. The cards that mito is made for have 108 and 163 KiB
// (A100), and 132 and 227 KiB (H100); every other test runs with 4.
func TestProcessors(t *testing.T) {
	defer cudaemu.SetMultiprocessors(4)
	defer cudaemu.SetMaxShared(163 << 10)
	for _, c := range []struct{ processors, shared int }{{108, 163 << 10}, {132, 227 << 10}} {
		cudaemu.SetMultiprocessors(c.processors)
		cudaemu.SetMaxShared(c.shared)
		t.Run(fmt.Sprint(c.processors), func(t *testing.T) {
			t.Run("conformance", TestConformance)
			t.Run("products", TestLargeProducts)
			t.Run("rows", TestManyRows)
		})
	}
}

// Every result has the same bits in whatever order the threads of a block run, and whenever work lands that nobody waited for: no
// kernel misses a barrier or a wait, and neither does the host. Two OS threads run blocks in the last order, so that blocks meet as
// well.
func TestThreadOrders(t *testing.T) {
	defer cudaemu.SetOrder(0)
	defer cudaemu.SetLanding(cudaemu.LandLate)
	defer cudaemu.SetThreads(1)
	for _, p := range []backend.Precision{backend.Float32, backend.BFloat16} {
		t.Run(p.String(), func(t *testing.T) {
			b := open(t, p)
			cudaemu.SetOrder(0)
			cudaemu.SetLanding(cudaemu.LandLate)
			want := backendtest.Outputs(t, b)
			for _, order := range []uint{1, 2} {
				t.Run(fmt.Sprint(order), func(t *testing.T) {
					cudaemu.SetOrder(order)
					cudaemu.SetLanding(order)
					cudaemu.SetThreads(int(order))
					for name, got := range backendtest.Outputs(t, b) {
						if !slices.Equal(got, want[name]) {
							t.Errorf("%s depends on the order of the threads", name)
						}
					}
				})
			}
		})
	}
}

// Products hold three or four steps of their operands in shared memory: whenever the copies land, and also where rows begin on no 16
// bytes, they give the same bits. So they do where an operand was rounded to bfloat16 before.
func TestPipelines(t *testing.T) {
	defer cudaemu.SetMaxShared(163 << 10)
	defer cudaemu.SetLanding(cudaemu.LandLate)
	operands := [][2]tensor.Dtype{{backend.F32, backend.F32}, {backend.BF16, backend.BF16}, {backend.BF16, backend.F32}}
	for _, s := range [][3]int{{150, 136, 300}, {130, 65, 97}, {65, 130, 20}} {
		m, n, k := s[0], s[1], s[2]
		var want [][]float32
		for _, shared := range []int{163 << 10, 99 << 10} { // with 99 KiB, as on an RTX 4090, a block has room for three
			cudaemu.SetMaxShared(shared)
			p := newPairOf(t, backend.BFloat16, 24<<20)
			for _, landing := range []uint{cudaemu.LandLate, cudaemu.LandAtOnce, 7} {
				cudaemu.SetLanding(landing)
				p.rng = rand.New(rand.NewPCG(1, 2))
				for form := range 4 {
					args := backend.MatMulArgs{TransA: form&2 != 0, TransB: form&1 != 0}
					a, b, c := p.normal(m, k), p.normal(k, n), p.normal(m, n)
					if args.TransA {
						a = p.normal(k, m)
					}
					if args.TransB {
						b = p.normal(n, k)
					}
					for _, dt := range operands {
						must(t, p.on[1].MatMul(c[1], p.as(dt[0], a[1]), p.as(dt[1], b[1]), args))
						got := p.read(1, c[1])
						if len(want) <= form {
							want = append(want, got)
						}
						if !slices.Equal(got, want[form]) {
							t.Errorf("%v, form %d, %d KiB, landing %d, of %v: other bits", s, form, shared>>10, landing, dt)
						}
						must(t, p.on[1].Zero(c[1]))
					}
				}
			}
		}
	}
}
