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

// Work is cut by the number of processors. The cards that mito is made for have 108 (A100) and 132 (H100).
func TestProcessors(t *testing.T) {
	defer cudaemu.SetMultiprocessors(4)
	for _, n := range []int{108, 132} {
		cudaemu.SetMultiprocessors(n)
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Run("conformance", TestConformance)
			t.Run("products", TestLargeProducts)
			t.Run("rows", TestManyRows)
			t.Run("joined", TestJoinedLaunches)
		})
	}
}

// Every result has the same bits in whatever order the threads of a block run: no kernel misses a barrier. Two OS
// threads run blocks in the last order, so that blocks meet as well.
func TestThreadOrders(t *testing.T) {
	defer cudaemu.SetOrder(0)
	defer cudaemu.SetThreads(1)
	for _, p := range []backend.Precision{backend.Float32, backend.BFloat16} {
		t.Run(p.String(), func(t *testing.T) {
			b := open(t, p)
			cudaemu.SetOrder(0)
			want := backendtest.Outputs(t, b)
			for _, order := range []uint{1, 2} {
				t.Run(fmt.Sprint(order), func(t *testing.T) {
					cudaemu.SetOrder(order)
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
