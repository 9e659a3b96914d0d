//go:build cuda

package cudax_test

import (
	"errors"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"gorgonia.org/cu"

	"mito/backend/cuda/cudax"
	kernels "mito/kernels/cuda"
)

// rig is a context and a stream, or a skip where there is no GPU.
func rig(t testing.TB) cu.Stream {
	t.Helper()
	runtime.LockOSThread()
	t.Cleanup(runtime.UnlockOSThread)
	n, err := cu.NumDevices()
	if err != nil || n == 0 {
		t.Skipf("no GPU: %v", err)
	}
	d, err := cu.GetDevice(0)
	must(t, err)
	ctx, err := d.RetainPrimaryCtx()
	must(t, err)
	must(t, cu.SetCurrentContext(ctx))
	s, err := cu.MakeStream(cu.NonBlocking)
	must(t, err)
	t.Cleanup(func() {
		must(t, s.Destroy())
		must(t, d.ReleasePrimaryCtx())
	})
	return s
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func addKernel(t testing.TB) cu.Function {
	t.Helper()
	image, err := kernels.Image("elementwise")
	must(t, err)
	m, err := cudax.LoadPTX(image)
	must(t, err)
	t.Cleanup(func() { must(t, m.Unload()) })
	f, err := m.Function("add_f32")
	must(t, err)
	if _, err := m.Function("no_such_kernel"); err == nil {
		t.Error("found a kernel that does not exist")
	}
	return f
}

var one = cudax.Dim{X: 1, Y: 1, Z: 1}

// A capture executes nothing; each launch of the graph executes everything in order.
func TestGraph(t *testing.T) {
	s := rig(t)
	f := addKernel(t)
	const n = 100
	host, err := cudax.AllocPinned(4 * n)
	must(t, err)
	defer func() { must(t, cudax.FreePinned(host)) }()
	x := unsafe.Slice((*float32)(unsafe.Pointer(&host[0])), n)
	for i := range x {
		x[i] = float32(i)
	}
	p, err := cudax.AllocAsync(4*n, s)
	must(t, err)
	must(t, cu.MemcpyHtoDAsync(p, unsafe.Pointer(&x[0]), 4*n, s))
	must(t, s.Synchronize())

	must(t, cudax.BeginCapture(s))
	args := new(cudax.Args).Ptr(cudax.Address(p)).Ptr(cudax.Address(p)).Ptr(cudax.Address(p)).I64(n) // p += p
	must(t, cudax.Launch(f, one, cudax.Dim{X: 64, Y: 1, Z: 1}, 0, s, args))
	must(t, cu.MemcpyDtoHAsync(unsafe.Pointer(&x[0]), p, 4*n, s))
	args.Reset().Ptr(0).Ptr(0).Ptr(0).I64(0) // the parameters were copied when the kernel was launched
	g, err := cudax.EndCapture(s)
	must(t, err)
	if g.Nodes() != 2 {
		t.Errorf("%d nodes, want 2", g.Nodes())
	}
	if x[1] != 1 {
		t.Error("the capture executed the work")
	}
	for want := float32(2); want <= 8; want *= 2 {
		must(t, g.Launch(s))
		must(t, s.Synchronize())
		if x[1] != want || x[n-1] != want*(n-1) {
			t.Fatalf("after a replay: %v and %v, want %v times 1 and %d", x[1], x[n-1], want, n-1)
		}
	}
	must(t, g.Destroy())
	must(t, g.Destroy()) // twice is allowed
	must(t, cudax.FreeAsync(p, s))
	must(t, s.Synchronize())
}

// A call that waits spoils a capture: it fails, EndCapture fails, and the stream works again.
func TestSpoiledCapture(t *testing.T) {
	s := rig(t)
	must(t, cudax.BeginCapture(s))
	if err := s.Synchronize(); err == nil {
		t.Error("Synchronize inside a capture succeeded")
	}
	if _, err := cudax.EndCapture(s); err == nil {
		t.Error("EndCapture after it succeeded")
	}
	must(t, s.Synchronize())
}

func TestArgs(t *testing.T) {
	s := rig(t)
	f := addKernel(t)
	var a cudax.Args
	for range cudax.MaxArgs + 1 {
		a.I32(0)
	}
	if err := cudax.Launch(f, one, one, 0, s, &a); !errors.Is(err, cudax.ErrInvalidValue) {
		t.Errorf("too many arguments: %v", err)
	}
	if a.Reset().Len() != 0 {
		t.Error("Reset left arguments")
	}
}

func TestAttributes(t *testing.T) {
	rig(t)
	f := addKernel(t)
	a, err := cudax.FunctionAttributes(f)
	must(t, err)
	if a.MaxThreads < 256 {
		t.Errorf("at most %d threads", a.MaxThreads)
	}
	must(t, cudax.SetMaxDynamicShared(f, 64<<10))
	if err := cudax.SetMaxDynamicShared(f, 1<<30); err == nil {
		t.Error("1 GiB of shared memory was granted")
	}
}

func TestErrors(t *testing.T) {
	rig(t)
	if _, err := cudax.LoadPTX("not PTX"); err == nil {
		t.Error("loaded something that is not PTX")
	}
	if text := cudax.ErrOutOfMemory.Error(); !strings.Contains(text, "CUDA_ERROR_OUT_OF_MEMORY") {
		t.Errorf("ErrOutOfMemory says %q", text)
	}
	if text := cudax.Error(987654).Error(); !strings.Contains(text, "987654") {
		t.Errorf("an unknown result says %q", text)
	}
}

// cuBLAS is optional: where it is missing the error says so.
func TestBlas(t *testing.T) {
	s := rig(t)
	b, err := cudax.NewBlas()
	if err != nil {
		if !strings.Contains(err.Error(), "cublas") {
			t.Errorf("error %q", err)
		}
		t.Skip(err)
	}
	defer func() { must(t, b.Destroy()) }()
	must(t, b.SetStream(s))
	// c [2,2] = a [2,3] · b [2,3]ᵀ
	p, err := cu.MemAlloc(4 * 16)
	must(t, err)
	defer func() { must(t, cu.MemFree(p)) }()
	in := []float32{1, 2, 3, 4, 5, 6, 1, 0, 1, 0, 1, 0}
	must(t, cu.MemcpyHtoDAsync(p, unsafe.Pointer(&in[0]), 48, s)) // s does not wait for copies outside it
	must(t, b.Gemm(false, false, true, 2, 2, 3, p, p+24, 0, p+48))
	must(t, s.Synchronize())
	out := make([]float32, 4)
	must(t, cu.MemcpyDtoH(unsafe.Pointer(&out[0]), p+48, 16))
	for i, want := range []float32{4, 2, 10, 5} {
		if out[i] != want {
			t.Errorf("%s: c = %v, want [4 2 10 5]", b.Library(), out)
			break
		}
	}
}

func BenchmarkLaunch(b *testing.B) {
	s := rig(b)
	f := addKernel(b)
	var a cudax.Args
	for b.Loop() {
		must(b, cudax.Launch(f, one, cudax.Dim{X: 32, Y: 1, Z: 1}, 0, s, a.Reset().Ptr(0).Ptr(0).Ptr(0).I64(0)))
	}
}
