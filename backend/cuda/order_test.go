//go:build cuda && cudaemu && linux && (amd64 || arm64)

package cuda_test

import (
	"fmt"
	"slices"
	"testing"

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
