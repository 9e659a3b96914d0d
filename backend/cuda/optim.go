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
		F32(args.Beta1).F32(args.Beta2).F32(args.Eps).F32(args.WeightDecay).I64(int64(n))
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

// Coefficients of the quintic Newton-Schulz iteration X ← aX + (bA + cA²)X, A = XXᵀ (Jordan 2024).
const (
	muonA = 3.4445
	muonB = -4.7750
	muonC = 2.0315
)

// Muon implements backend.Optim.
func (b *Backend) Muon(p, g, buf, work, step *tensor.Dense, args backend.MuonArgs) error {
	const op = "Muon"
	m, n, err := check.Muon(b, p, g, buf, work, step, args)
	if err != nil {
		return err
	}
	size, s := m*n, min(m, n)
	x := at(work)
	next := x + cudax.Address(4*size)
	gram := next + cudax.Address(4*size)
	poly := gram + cudax.Address(4*s*s)
	norm := b.work.head(muonSumSquares)

	b.begin(op, kernels.MuonMomentumF32).Ptr(x).Ptr(at(buf)).Ptr(at(g)).Ptr(at(step)).F32(args.Momentum).
		I32(flag(args.Nesterov)).Ptr(norm).I64(int64(size))
	if err := b.elements(size); err != nil {
		return err
	}
	if err := b.reduce(op, kernels.SumSquaresF32, norm, x, size); err != nil {
		return err
	}
	b.begin(op, kernels.MuonNormalizeF32).Ptr(x).Ptr(norm).I64(int64(size))
	if err := b.elements(size); err != nil {
		return err
	}
	for range args.Steps {
		if err := b.newtonSchulz(op, next, x, gram, poly, m, n); err != nil {
			return err
		}
		x, next = next, x
	}
	b.begin(op, kernels.MuonUpdateF32).Ptr(at(p)).Ptr(x).Ptr(at(step)).F32(args.LRScale).F32(args.WeightDecay).I64(int64(size))
	return b.elements(size)
}

// newtonSchulz computes next = aX + (bA + cA²)X on the smaller side of X [m,n].
func (b *Backend) newtonSchulz(op string, next, x, gram, poly cudax.Address, m, n int) error {
	s, k, tall := min(m, n), max(m, n), m > n
	if err := b.product(op, &matrix{c: gram, a: x, b: x, m: s, n: s, k: k, transA: tall, transB: !tall}); err != nil {
		return err
	}
	if err := b.product(op, &matrix{c: poly, a: gram, b: gram, m: s, n: s, k: s}); err != nil {
		return err
	}
	if err := b.axpby(op, poly, muonB, gram, muonC, poly, s*s); err != nil {
		return err
	}
	if err := b.axpby(op, next, muonA, x, 0, x, m*n); err != nil {
		return err
	}
	last := &matrix{c: next, a: poly, b: x, m: m, n: n, k: m, accumulate: true}
	if tall {
		last.a, last.b, last.k = x, poly, n
	}
	return b.product(op, last)
}

// axpby computes dst = alpha·x + beta·y.
func (b *Backend) axpby(op string, dst cudax.Address, alpha float32, x cudax.Address, beta float32, y cudax.Address, n int) error {
	b.begin(op, kernels.AxpbyF32).Ptr(dst).F32(alpha).Ptr(x).F32(beta).Ptr(y).I64(int64(n))
	return b.elements(n)
}
