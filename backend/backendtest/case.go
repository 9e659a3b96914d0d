package backendtest

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"gorgonia.org/tensor"

	"mito/backend"
	"mito/backend/backendtest/bf16"
	"mito/kernels/kerneltest"
)

// Case is one call of one operation on random inputs.
type Case struct {
	Op, Size string
	Flops    float64 // of the call, for benchmarks; 0 where bytes say more
	Bytes    float64 // read and written at least once

	build func(e *env) *trial
}

// Name is the operation and its size.
func (c Case) Name() string { return c.Op + "/" + c.Size }

// trial is a case on a backend, ready to run as often as wanted: an operation, its tensor arguments, and calls of it that
// must be refused.
type trial struct {
	op      func(t []*tensor.Dense) error // on the tensors of args
	args    []arg
	tensors []*tensor.Dense
	refused []refusal
}

// arg is a tensor argument.
type arg struct {
	name     string
	t        *tensor.Dense
	out      *out // nil for what is only read
	optional bool // nil is good
	any      bool // no other argument says how large it is
}

// out is a tensor that a trial writes.
type out struct {
	name  string
	t     *tensor.Dense
	start any // contents before the call, for what is updated in place or added to; nil poisons it

	want  []float64 // within tol, or
	exact any       // []float32, []int8, []int32 to the bit
	tol   tolerance
}

// refusal is a call with tensors that fit and another argument that does not.
type refusal struct {
	what   string
	call   func() error
	values bool // what is wrong are the contents of a tensor
}

// trialOf is a trial of op with its arguments in order.
func trialOf(op func(t []*tensor.Dense) error, args ...arg) *trial {
	tr := &trial{op: op, args: args}
	for _, a := range args {
		tr.tensors = append(tr.tensors, a.t)
	}
	return tr
}

// to is an argument that is written, from one that is read.
func to(o out) arg                          { return arg{name: o.name, t: o.t, out: &o} }
func from(name string, t *tensor.Dense) arg { return arg{name: name, t: t} }
func (a arg) orNil() arg                    { a.optional = true; return a }
func (a arg) ofAnySize() arg                { a.any = true; return a }

// refuse adds a call that must give an *ArgError.
func (tr *trial) refuse(what string, call func() error) {
	tr.refused = append(tr.refused, refusal{what: what, call: call})
}

// refuseValues adds a call whose tensors hold what must not be; only backends that look refuse it.
func (tr *trial) refuseValues(what string, call func() error) {
	tr.refused = append(tr.refused, refusal{what, call, true})
}

// refuseIDs adds calls with ids of which one is not in [0,limit).
func (tr *trial) refuseIDs(e *env, ids []int32, limit int, call func(ids *tensor.Dense) error, shape ...int) {
	for _, id := range []int32{-1, int32(limit), math.MaxInt32, math.MinInt32} {
		tr.refuseValues("id outside", func() error {
			bad := slices.Clone(ids)
			bad[max(len(bad)-2, 0)] = id
			return call(e.i32(bad, shape...))
		})
	}
}

func (tr *trial) run() error { return tr.op(tr.tensors) }

func (tr *trial) outs() (outs []out) {
	for _, a := range tr.args {
		if a.out != nil {
			outs = append(outs, *a.out)
		}
	}
	return outs
}

// env makes tensors for a case.
type env struct {
	tb    testing.TB
	b     backend.Backend
	r     *rand.Rand
	slab  backend.Slab
	slabs []backend.Slab

	// The case is of activations in bfloat16: normal gives numbers that bfloat16 holds, and act and stream make tensors of it.
	half bool
	wide bool // but stream, the residual stream and its gradient, makes tensors of float32
}

func newEnv(tb testing.TB, b backend.Backend, name string) *env {
	e := &env{tb: tb, b: b, r: kerneltest.Rand(name)}
	tb.Cleanup(e.free)
	return e
}

func (e *env) free() {
	for _, s := range e.slabs {
		if err := s.Free(); err != nil {
			e.tb.Errorf("free: %v", err)
		}
	}
	e.slab, e.slabs = nil, nil
}

const slabBytes = 1 << 20

// make cuts a tensor, from a new slab where the last one is full.
func (e *env) make(dt tensor.Dtype, shape ...int) *tensor.Dense {
	e.tb.Helper()
	if e.slab != nil {
		t, err := e.slab.New(dt, shape...)
		if err == nil {
			return t
		}
		if !errors.Is(err, backend.ErrOutOfMemory) {
			e.tb.Fatal(err)
		}
	}
	need, err := backend.TensorBytes(dt, shape...)
	if err != nil {
		e.tb.Fatal(err)
	}
	if e.slab, err = e.b.NewSlab(max(slabBytes, backend.Align(need))); err != nil {
		e.tb.Fatal(err)
	}
	e.slabs = append(e.slabs, e.slab)
	t, err := e.slab.New(dt, shape...)
	if err != nil {
		e.tb.Fatal(err)
	}
	return t
}

func (e *env) upload(t *tensor.Dense, v any) *tensor.Dense {
	e.tb.Helper()
	if f, ok := v.([]float32); ok && t.Dtype() == backend.BF16 {
		v = bf16.Round(f)
	}
	if err := e.b.Upload(t, v); err != nil {
		e.tb.Fatal(err)
	}
	return t
}

// f32, i32 and i8 make tensors of given contents; without a shape they are vectors.
func (e *env) f32(v []float32, shape ...int) *tensor.Dense {
	return e.upload(e.make(backend.F32, shapeOr(shape, len(v))...), v)
}
func (e *env) i32(v []int32, shape ...int) *tensor.Dense {
	return e.upload(e.make(backend.I32, shapeOr(shape, len(v))...), v)
}
func (e *env) i8(v []int8, shape ...int) *tensor.Dense {
	return e.upload(e.make(backend.I8, shapeOr(shape, len(v))...), v)
}

func shapeOr(shape []int, n int) []int {
	if len(shape) == 0 {
		return []int{n}
	}
	return shape
}

// empty makes a f32 tensor whose contents do not matter.
func (e *env) empty(shape ...int) *tensor.Dense { return e.make(backend.F32, shape...) }

// act makes an activation or a gradient of one from contents, and nothing an empty one.
func (e *env) act(v []float32, shape ...int) *tensor.Dense { return e.upload(e.noAct(shape...), v) }
func (e *env) noAct(shape ...int) *tensor.Dense            { return e.make(e.actType(e.half), shape...) }

// stream and noStream are act and noAct for what may be the residual stream as well.
func (e *env) stream(v []float32, shape ...int) *tensor.Dense {
	return e.upload(e.noStream(shape...), v)
}
func (e *env) noStream(shape ...int) *tensor.Dense {
	return e.make(e.actType(e.half && !e.wide), shape...)
}

func (e *env) actType(half bool) tensor.Dtype {
	if half {
		return backend.BF16
	}
	return backend.F32
}

func (e *env) normal(n int) []float32 {
	v := kerneltest.Normal(e.r, make([]float32, n))
	if e.half {
		v = bf16.Widen(bf16.Round(v))
	}
	return v
}

// positive gives numbers in (0.5,1.5).
func (e *env) positive(n int) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = 0.5 + e.r.Float32()
	}
	return v
}

// ids gives random ids below limit with both ends among them.
func (e *env) ids(n, limit int) []int32 {
	v := make([]int32, n)
	for i := range v {
		v[i] = int32(e.r.IntN(limit))
	}
	v[0], v[n-1] = int32(limit-1), 0
	return v
}

func (e *env) int8s(n int) []int8 { return kerneltest.Int8s(e.r, make([]int8, n), false) }

// view is View without the error.
func (e *env) view(t *tensor.Dense, offset int, shape ...int) *tensor.Dense {
	e.tb.Helper()
	v, err := e.b.View(t, offset, shape...)
	if err != nil {
		e.tb.Fatal(err)
	}
	return v
}

// reset gives outputs their contents from before the call.
func (e *env) reset(outs []out) {
	for _, o := range outs {
		if o.start != nil {
			e.upload(o.t, o.start)
			continue
		}
		n := o.t.Shape().TotalSize()
		switch o.t.Dtype() {
		case backend.F32, backend.BF16:
			v := make([]float32, n)
			for i := range v {
				v[i] = float32(math.NaN())
			}
			e.upload(o.t, v)
		case backend.I8:
			v := make([]int8, n)
			for i := range v {
				v[i] = -128
			}
			e.upload(o.t, v)
		}
	}
}

// read downloads a tensor; one of bfloat16 as float32.
func (e *env) read(t *tensor.Dense) any {
	e.tb.Helper()
	n := t.Shape().TotalSize()
	var host any
	switch t.Dtype() {
	case backend.F32:
		host = make([]float32, n)
	case backend.BF16:
		host = make([]uint16, n)
	case backend.I32:
		host = make([]int32, n)
	default:
		host = make([]int8, n)
	}
	if err := e.b.Download(host, t); err != nil {
		e.tb.Fatal(err)
	}
	if h, ok := host.([]uint16); ok {
		return bf16.Widen(h)
	}
	return host
}

// check runs a trial and compares its outputs.
func (tr *trial) check(e *env, op string, o Options, m *meter) error {
	outs := tr.outs()
	e.reset(outs)
	if err := tr.run(); err != nil {
		return err
	}
	if err := e.b.Synchronize(); err != nil {
		return err
	}
	for _, x := range outs {
		if err := x.compare(e.read(x.t), op, o, m); err != nil {
			return fmt.Errorf("%s: %w", x.name, err)
		}
	}
	return nil
}

// half says that the output is of bfloat16; one without a tensor is not.
func (x out) half() bool { return x.t != nil && x.t.Dtype() == backend.BF16 }

func (x out) compare(got any, op string, o Options, m *meter) error {
	switch want := x.exact.(type) {
	case []float32:
		return kerneltest.Bits(got.([]float32), want)
	case []int8:
		return kerneltest.Equal(got.([]int8), want)
	case []int32:
		return kerneltest.Equal(got.([]int32), want)
	}
	limit := x.tol.limit(o, x.want)
	if x.half() {
		limit = stored(limit, x.want)
	}
	m.add(op, x, got.([]float32), limit)
	return kerneltest.Close(got.([]float32), x.want, limit)
}

// widen converts to float64.
func widen(x []float32) []float64 {
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = float64(v)
	}
	return y
}
