//go:build cuda && linux && (amd64 || arm64)

package cuda

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"gorgonia.org/tensor"

	"mito/backend"
	kernels "mito/kernels/cuda"
)

func openOrSkip(t testing.TB) *Backend {
	t.Helper()
	b, err := Open(backend.Options{})
	if errors.Is(err, backend.ErrUnavailable) {
		t.Skip(err)
	}
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

func newTensor(t testing.TB, b *Backend, v []float32) *tensor.Dense {
	t.Helper()
	return newOf(t, b, backend.F32, len(v), v)
}

func newOf(t testing.TB, b *Backend, dt tensor.Dtype, n int, v any) *tensor.Dense {
	t.Helper()
	slab, err := b.NewSlab(int64(4 * n))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := slab.Free(); err != nil {
			t.Errorf("Free: %v", err)
		}
	})
	x, err := slab.New(dt, n)
	if err == nil {
		err = b.Upload(x, v)
	}
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func read(t testing.TB, b *Backend, x *tensor.Dense) []float32 {
	t.Helper()
	v := make([]float32, x.Shape().TotalSize())
	if err := b.Download(v, x); err != nil {
		t.Fatal(err)
	}
	return v
}

// A captured sequence does nothing until it is replayed, reads what its tensors hold then, and counts its operations.
func TestCapture(t *testing.T) {
	b := openOrSkip(t)
	x, y := newTensor(t, b, []float32{1, 2}), newTensor(t, b, []float32{10, 20})
	g, err := b.Capture(func() error {
		if err := b.Add(y, y, x); err != nil {
			return err
		}
		return b.Copy(x, y)
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := read(t, b, y); got[0] != 10 {
		t.Errorf("the capture executed: y = %v", got)
	}
	if n := g.(*graph).Nodes(); n != 2 {
		t.Errorf("%d operations recorded, want 2", n)
	}
	for range 2 {
		if err := g.Replay(); err != nil {
			t.Fatal(err)
		}
	}
	if got := read(t, b, y); got[0] != 22 || got[1] != 44 {
		t.Errorf("after two replays: y = %v, want [22 44]", got)
	}
	if err := b.Upload(x, []float32{1, 1}); err != nil {
		t.Fatal(err)
	}
	if err := g.Replay(); err != nil {
		t.Fatal(err)
	}
	if got := read(t, b, y); got[0] != 23 || got[1] != 45 {
		t.Errorf("after new contents: y = %v, want [23 45]", got)
	}
	if err := g.Close(); err != nil {
		t.Error(err)
	}
}

// Replays are timed by the device, one by one, and only as long as somebody asks.
func TestDeviceTime(t *testing.T) {
	b := openOrSkip(t)
	x := newTensor(t, b, make([]float32, 1<<16))
	g, err := b.Capture(func() error { return b.Add(x, x, x) })
	if err != nil {
		t.Fatal(err)
	}
	replays := func(n int) {
		for range n {
			if err := g.Replay(); err != nil {
				t.Fatal(err)
			}
		}
	}
	began := time.Now()
	stop := DeviceTime(b)
	replays(3)
	few, err := stop()
	if took := time.Since(began); err != nil || few <= 0 || few > took {
		t.Errorf("3 replays: %v of %v, %v", few, took, err)
	}
	replays(3)
	stop = DeviceTime(b)
	if none, err := stop(); err != nil || none != 0 {
		t.Errorf("no replay: %v, %v", none, err)
	}
	if err := g.Close(); err != nil {
		t.Error(err)
	}
}

// A recorded pass draws new masks, scales and weights from the step tensor, with the bits of a pass whose arguments say
// them.
func TestReplayOfANewStep(t *testing.T) {
	b := openOrSkip(t)
	const place, row = 0x9e3779b97f4a7c15, 1000
	first, second := make([]float32, backend.StepLen), make([]float32, backend.StepLen)
	first[backend.StepLossScale], first[backend.StepEMA] = 0.25, 0.1
	backend.PutSeed(first, 7)
	second[backend.StepLossScale], second[backend.StepEMA] = 0.3, 0.7
	backend.PutSeed(second, 0xfedcba9876543210)

	xv := make([]float32, 64)
	for i := range xv {
		xv[i] = float32(i%13) - 6
	}
	x := newTensor(t, b, xv)
	rows, err := b.View(x, 0, 8, 8)
	if err != nil {
		t.Fatal(err)
	}
	masked, loss, grad, average := newTensor(t, b, xv), newTensor(t, b, xv[:8]), newTensor(t, b, xv), newTensor(t, b, xv)
	targets := newOf(t, b, backend.I32, 8, []int32{0, 1, 2, 3, 4, 5, 6, 7})
	weights := newTensor(t, b, []float32{1, 1, 0.5, 1, 0, 1, 1, 1})
	gradRows, err := b.View(grad, 0, 8, 8)
	if err != nil {
		t.Fatal(err)
	}
	pass := func(seed uint64, scale, weight float32, step *tensor.Dense) error {
		return errors.Join(
			b.Dropout(masked, x, backend.DropoutArgs{Rate: 0.4, Seed: place + seed, Row: row, Step: step}),
			b.CrossEntropy(loss, gradRows, rows, targets, weights, backend.CrossEntropyArgs{Scale: scale, Step: step}),
			b.Distill(loss, gradRows, rows, rows, weights, backend.DistillArgs{Temperature: 2, Scale: scale, Step: step}),
			b.Lerp(average, x, weight, step),
		)
	}
	outputs := func() (all []float32) {
		for _, o := range []*tensor.Dense{masked, grad, average} {
			all = append(all, read(t, b, o)...)
		}
		return all
	}
	start := func() {
		if err := errors.Join(b.Upload(average, make([]float32, 64)), b.Upload(grad, xv)); err != nil {
			t.Fatal(err)
		}
	}

	step := newTensor(t, b, first)
	g, err := b.Capture(func() error { return pass(0, 1, 1, step) })
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range [][]float32{first, second} {
		start()
		if err := pass(backend.Seed(s), s[backend.StepLossScale], s[backend.StepEMA], nil); err != nil {
			t.Fatal(err)
		}
		want := outputs()
		start()
		if err := errors.Join(b.Upload(step, s), g.Replay()); err != nil {
			t.Fatal(err)
		}
		for i, v := range outputs() {
			if v != want[i] {
				t.Fatalf("seed %#x: element %d is %v, want %v", backend.Seed(s), i, v, want[i])
			}
		}
	}
	if err := g.Close(); err != nil {
		t.Error(err)
	}
}

// What waits for the device is refused inside a capture, and the backend works afterwards.
func TestCaptureRefuses(t *testing.T) {
	b := openOrSkip(t)
	x := newTensor(t, b, []float32{1, 2})
	for name, call := range map[string]func() error{
		"Upload":      func() error { return b.Upload(x, []float32{3, 4}) },
		"Download":    func() error { return b.Download(make([]float32, 2), x) },
		"Synchronize": b.Synchronize,
		"NewSlab":     func() error { _, err := b.NewSlab(8); return err },
		"Capture":     func() error { _, err := b.Capture(func() error { return nil }); return err },
	} {
		if _, err := b.Capture(call); !errors.Is(err, backend.ErrUnsupported) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s inside Capture: %v", name, err)
		}
	}
	if got := read(t, b, x); got[0] != 1 {
		t.Errorf("x = %v", got)
	}
}

// An error of asynchronous work comes to light at the next call that waits, names the operation, and stays.
func TestDeviceError(t *testing.T) {
	b := openOrSkip(t)
	x := newTensor(t, b, []float32{1})
	b.begin("Broken", kernels.AddF32).Ptr(at(x)) // three arguments are missing
	if err := b.run(line(1), line(1)); err != nil {
		t.Fatalf("the launch itself: %v", err)
	}
	for range 2 {
		var device *backend.DeviceError
		if err := b.Synchronize(); !errors.As(err, &device) || device.Op != "Broken" {
			t.Errorf("Synchronize: %v", err)
		}
	}
	if err := b.Add(x, x, x); err == nil {
		t.Error("an operation after a device error succeeded")
	}
	b.queue.failed.Store(nil)
}

func TestTooMuchMemory(t *testing.T) {
	b := openOrSkip(t)
	_, err := b.NewSlab(1 << 50)
	if !errors.Is(err, backend.ErrOutOfMemory) || !strings.Contains(err.Error(), "MiB asked for") {
		t.Errorf("NewSlab of a PiB: %v", err)
	}
	if err := b.Synchronize(); err != nil {
		t.Errorf("after it: %v", err)
	}
}

func TestNoSuchDevice(t *testing.T) {
	openOrSkip(t)
	for _, n := range []int{-1, 99} {
		if _, err := Open(backend.Options{Device: n}); !errors.Is(err, backend.ErrUnavailable) {
			t.Errorf("device %d: %v", n, err)
		}
	}
}

// The driver that is asked for is the first that compiles the committed PTX: PTX 7.8 came with CUDA 11.8.
func TestOldestDriver(t *testing.T) {
	for _, e := range kernels.Table {
		image, err := kernels.Image(e.Module)
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(image, ".version ")
		var major, minor int
		if _, err := fmt.Sscanf(rest, "%d.%d", &major, &minor); err != nil {
			t.Fatalf("%s: no version: %v", e.Module, err)
		}
		if need := 1000*(major+4) + 10*minor; need > oldestDriver {
			t.Errorf("%s is PTX %d.%d, which needs a driver of %d; oldestDriver is %d", e.Module, major, minor, need, oldestDriver)
		}
	}
}

func TestClosed(t *testing.T) {
	b := openOrSkip(t)
	x := newTensor(t, b, []float32{1})
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"Add": b.Add(x, x, x), "Synchronize": b.Synchronize(), "Close": nil, "Copy": b.Copy(x, x),
	} {
		if (err != nil) != (name != "Close") {
			t.Errorf("%s on a closed backend: %v", name, err)
		}
	}
	if err := b.Close(); err != nil {
		t.Errorf("closing twice: %v", err)
	}
}

// Host arithmetic on device memory is an error of gorgonia's, not a crash.
func TestHostArithmeticRefused(t *testing.T) {
	b := openOrSkip(t)
	x := newTensor(t, b, []float32{1, 2})
	if _, err := tensor.Add(x, x); err == nil {
		t.Error("tensor.Add on device memory succeeded")
	}
}

// Small matrices with long sums are cut along k, large ones are not; parts cover k exactly.
func TestTiling(t *testing.T) {
	const processors, room = 132, 64 << 20
	for _, c := range []struct{ m, n, k, tile, parts int }{
		{16384, 1536, 384, 128, 1}, // forward pass
		{384, 384, 16384, 128, 14}, // gradient of a weight
		{64, 64, 64, 64, 1},
		{8, 4096, 384, 64, 1}, // decoding
	} {
		got := tilingOf(c.m, c.n, c.k, processors, room)
		if got.tile != c.tile || got.parts != c.parts {
			t.Errorf("%d×%d×%d: tiles of %d in %d parts, want %d in %d", c.m, c.n, c.k, got.tile, got.parts, c.tile, c.parts)
		}
		if got.part%32 != 0 || got.part*got.parts < c.k || got.part*(got.parts-1) >= c.k {
			t.Errorf("%d×%d×%d: %d parts of %d do not cover k", c.m, c.n, c.k, got.parts, got.part)
		}
	}
	for _, s := range LargeShapes {
		for _, cards := range []int{84, 108, 114, 128, 132, 142, 144} {
			if got := tilingOf(s[0], s[1], s[2], cards, room); got.tile != 128 {
				t.Errorf("%v on %d processors: tiles of %d", s, cards, got.tile)
			}
		}
	}
	if got := tilingOf(4096, 4096, 1<<20, processors, 1<<20); got.parts != 1 {
		t.Errorf("%d parts although the workspace holds none", got.parts)
	}
}

// A warm backend allocates nothing to launch.
func TestAllocations(t *testing.T) {
	b := openOrSkip(t)
	x := newTensor(t, b, make([]float32, 64*64))
	m, err := b.View(x, 0, 64, 64)
	if err != nil {
		t.Fatal(err)
	}
	y := newTensor(t, b, make([]float32, 64*64))
	c, err := b.View(y, 0, 64, 64)
	if err != nil {
		t.Fatal(err)
	}
	add := func() { _ = b.Add(c, c, m) }
	mul := func() { _ = b.MatMul(c, m, m, backend.MatMulArgs{TransB: true}) }
	for name, f := range map[string]func(){"Add": add, "MatMul": mul} {
		f()
		if n := testing.AllocsPerRun(5, f); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
	if err := b.Synchronize(); err != nil {
		t.Error(err)
	}
}

// Rows cut out of tokens on the device are those that the host would upload; what lies outside is -1.
func TestGatherRows(t *testing.T) {
	b := openOrSkip(t)
	slab, err := b.NewSlab(1 << 12)
	if err != nil {
		t.Fatal(err)
	}
	ids := func(v []int32, shape ...int) *tensor.Dense {
		x, err := slab.New(backend.I32, shape...)
		if err == nil && v != nil {
			err = b.Upload(x, v)
		}
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	tokens, starts := ids([]int32{10, 11, 12, 13, 14, 15}, 6), ids([]int32{0, 2, 4, -2}, 4)
	inputs, targets := ids(nil, 4, 3), ids(nil, 4, 3)
	if err := b.GatherRows(inputs, targets, tokens, starts); err != nil {
		t.Fatal(err)
	}
	got := [2][]int32{make([]int32, 12), make([]int32, 12)}
	for i, x := range []*tensor.Dense{inputs, targets} {
		if err := b.Download(got[i], x); err != nil {
			t.Fatal(err)
		}
	}
	want := [2][]int32{
		{10, 11, 12, 12, 13, 14, 14, 15, -1, -1, -1, 10},
		{11, 12, 13, 13, 14, 15, 15, -1, -1, -1, 10, 11},
	}
	if !slices.Equal(got[0], want[0]) || !slices.Equal(got[1], want[1]) {
		t.Errorf("got %v, want %v", got, want)
	}
	if err := b.GatherRows(inputs, targets, tokens, tokens); err == nil {
		t.Error("starts of another size were accepted")
	}
	if err := slab.Free(); err != nil {
		t.Error(err)
	}
}

// Rows are sorted by their ids, of one to three bytes, and keep their order; what is no id stands behind the rest.
func TestEmbedSort(t *testing.T) {
	b := openOrSkip(t)
	r := rand.New(rand.NewPCG(2, 3))
	for _, vocab := range []int{1, 5, 255, 256, 70000} {
		for _, n := range []int{1, 31, 32, 3001} {
			ids := make([]int32, n)
			key := func(row int32) int { return min(int(uint32(ids[row])), vocab) }
			want := make([]int32, n)
			for i := range ids {
				ids[i], want[i] = r.Int32N(int32(vocab)+1)-int32(i%2), int32(i) // from -1 to vocab
			}
			slices.SortStableFunc(want, func(x, y int32) int { return key(x) - key(y) })
			order, spare, bounds := newOf(t, b, backend.I32, n, ids), newOf(t, b, backend.I32, n, ids), newOf(t, b, backend.I32, vocab+1, make([]int32, vocab+1))
			b.begin("EmbedSort", kernels.EmbedSortI32).Ptr(at(order)).Ptr(at(spare)).Ptr(at(bounds)).Ptr(at(newOf(t, b, backend.I32, n, ids))).
				I32(n).I32(vocab)
			got, begin := make([]int32, n), make([]int32, vocab+1)
			if err := errors.Join(b.run(line(1), line(1024)), b.Download(got, order), b.Download(begin, bounds)); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got, want) {
				t.Errorf("%d rows of %d ids: %v, want %v", n, vocab, got, want)
			}
			for v, at := range begin {
				if first, _ := slices.BinarySearchFunc(want, v, func(row int32, v int) int { return key(row) - v }); int(at) != first {
					t.Fatalf("%d rows: id %d of %d begins at %d, want %d", n, v, vocab, at, first)
				}
			}
		}
	}
}
