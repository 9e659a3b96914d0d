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
	t.Cleanup(func() { // ends the context too, and with it what a kernel broke
		must(t, s.Destroy())
		must(t, m.Unload())
		must(t, d.ReleasePrimaryCtx())
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
	p, err := cu.MemAlloc(n) // freed with the context
	must(r.t, err)
	return p
}

// launch runs a kernel and waits for it.
func (r *rig) launch(kernel string, threads, shared int, a *cudax.Args) error {
	r.t.Helper()
	if err := r.start(kernel, threads, shared, a); err != nil {
		return err
	}
	return cudax.Synchronize(r.stream)
}

func (r *rig) start(kernel string, threads, shared int, a *cudax.Args) error {
	r.t.Helper()
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

// Kernels that would hang or be undefined on a GPU fail with a reason, and every call after that fails until the context ends.
func TestFaults(t *testing.T) {
	for kernel, reason := range map[string]string{
		"test_divergent_barrier": "deadlock",
		"test_mask":              "not in its mask",
	} {
		t.Run(kernel, func(t *testing.T) {
			r := newRig(t, kernel)
			y := r.alloc(4 * 64)
			host := make([]float32, 64)
			err := r.launch(kernel, 64, 0, new(cudax.Args).Ptr(cudax.Address(y)))
			if !errors.Is(err, cudax.ErrLaunchFailed) || !strings.Contains(err.Error(), reason) {
				t.Errorf("%v", err)
			}
			if fault := cudaemu.LastFault(); !strings.Contains(fault, kernel) || !strings.Contains(fault, "block 0,0,0 thread") {
				t.Errorf("fault %q", fault)
			}
			_, allocation := cu.MemAlloc(16)
			for call, err := range map[string]error{
				"copy": cu.MemcpyHtoD(y, unsafe.Pointer(&host[0]), 256), "wait": cudax.Synchronize(r.stream), "allocation": allocation,
				"launch": r.start(kernel, 64, 0, new(cudax.Args).Ptr(cudax.Address(y))), "free": cu.MemFree(y),
			} {
				if err == nil {
					t.Errorf("%s after the fault succeeded", call)
				}
			}
		})
	}
	newRig(t).alloc(16) // a new context works
}

// A copy that was not waited for has not arrived, but where copies land at once.
func TestAsyncCopy(t *testing.T) {
	r := newRig(t, "test_async_copy")
	defer cudaemu.SetLanding(cudaemu.LandLate)
	x, y := r.alloc(16), r.alloc(16)
	copied := func(want []float32, wait int) bool {
		must(t, cu.MemcpyHtoD(x, unsafe.Pointer(&want[0]), 16))
		must(t, r.launch("test_async_copy", 32, 0, new(cudax.Args).Ptr(cudax.Address(y)).Ptr(cudax.Address(x)).I32(wait)))
		return slices.Equal(r.floats(y, 4), want)
	}
	for how, value := range []float32{1, 5, 9} {
		cudaemu.SetLanding(uint(how))
		want := []float32{value, value + 1, value + 2, value + 3}
		if how != 2 && copied(want, 0) != (how == cudaemu.LandAtOnce) {
			t.Errorf("landing %d: without waiting, arrived: %v", how, how == cudaemu.LandLate)
		}
		if !copied(want, 1) {
			t.Errorf("landing %d: with waiting, not arrived", how)
		}
	}
}

// A copy that overwrites what other threads still read shows where copies do not land late.
func TestAsyncCopyRaces(t *testing.T) {
	r := newRig(t, "test_async_refill")
	defer cudaemu.SetLanding(cudaemu.LandLate)
	x, y := r.alloc(2*16*64), r.alloc(4*64)
	host := make([]float32, 2*4*64)
	for i := range host {
		host[i] = float32(i)
	}
	must(t, cu.MemcpyHtoD(x, unsafe.Pointer(&host[0]), int64(4*len(host))))
	result := func(how uint, early int) []float32 {
		cudaemu.SetLanding(how)
		must(t, r.launch("test_async_refill", 64, 0, new(cudax.Args).Ptr(cudax.Address(y)).Ptr(cudax.Address(x)).I32(early)))
		return r.floats(y, 64)
	}
	want := result(cudaemu.LandLate, 0)
	for how := range uint(8) {
		if got := result(how, 0); !slices.Equal(got, want) {
			t.Errorf("landing %d: %v, want %v", how, got, want)
		}
		if got := result(how, 1); slices.Equal(got, want) != (how == cudaemu.LandLate) {
			t.Errorf("landing %d: the early copy shows: %v", how, how == cudaemu.LandLate)
		}
	}
}

// Work of a stream may wait until the host waits for it: memory that the host changes too early, and results that it reads too
// early, are wrong.
func TestLateStreams(t *testing.T) {
	r := newRig(t, "test_early_exit")
	defer cudaemu.SetLanding(cudaemu.LandLate)
	host, err := cudax.AllocPinned(16)
	must(t, err)
	defer func() { must(t, cudax.FreePinned(host)) }()
	p := r.alloc(16)
	upload := func(v, later byte) byte {
		host[0] = v
		must(t, cu.MemcpyHtoDAsync(p, unsafe.Pointer(&host[0]), 16, r.stream))
		host[0] = later // too early
		must(t, cudax.Synchronize(r.stream))
		got := make([]byte, 16)
		must(t, cu.MemcpyDtoH(unsafe.Pointer(&got[0]), p, 16))
		return got[0]
	}
	read := func(v byte) byte { // without waiting for the stream
		must(t, cudax.Memset(p, v, 16, r.stream))
		got := make([]byte, 16)
		must(t, cu.MemcpyDtoH(unsafe.Pointer(&got[0]), p, 16))
		must(t, cudax.Synchronize(r.stream))
		return got[0]
	}
	if got := upload(1, 2); got != 2 {
		t.Errorf("a source that was changed too early: %d arrived", got)
	}
	if got := read(7); got == 7 {
		t.Error("a result that was read too early was there")
	}
	cudaemu.SetLanding(cudaemu.LandAtOnce)
	if got := upload(3, 4); got != 3 {
		t.Errorf("landing at once: %d arrived", got)
	}
	if got := read(8); got != 8 {
		t.Errorf("landing at once: read %d", got)
	}
	late, early := 0, 0
	cudaemu.SetLanding(5)
	for i := range 32 {
		if upload(byte(2*i), byte(2*i+1))%2 == 1 {
			late++
		} else {
			early++
		}
	}
	if late == 0 || early == 0 {
		t.Errorf("landing at random: %d late, %d early", late, early)
	}
}

// An event says how long what lies between took, once it was waited for and not before.
func TestEvents(t *testing.T) {
	r := newRig(t, "test_early_exit")
	begin, err := cu.MakeEvent(cu.DefaultEvent)
	must(t, err)
	end, err := cu.MakeEvent(cu.DefaultEvent)
	must(t, err)
	y := r.alloc(4 * 64)
	must(t, begin.Record(r.stream))
	must(t, r.start("test_early_exit", 64, 0, new(cudax.Args).Ptr(cudax.Address(y))))
	must(t, end.Record(r.stream))
	if _, err := begin.Elapsed(end); err == nil {
		t.Error("an event that has not happened has a time")
	}
	must(t, end.Synchronize())
	if ms, err := begin.Elapsed(end); err != nil || ms < 0 {
		t.Errorf("%v ms, %v", ms, err)
	}
	must(t, cu.DestroyEvent(&begin))
	must(t, cu.DestroyEvent(&end))
}

func TestSharedMemory(t *testing.T) {
	r := newRig(t, "test_unwritten", "test_early_exit")
	y := r.alloc(4 * 64)
	for range 2 {
		for dynamic := range 2 {
			must(t, r.launch("test_unwritten", 64, 256, new(cudax.Args).Ptr(cudax.Address(y)).I32(dynamic)))
			for i, v := range r.floats(y, 64) {
				if !math.IsNaN(float64(v)) && (dynamic == 1 || !sanitized) {
					t.Fatalf("unwritten shared memory [%d] is %v (dynamic %d)", i, v, dynamic)
				}
			}
		}
	}
	if err := r.launch("test_unwritten", 64, 64<<10, new(cudax.Args).Ptr(cudax.Address(y)).I32(1)); !errors.Is(err, cudax.ErrInvalidValue) {
		t.Errorf("64 KiB without raising the limit: %v", err)
	}
	f, err := r.module.Function("test_unwritten")
	must(t, err)
	if err := cudax.SetMaxDynamicShared(f, 227<<10); err == nil {
		t.Error("a block was given more than the device has")
	}
	cudaemu.SetMaxShared(227 << 10)
	defer cudaemu.SetMaxShared(163 << 10)
	must(t, cudax.SetMaxDynamicShared(f, 227<<10))
	must(t, r.launch("test_unwritten", 64, 227<<10, new(cudax.Args).Ptr(cudax.Address(y)).I32(1)))
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
