package cuda

import (
	"gorgonia.org/tensor"

	"mito/backend"
	"mito/backend/cuda/cudax"
	"mito/backend/internal/check"
	kernels "mito/kernels/cuda"
)

// reduce adds a sum over x to dst in one launch: the last block to finish adds up what the others left.
func (b *Backend) reduce(op string, k kernels.Kernel, dst, x cudax.Address, n int) error {
	const threads, each = 256, 8
	b.begin(op, k).Ptr(dst).Ptr(b.work.head(reducePartials)).Ptr(b.work.head(reduceCounter)).Ptr(x).I64(int64(n))
	return b.run(line(max(1, min(ceil(n, threads*each), 4*b.card.processors, reduceBlocks))), line(threads))
}

// SumSquares implements backend.Optim.
func (b *Backend) SumSquares(dst, x *tensor.Dense) error {
	n, err := check.Reduce(b, "SumSquares", dst, x)
	if err != nil {
		return err
	}
	return b.reduce("SumSquares", kernels.SumSquaresF32, at(dst), at(x), n)
}

// ClipScale implements backend.Optim.
func (b *Backend) ClipScale(step, sumsq *tensor.Dense, maxNorm float32) error {
	if err := check.ClipScale(b, step, sumsq, maxNorm); err != nil {
		return err
	}
	b.begin("ClipScale", kernels.ClipScaleF32).Ptr(at(step)).Ptr(at(sumsq)).F32(maxNorm)
	return b.run(line(1), line(1))
}

// AdamW implements backend.Optim.
func (b *Backend) AdamW(p, g, m, v, step *tensor.Dense, args backend.AdamWArgs) error {
	n, err := check.AdamW(b, p, g, m, v, step, args)
	if err != nil {
		return err
	}
	b.begin("AdamW", kernels.AdamWF32).Ptr(at(p)).Ptr(at(g)).Ptr(at(m)).Ptr(at(v)).Ptr(at(step)).
		F32(args.Beta1).F32(args.Beta2).F32(args.Eps).F32(args.WeightDecay).I64(int64(n)).I64(int64(n - args.NoDecay))
	return b.elements(n)
}

// Lerp implements backend.Optim.
func (b *Backend) Lerp(dst, x *tensor.Dense, weight float32, step *tensor.Dense) error {
	n, err := check.Lerp(b, dst, x, weight, step)
	if err != nil {
		return err
	}
	b.begin("Lerp", kernels.LerpF32).Ptr(at(dst)).Ptr(at(x)).F32(weight).Ptr(at(step)).I64(int64(n))
	return b.elements(n)
}
