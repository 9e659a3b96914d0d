package cuda

import (
	"gorgonia.org/tensor"

	"mito/backend"
	"mito/backend/internal/check"
	kernels "mito/kernels/cuda"
)

// Add implements backend.Elementwise.
func (b *Backend) Add(dst, a, bb *tensor.Dense) error {
	n, err := check.Same(b, "Add", []string{"dst", "a", "b"}, dst, a, bb)
	if err != nil {
		return err
	}
	if done, err := b.fuseAdd(at(dst), at(a), at(bb), n); done || err != nil {
		return err
	}
	b.begin("Add", kernels.AddF32).Ptr(at(dst)).Ptr(at(a)).Ptr(at(bb)).I64(int64(n))
	return b.elements(n)
}

// Mul implements backend.Elementwise.
func (b *Backend) Mul(dst, a, bb *tensor.Dense) error {
	n, err := check.Same(b, "Mul", []string{"dst", "a", "b"}, dst, a, bb)
	if err != nil {
		return err
	}
	b.begin("Mul", kernels.MulF32).Ptr(at(dst)).Ptr(at(a)).Ptr(at(bb)).I64(int64(n))
	return b.elements(n)
}

// Cast implements backend.Elementwise.
func (b *Backend) Cast(dst, x *tensor.Dense) error {
	n, err := check.Cast(b, dst, x)
	if err != nil {
		return err
	}
	b.begin("Cast", kernels.CastF32).Ptr(at(dst)).Ptr(at(x)).I64(int64(n)).I32(flag(half(dst))).I32(flag(half(x)))
	return b.elements(n)
}

var activations = [...]struct{ forward, backward kernels.Kernel }{
	backend.ReLU:  {kernels.ReLUF32, kernels.ReLUBackwardF32},
	backend.ReLU2: {kernels.ReLU2F32, kernels.ReLU2BackwardF32},
	backend.GELU:  {kernels.GELUF32, kernels.GELUBackwardF32},
	backend.SiLU:  {kernels.SiLUF32, kernels.SiLUBackwardF32},

	backend.ReLU2Output: {kernels.ReLU2F32, kernels.ReLU2OutputBackwardF32},
}

// Activate implements backend.Elementwise.
func (b *Backend) Activate(dst, x *tensor.Dense, act backend.Activation) error {
	if err := check.Activation("Activate", act); err != nil {
		return err
	}
	n, half, err := check.SameAct(b, "Activate", []string{"dst", "x"}, dst, x)
	if err != nil {
		return err
	}
	if done, err := b.fuseActivation(at(dst), at(x), n, half, act); done || err != nil {
		return err
	}
	b.begin("Activate", activations[act].forward).Ptr(at(dst)).Ptr(at(x)).I64(int64(n)).I32(flag(half))
	return b.elements(n)
}

// ActivateBackward implements backend.Elementwise.
func (b *Backend) ActivateBackward(dx, dy, x *tensor.Dense, act backend.Activation) error {
	if err := check.Activation("ActivateBackward", act); err != nil {
		return err
	}
	n, half, err := check.SameAct(b, "ActivateBackward", []string{"dx", "dy", "x"}, dx, dy, x)
	if err != nil {
		return err
	}
	if done, err := b.fuseActivationBackward(at(dx), at(dy), at(x), n, half, act); done || err != nil {
		return err
	}
	b.begin("ActivateBackward", activations[act].backward).Ptr(at(dx)).Ptr(at(dy)).Ptr(at(x)).I64(int64(n)).I32(flag(half))
	return b.elements(n)
}

// SwiGLU implements backend.Elementwise.
func (b *Backend) SwiGLU(dst, gate, up *tensor.Dense) error {
	n, half, err := check.SameAct(b, "SwiGLU", []string{"dst", "gate", "up"}, dst, gate, up)
	if err != nil {
		return err
	}
	b.begin("SwiGLU", kernels.SwiGLUF32).Ptr(at(dst)).Ptr(at(gate)).Ptr(at(up)).I64(int64(n)).I32(flag(half))
	return b.elements(n)
}

// SwiGLUBackward implements backend.Elementwise.
func (b *Backend) SwiGLUBackward(dgate, dup, dy, gate, up *tensor.Dense) error {
	n, half, err := check.SameAct(b, "SwiGLUBackward", []string{"dgate", "dup", "dy", "gate", "up"}, dgate, dup, dy, gate, up)
	if err != nil {
		return err
	}
	b.begin("SwiGLUBackward", kernels.SwiGLUBackwardF32).
		Ptr(at(dgate)).Ptr(at(dup)).Ptr(at(dy)).Ptr(at(gate)).Ptr(at(up)).I64(int64(n)).I32(flag(half))
	return b.elements(n)
}

// Dropout implements backend.Elementwise.
func (b *Backend) Dropout(dst, x *tensor.Dense, args backend.DropoutArgs) error {
	n, c, err := check.Dropout(b, dst, x, args)
	if err != nil {
		return err
	}
	limit := uint32(float64(args.Rate) * (1 << 32)) // below 2³² because the rate is below 1
	b.begin("Dropout", kernels.DropoutF32).Ptr(at(dst)).Ptr(at(x)).I64(int64(n) * int64(c)).I32(c).
		I32(int(int32(limit))).F32(1 / (1 - args.Rate)).U64(args.Seed).I64(args.Row).Ptr(at(args.Step))
	return b.elements(n * c)
}

// rowThreads is the size of a block that works on a row of so many elements.
func rowThreads(cols int) int {
	switch {
	case cols <= 128:
		return 32
	case cols <= 1024:
		return 128
	}
	return 256
}

// Softmax implements backend.Elementwise.
func (b *Backend) Softmax(dst, x *tensor.Dense, temperature, weight float32, accumulate bool) error {
	n, v, err := check.Softmax(b, dst, x, temperature)
	if err != nil {
		return err
	}
	b.begin("Softmax", kernels.SoftmaxF32).Ptr(at(dst)).Ptr(at(x)).F32(1 / temperature).F32(weight).
		I32(flag(accumulate)).I32(v)
	return b.run(line(n), line(rowThreads(v)))
}
