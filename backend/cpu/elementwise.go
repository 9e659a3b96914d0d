package cpu

import (
	"math"

	"gorgonia.org/tensor"

	"mito/backend"
	"mito/backend/internal/check"
	"mito/kernels/vec"
)

// elementwiseTasks are those of this file.
type elementwiseTasks struct {
	add        addTask
	mul        mulTask
	activate   activateTask
	swiglu     swigluTask
	swigluBack swigluBackTask
	dropout    dropoutTask
	softmax    softmaxTask
}

// Add implements backend.Elementwise.
func (b *Backend) Add(dst, x, y *tensor.Dense) error {
	n, err := check.Same(b, "Add", []string{"dst", "a", "b"}, dst, x, y)
	if err != nil {
		return err
	}
	b.tasks.add = addTask{f32(dst), f32(x), f32(y)}
	b.pool.Run(n, grainElems, &b.tasks.add)
	return nil
}

type addTask struct{ dst, a, b []float32 }

func (t *addTask) Do(lo, hi int) { vec.Add(t.dst[lo:hi], t.a[lo:hi], t.b[lo:hi]) }

// Mul implements backend.Elementwise.
func (b *Backend) Mul(dst, x, y *tensor.Dense) error {
	n, err := check.Same(b, "Mul", []string{"dst", "a", "b"}, dst, x, y)
	if err != nil {
		return err
	}
	b.tasks.mul = mulTask{f32(dst), f32(x), f32(y)}
	b.pool.Run(n, grainElems, &b.tasks.mul)
	return nil
}

type mulTask struct{ dst, a, b []float32 }

func (t *mulTask) Do(lo, hi int) { vec.Mul(t.dst[lo:hi], t.a[lo:hi], t.b[lo:hi]) }

// Cast implements backend.Elementwise. There is one dtype here.
func (b *Backend) Cast(dst, x *tensor.Dense) error {
	if _, err := check.Cast(b, dst, x); err != nil {
		return err
	}
	copy(f32(dst), f32(x))
	return nil
}

// Activate implements backend.Elementwise.
func (b *Backend) Activate(dst, x *tensor.Dense, act backend.Activation) error {
	n, _, err := check.SameAct(b, "Activate", []string{"dst", "x"}, dst, x)
	if err == nil {
		err = check.Activation("Activate", act)
	}
	if err != nil {
		return err
	}
	b.tasks.activate = activateTask{dst: f32(dst), x: f32(x), act: act}
	b.pool.Run(n, grainElems, &b.tasks.activate)
	return nil
}

// ActivateBackward implements backend.Elementwise.
func (b *Backend) ActivateBackward(dx, dy, x *tensor.Dense, act backend.Activation) error {
	n, _, err := check.SameAct(b, "ActivateBackward", []string{"dx", "dy", "x"}, dx, dy, x)
	if err == nil {
		err = check.Activation("ActivateBackward", act)
	}
	if err != nil {
		return err
	}
	b.tasks.activate = activateTask{dst: f32(dx), dy: f32(dy), x: f32(x), act: act}
	b.pool.Run(n, grainElems, &b.tasks.activate)
	return nil
}

// activateTask runs forward, or backward where dy is set.
type activateTask struct {
	dst, dy, x []float32
	act        backend.Activation
}

func (t *activateTask) Do(lo, hi int) {
	dst, x := t.dst[lo:hi], t.x[lo:hi]
	if t.dy == nil {
		switch t.act {
		case backend.ReLU:
			vec.ReLU(dst, x)
		case backend.ReLU2, backend.ReLU2Output:
			vec.ReLU2(dst, x)
		case backend.GELU:
			vec.GELU(dst, x)
		case backend.SiLU:
			vec.SiLU(dst, x)
		}
		return
	}
	dy := t.dy[lo:hi]
	switch t.act {
	case backend.ReLU:
		vec.ReLUBackward(dst, dy, x)
	case backend.ReLU2:
		vec.ReLU2Backward(dst, dy, x)
	case backend.GELU:
		vec.GELUBackward(dst, dy, x)
	case backend.SiLU:
		vec.SiLUBackward(dst, dy, x)
	case backend.ReLU2Output:
		for i, y := range x {
			r := float32(math.Sqrt(float64(max(y, 0))))
			dst[i] = dy[i] * (r + r)
		}
	}
}

// SwiGLU implements backend.Elementwise.
func (b *Backend) SwiGLU(dst, gate, up *tensor.Dense) error {
	n, _, err := check.SameAct(b, "SwiGLU", []string{"dst", "gate", "up"}, dst, gate, up)
	if err != nil {
		return err
	}
	b.tasks.swiglu = swigluTask{f32(dst), f32(gate), f32(up)}
	b.pool.Run(n, grainElems, &b.tasks.swiglu)
	return nil
}

type swigluTask struct{ dst, gate, up []float32 }

func (t *swigluTask) Do(lo, hi int) { vec.SwiGLU(t.dst[lo:hi], t.gate[lo:hi], t.up[lo:hi]) }

// SwiGLUBackward implements backend.Elementwise.
func (b *Backend) SwiGLUBackward(dgate, dup, dy, gate, up *tensor.Dense) error {
	n, _, err := check.SameAct(b, "SwiGLUBackward", []string{"dgate", "dup", "dy", "gate", "up"}, dgate, dup, dy, gate, up)
	if err != nil {
		return err
	}
	b.tasks.swigluBack = swigluBackTask{f32(dgate), f32(dup), f32(dy), f32(gate), f32(up)}
	b.pool.Run(n, grainElems, &b.tasks.swigluBack)
	return nil
}

type swigluBackTask struct{ dgate, dup, dy, gate, up []float32 }

func (t *swigluBackTask) Do(lo, hi int) {
	vec.SwiGLUBackward(t.dgate[lo:hi], t.dup[lo:hi], t.dy[lo:hi], t.gate[lo:hi], t.up[lo:hi])
}

// Dropout implements backend.Elementwise.
func (b *Backend) Dropout(dst, x *tensor.Dense, args backend.DropoutArgs) error {
	n, c, err := check.Dropout(b, dst, x, args)
	if err != nil {
		return err
	}
	if args.Step != nil {
		args.Seed += backend.Seed(f32(args.Step))
	}
	b.tasks.dropout = dropoutTask{dst: f32(dst), x: f32(x), c: c, args: args}
	b.pool.Run(n, grainRows(4*c), &b.tasks.dropout)
	return nil
}

type dropoutTask struct {
	dst, x []float32
	c      int
	args   backend.DropoutArgs
}

func (t *dropoutTask) Do(lo, hi int) {
	limit := uint64(float64(t.args.Rate) * (1 << 32))
	keep := 1 / (1 - t.args.Rate)
	for r := lo; r < hi; r++ {
		dst, x := t.dst[r*t.c:][:t.c], t.x[r*t.c:][:t.c]
		for i, v := range x {
			// Without a branch, which no processor could predict: all ones where the element is dropped.
			h := uint64(backend.DropoutHash(t.args.Seed, t.args.Row+int64(r), i))
			dropped := uint32(int64(h-limit) >> 63)
			dst[i] = math.Float32frombits(math.Float32bits(v*keep) &^ dropped)
		}
	}
}

// Softmax implements backend.Elementwise.
func (b *Backend) Softmax(dst, x *tensor.Dense, temperature, weight float32, accumulate bool) error {
	n, v, err := check.Softmax(b, dst, x, temperature)
	if err != nil {
		return err
	}
	b.tasks.softmax = softmaxTask{b: b, dst: f32(dst), x: f32(x), v: v, scale: 1 / temperature, weight: weight, accumulate: accumulate}
	b.pool.Run(n, grainRows(4*v), &b.tasks.softmax)
	return nil
}

type softmaxTask struct {
	b             *Backend
	dst, x        []float32
	v             int
	scale, weight float32
	accumulate    bool
}

func (t *softmaxTask) Do(lo, hi int) {
	row := t.b.scratch.get(t.v)
	defer t.b.scratch.put(row)
	for r := lo; r < hi; r++ {
		dst, x := t.dst[r*t.v:][:t.v], t.x[r*t.v:][:t.v]
		if t.accumulate {
			vec.SoftmaxScaled(row, x, t.scale)
			vec.Axpy(dst, t.weight, row)
			continue
		}
		vec.SoftmaxScaled(dst, x, t.scale)
		if t.weight != 1 {
			vec.Scale(dst, dst, t.weight)
		}
	}
}
