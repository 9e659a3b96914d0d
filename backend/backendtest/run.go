package backendtest

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"gorgonia.org/tensor"

	"mito/backend"
)

// Run checks everything that the seam promises.
func Run(t *testing.T, open func(t testing.TB) backend.Backend, o Options) {
	b := open(t)
	t.Run("memory", func(t *testing.T) { testMemory(t, b) })
	t.Run("values", func(t *testing.T) { testValues(t, b, o) })
	t.Run("pieces", func(t *testing.T) { testPieces(t, b, o) })
	t.Run("arguments", func(t *testing.T) { testArguments(t, b, o) })
}

// testValues compares every case with the oracle, and the tolerances with the errors.
func testValues(t *testing.T, b backend.Backend, o Options) {
	covered := map[string]bool{}
	m := &meter{worst: map[string]float64{}}
	cs := Cases(b)
	for _, c := range cs {
		covered[c.Op] = true
		t.Run(c.Name(), func(t *testing.T) {
			e := newEnv(t, b, c.Name())
			if err := c.build(e).check(e, c.Op, o, m); err != nil {
				t.Error(err)
			}
			m.cases++
		})
	}
	for _, op := range Ops() {
		if !covered[op] {
			t.Errorf("no case for %s", op)
		}
	}
	t.Run("tolerances", func(t *testing.T) {
		if m.cases < len(cs) {
			t.Skip("some cases were not run")
		}
		m.check(t)
	})
}

// Ops lists the operations of the seam: the methods of backend.Backend that are not those of a tensor.Engine or of
// backend.Memory, nor about the backend itself.
func Ops() (ops []string) {
	seam := reflect.TypeFor[backend.Backend]()
	for i := range seam.NumMethod() {
		name := seam.Method(i).Name
		_, engine := reflect.TypeFor[tensor.Engine]().MethodByName(name)
		_, memory := reflect.TypeFor[backend.Memory]().MethodByName(name)
		if !engine && !memory && name != "Info" && name != "Close" {
			ops = append(ops, name)
		}
	}
	return ops
}

// Cases lists the cases that are compared with the oracle: one element, odd sizes, sizes with tails of every vector
// width, and sizes large enough to be shared between threads. Where the backend has activations in bfloat16, the operations that
// take them have cases of both types.
func Cases(b backend.Backend) []Case {
	var cs []Case
	for _, s := range [][2]int{{1, 1}, {7, 31}, {31, 7}, {3, 33}, {33, 96}, {5, 172}, {130, 257}} {
		cs = append(cs, rowCases(s[0], s[1])...)
	}
	for _, s := range [][3]int{{1, 1, 1}, {7, 31, 33}, {1, 172, 96}, {33, 1, 31}, {96, 33, 7}, {60, 64, 96}, {65, 130, 300}} {
		cs = append(cs, linearCases(s[0], s[1], s[2])...)
	}
	for _, a := range attentionShapes {
		cs = append(cs, attentionCases(a)...)
	}
	for _, a := range droppedShapes {
		cs = append(cs, droppedCases(a)...)
	}
	for _, s := range [][3]int{{1, 4, 8}, {7, 36, 24}, {3, 32, 96}, {65, 128, 160}} {
		cs = append(cs, sparseCases(s[0], s[1], s[2])...)
	}
	return append(cs, halfCases(b, cs)...)
}

// halfOps are the operations that take activations in bfloat16, and whether some of their tensors may be of float32 beside them.
var halfOps = map[string]bool{
	"MatMul": false, "SumRows": false, "RMSNorm": true, "RMSNormBackward": true, "LayerNorm": true, "LayerNormBackward": true,
	"Cast": false, "Activate": false, "ActivateBackward": false, "SwiGLU": false, "SwiGLUBackward": false, "RoPE": false,
	"Attention": false, "AttentionBackward": false,
}

// halfCases are those of cs that bfloat16 has: all but the bits of the student's specification, which is float32.
func halfCases(b backend.Backend, cs []Case) (half []Case) {
	if backend.ActivationType(b) != backend.BF16 {
		return nil
	}
	for _, c := range cs {
		mixed, ok := halfOps[c.Op]
		if !ok || strings.HasPrefix(c.Size, "student") {
			continue
		}
		half = append(half, c.of("bf16", false))
		if mixed {
			half = append(half, c.of("bf16-stream-f32", true))
		}
	}
	return half
}

// of is the case with activations in bfloat16, and with wide the residual stream in float32.
func (c Case) of(name string, wide bool) Case {
	build := c.build
	c.Size = sized(name, c.Size)
	c.build = func(e *env) *trial {
		e.half, e.wide = true, wide
		return build(e)
	}
	return c
}

// argumentCases are cases of a small size in which every argument has one right shape.
func argumentCases(b backend.Backend) []Case {
	cs := append(rowCases(6, 16), linearCases(6, 12, 16)...)
	cs = append(cs, sparseCases(6, 12, 16)...)
	a := backend.AttentionArgs{Batch: 2, Time: 3, Heads: 4, KVHeads: 2, HeadDim: 4, Scale: 0.5}
	cs = append(cs, attentionCases(a)...)
	a.Window = 2
	cs = append(cs, droppedCases(a)...)
	return append(cs, halfCases(b, cs)...)
}

// rowCases are the cases of n rows of c elements.
func rowCases(n, c int) []Case {
	var cs []Case
	for _, f := range []func(n, c int) []Case{
		elementwiseCases, castCases, studentElementwiseCases, softmaxCases, normCases, embeddingCases, ropeCases, lossCases, distillCases,
		reduceCases, optimCases, quantCases,
	} {
		cs = append(cs, f(n, c)...)
	}
	return cs
}

// Outputs runs every case and returns the bits of what it wrote, by name.
func Outputs(t testing.TB, b backend.Backend) map[string][]uint32 {
	all := map[string][]uint32{}
	for _, c := range Cases(b) {
		e := newEnv(t, b, c.Name())
		tr := c.build(e)
		e.reset(tr.outs())
		if err := tr.run(); err != nil {
			t.Fatalf("%s: %v", c.Name(), err)
		}
		for _, x := range tr.outs() {
			all[c.Name()+"/"+x.name] = bits(e.read(x.t))
		}
		e.free()
	}
	return all
}

func bits(host any) []uint32 {
	var u []uint32
	switch h := host.(type) {
	case []float32:
		for _, v := range h {
			u = append(u, math.Float32bits(v))
		}
	case []int32:
		for _, v := range h {
			u = append(u, uint32(v))
		}
	case []int8:
		for _, v := range h {
			u = append(u, uint32(v))
		}
	}
	return u
}

// Allocations checks that no operation allocates once it is warm, but for those named.
func Allocations(t *testing.T, b backend.Backend, but ...string) {
	for _, c := range Cases(b) {
		if slices.Contains(but, c.Op) {
			continue
		}
		e := newEnv(t, b, c.Name())
		tr := c.build(e)
		var err error
		call := func() {
			if e := tr.run(); e != nil {
				err = e
			}
		}
		e.reset(tr.outs())
		call()
		if n := testing.AllocsPerRun(3, call); n != 0 || err != nil {
			t.Errorf("%s: %v allocations a call, error %v", c.Name(), n, err)
		}
		e.free()
	}
}

// Benchmark times every operation at the sizes of training a small model: 2048 tokens, width 256, vocabulary 512.
func Benchmark(b *testing.B, open func(t testing.TB) backend.Backend) {
	bk := open(b)
	cs := rowCases(2048, 256)
	cs = append(cs, linearCases(2048, 256, 256)...)
	cs = append(cs, sparseCases(64, 256, 256)...)
	cs = append(cs, attentionCases(backend.AttentionArgs{Batch: 8, Time: 256, Heads: 8, KVHeads: 4, HeadDim: 32, Scale: 0.17})...)
	for _, c := range cs {
		b.Run(c.Name(), func(b *testing.B) {
			e := newEnv(b, bk, c.Name())
			tr := c.build(e)
			e.reset(tr.outs())
			timed(b, bk, tr.run)
			perSecond := float64(b.N) / b.Elapsed().Seconds() / 1e9
			b.ReportMetric(c.Bytes*perSecond, "GB/s")
			if c.Flops > 0 {
				b.ReportMetric(c.Flops*perSecond, "GFLOP/s")
			}
		})
	}
}

// timed times calls with the work that they leave to the device: they return before it is done, and b.Loop would stop the
// timer when they have returned.
func timed(b *testing.B, bk interface{ Synchronize() error }, call func() error) {
	b.Helper()
	wait := func() {
		if err := bk.Synchronize(); err != nil {
			b.Fatal(err)
		}
	}
	if err := call(); err != nil {
		b.Fatal(err)
	}
	wait()
	b.ResetTimer()
	for range b.N {
		if err := call(); err != nil {
			b.Fatal(err)
		}
	}
	wait()
	b.StopTimer()
}

func sized(parts ...any) string {
	s := ""
	for i, p := range parts {
		if i > 0 {
			s += "-"
		}
		s += fmt.Sprint(p)
	}
	return s
}
