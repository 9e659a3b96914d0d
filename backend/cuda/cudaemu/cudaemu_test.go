//go:build cuda && cudaemu

package cudaemu_test

import (
	"errors"
	"math"
	"runtime"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"gorgonia.org/cu"

	"mito/backend/cuda/cudaemu"
	"mito/backend/cuda/cudax"
)

// rig is a context with the test kernels. The emulator takes a kernel's code from the program and its name from the
// image.
type rig struct {
	t      testing.TB
	module cu.Module
	stream cu.Stream
}

func newRig(t testing.TB, kernels ...string) *rig {
	t.Helper()
	runtime.LockOSThread()
	d, err := cu.GetDevice(0)
	must(t, err)
	ctx, err := d.RetainPrimaryCtx()
	must(t, err)
	must(t, cu.SetCurrentContext(ctx))
	image := ".version 7.0\n.target sm_80\n"
	for _, k := range kernels {
		image += ".visible .entry " + k + "(\n"
	}
	m, err := cudax.LoadPTX(image)
	must(t, err)
	s, err := cu.MakeStream(cu.NonBlocking)
	must(t, err)
	t.Cleanup(func() {
		must(t, s.Destroy())
		must(t, m.Unload())
		runtime.UnlockOSThread()
	})
	return &rig{t, m, s}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (r *rig) alloc(n int64) cu.DevicePtr {
	p, err := cu.MemAlloc(n)
	must(r.t, err)
	r.t.Cleanup(func() { must(r.t, cu.MemFree(p)) })
	return p
}

func (r *rig) launch(kernel string, threads, shared int, a *cudax.Args) error {
	f, err := r.module.Function(kernel)
	must(r.t, err)
	return cudax.Launch(f, cudax.Dim{X: 1, Y: 1, Z: 1}, cudax.Dim{X: threads, Y: 1, Z: 1}, shared, r.stream, a)
}

func (r *rig) floats(p cu.DevicePtr, n int) []float32 {
	v := make([]float32, n)
	must(r.t, cu.MemcpyDtoH(unsafe.Pointer(&v[0]), p, int64(4*n)))
	return v
}

// A race shows as another result in another order of the threads; without one every order agrees.
func TestOrder(t *testing.T) {
	r := newRig(t, "test_reverse")
	defer cudaemu.SetOrder(0)
	y := r.alloc(4 * 64)
	result := func(order uint, barrier int) []float32 {
		cudaemu.SetOrder(order)
		must(t, r.launch("test_reverse", 64, 0, new(cudax.Args).Ptr(cudax.Address(y)).I32(barrier)))
		return r.floats(y, 64)
	}
	first := result(0, 1)
	if first[0] != 63 || first[63] != 0 {
		t.Errorf("reversed %v", first)
	}
	for _, order := range []uint{1, 2, 3} {
		if got := result(order, 1); !slices.Equal(got, first) {
			t.Errorf("order %d: %v, want %v", order, got, first)
		}
	}
	for _, order := range []uint{0, 1} {
		if got := result(order, 0); slices.Equal(got, first) {
			t.Errorf("order %d: the missing barrier does not show", order)
		}
	}
}

// Kernels that would hang or be undefined on a GPU fail with a reason.
func TestFaults(t *testing.T) {
	r := newRig(t, "test_divergent_barrier", "test_mask")
	y := r.alloc(4 * 64)
	for kernel, reason := range map[string]string{
		"test_divergent_barrier": "deadlock",
		"test_mask":              "not in its mask",
	} {
		err := r.launch(kernel, 64, 0, new(cudax.Args).Ptr(cudax.Address(y)))
		if !errors.Is(err, cudax.ErrLaunchFailed) || !strings.Contains(err.Error(), reason) {
			t.Errorf("%s: %v", kernel, err)
		}
		if fault := cudaemu.LastFault(); !strings.Contains(fault, kernel) || !strings.Contains(fault, "block 0,0,0 thread") {
			t.Errorf("%s: fault %q", kernel, fault)
		}
	}
	// The emulator goes on after a fault.
	must(t, cu.MemcpyHtoD(y, unsafe.Pointer(&make([]float32, 64)[0]), 256))
}

// A copy that was not waited for has not arrived.
func TestAsyncCopy(t *testing.T) {
	r := newRig(t, "test_async_copy")
	x, y := r.alloc(16), r.alloc(16)
	for _, want := range [][]float32{{1, 2, 3, 4}, {5, 6, 7, 8}} {
		must(t, cu.MemcpyHtoD(x, unsafe.Pointer(&want[0]), 16))
		must(t, r.launch("test_async_copy", 32, 0, new(cudax.Args).Ptr(cudax.Address(y)).Ptr(cudax.Address(x)).I32(0)))
		if got := r.floats(y, 4); slices.Equal(got, want) {
			t.Errorf("without waiting: %v", got)
		}
		must(t, r.launch("test_async_copy", 32, 0, new(cudax.Args).Ptr(cudax.Address(y)).Ptr(cudax.Address(x)).I32(1)))
		if got := r.floats(y, 4); !slices.Equal(got, want) {
			t.Errorf("with waiting: %v, want %v", got, want)
		}
	}
}

func TestSharedMemory(t *testing.T) {
	r := newRig(t, "test_unwritten", "test_early_exit")
	y := r.alloc(4 * 64)
	must(t, r.launch("test_unwritten", 64, 256, new(cudax.Args).Ptr(cudax.Address(y))))
	for i, v := range r.floats(y, 64) {
		if !math.IsNaN(float64(v)) {
			t.Fatalf("unwritten shared memory [%d] is %v", i, v)
		}
	}
	if err := r.launch("test_unwritten", 64, 64<<10, new(cudax.Args).Ptr(cudax.Address(y))); !errors.Is(err, cudax.ErrInvalidValue) {
		t.Errorf("64 KiB without raising the limit: %v", err)
	}
	must(t, r.launch("test_early_exit", 64, 0, new(cudax.Args).Ptr(cudax.Address(y))))
	if v := r.floats(y, 64); v[39] != 1 || !math.IsNaN(float64(v[40])) {
		t.Errorf("after an early exit: %v", v)
	}
}

// ldmatrix, its transposed form and mma against plain loops.
func TestMMA(t *testing.T) {
	r := newRig(t, "test_mma")
	pa, pb, pc := r.alloc(512), r.alloc(256), r.alloc(512)
	bf16 := func(v float32) uint16 { return uint16(math.Float32bits(v) >> 16) } // small integers are exact
	var a [16][16]float32
	var b [8][16]float32
	var ha [256]uint16
	var hb [128]uint16
	for i := range ha {
		a[i/16][i%16] = float32(i%7 - 3)
		ha[i] = bf16(a[i/16][i%16])
	}
	for i := range hb {
		b[i/16][i%16] = float32(i%5 - 2)
		hb[i] = bf16(b[i/16][i%16])
	}
	must(t, cu.MemcpyHtoD(pa, unsafe.Pointer(&ha[0]), 512))
	must(t, cu.MemcpyHtoD(pb, unsafe.Pointer(&hb[0]), 256))
	for _, transposed := range []int{0, 1} {
		must(t, r.launch("test_mma", 32, 0, new(cudax.Args).Ptr(cudax.Address(pc)).Ptr(cudax.Address(pa)).Ptr(cudax.Address(pb)).I32(transposed)))
		got := r.floats(pc, 128)
		for i := range 16 {
			for j := range 8 {
				want := float32(0)
				for k := range 16 {
					want += a[i][k] * b[j][k]
				}
				if got[i*8+j] != want {
					t.Fatalf("transposed %d: c[%d,%d] = %v, want %v", transposed, i, j, got[i*8+j], want)
				}
			}
		}
	}
}
