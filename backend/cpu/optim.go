package cpu

import (
	"math"

	"gorgonia.org/tensor"

	"mito/backend"
	"mito/backend/internal/check"
	"mito/kernels/gemm"
	"mito/kernels/vec"
)

// optimTasks are those of this file.
type optimTasks struct {
	adamW        adamWTask
	lerp         lerpTask
	muonMomentum muonMomentumTask
	muonApply    muonApplyTask
	polynomial   polynomialTask
}

// SumSquares implements backend.Optim.
func (b *Backend) SumSquares(dst, x *tensor.Dense) error {
	if _, err := check.Reduce(b, "SumSquares", dst, x); err != nil {
		return err
	}
	f32(dst)[0] += float32(b.reduce(f32(x), true))
	return nil
}

// ClipScale implements backend.Optim.
func (b *Backend) ClipScale(step, sumsq *tensor.Dense, maxNorm float32) error {
	if err := check.ClipScale(b, step, sumsq, maxNorm); err != nil {
		return err
	}
	scale := float32(1)
	if norm := float32(math.Sqrt(float64(f32(sumsq)[0]))); maxNorm > 0 && norm > maxNorm {
		scale = maxNorm / norm
	}
	f32(step)[backend.StepGradScale] = scale
	return nil
}

// AdamW implements backend.Optim.
func (b *Backend) AdamW(p, g, m, v, step *tensor.Dense, args backend.AdamWArgs) error {
	n, err := check.AdamW(b, p, g, m, v, step, args)
	if err != nil {
		return err
	}
	s := f32(step)
	b.tasks.adamW = adamWTask{p: f32(p), g: f32(g), m: f32(m), v: f32(v), decayed: n - args.NoDecay, args: vec.AdamWArgs{
		LR: s[backend.StepLR], Beta1: args.Beta1, Beta2: args.Beta2, Eps: args.Eps, WeightDecay: args.WeightDecay,
		BiasCorr1: s[backend.StepBias1], BiasCorr2: s[backend.StepBias2], GradScale: s[backend.StepGradScale],
	}}
	b.pool.Run(n, grainElems, &b.tasks.adamW)
	return nil
}

type adamWTask struct {
	p, g, m, v []float32
	decayed    int // elements that take weight decay
	args       vec.AdamWArgs
}

func (t *adamWTask) Do(lo, hi int) {
	split := min(max(t.decayed, lo), hi)
	vec.AdamW(t.p[lo:split], t.g[lo:split], t.m[lo:split], t.v[lo:split], t.args)
	plain := t.args
	plain.WeightDecay = 0
	vec.AdamW(t.p[split:hi], t.g[split:hi], t.m[split:hi], t.v[split:hi], plain)
}

// Lerp implements backend.Optim.
func (b *Backend) Lerp(dst, x *tensor.Dense, weight float32, step *tensor.Dense) error {
	n, err := check.Lerp(b, dst, x, weight, step)
	if err != nil {
		return err
	}
	if step != nil {
		weight *= f32(step)[backend.StepEMA]
	}
	b.tasks.lerp = lerpTask{f32(dst), f32(x), weight}
	b.pool.Run(n, grainElems, &b.tasks.lerp)
	return nil
}

type lerpTask struct {
	dst, x []float32
	weight float32
}

func (t *lerpTask) Do(lo, hi int) { vec.Lerp(t.dst[lo:hi], t.x[lo:hi], t.weight) }

// Coefficients of the quintic Newton-Schulz iteration X ← aX + (bA + cA²)X, A = XXᵀ (Jordan 2024).
const (
	muonA = 3.4445
	muonB = -4.7750
	muonC = 2.0315
)

// Muon implements backend.Optim: one matrix after the other, with the scratch of one.
func (b *Backend) Muon(p, g, buf, work, table, step *tensor.Dense, plan *backend.MuonPlan, args backend.MuonArgs) error {
	if err := check.Muon(b, p, g, buf, work, table, step, plan, args); err != nil {
		return err
	}
	for _, m := range plan.Matrices() {
		of := func(t *tensor.Dense) []float32 { return f32(t)[m.Offset:][:m.M*m.N] }
		b.muon(of(p), of(g), of(buf), f32(work), f32(step), &m, &args)
	}
	return nil
}

func (b *Backend) muon(p, g, buf, w, step []float32, matrix *backend.MuonMatrix, args *backend.MuonArgs) {
	m, n := matrix.M, matrix.N
	s := min(m, n)
	x, next := w[:m*n], w[m*n:2*m*n]
	gram, poly := w[2*m*n:][:s*s], w[2*m*n+s*s:][:s*s]

	b.tasks.muonMomentum = muonMomentumTask{
		x: x, g: g, buf: buf, scale: step[backend.StepGradScale], momentum: args.Momentum, nesterov: args.Nesterov,
	}
	b.pool.Run(m*n, grainElems, &b.tasks.muonMomentum)
	norm := float32(math.Sqrt(b.reduce(x, true))) + 1e-7
	vec.Scale(x, x, 1/norm)
	for range args.Steps {
		b.newtonSchulz(next, x, gram, poly, m, n)
		x, next = next, x
	}
	lr := step[backend.StepMuonLR]
	b.tasks.muonApply = muonApplyTask{p: p, x: x, decay: 1 - lr*args.WeightDecay, rate: -lr * matrix.LRScale}
	b.pool.Run(m*n, grainElems, &b.tasks.muonApply)
}

// newtonSchulz computes next = aX + (bA + cA²)X on the smaller side of X [m,n].
func (b *Backend) newtonSchulz(next, x, gram, poly []float32, m, n int) {
	s, k := m, n
	if m > n {
		s, k = n, m
	}
	// XXᵀ, or XᵀX where X is tall
	b.multiply(gemm.Args{M: s, N: s, K: k, A: x, LDA: n, TransA: m > n, B: x, LDB: n, TransB: m <= n, C: gram, LDC: s})
	b.multiply(gemm.Args{M: s, N: s, K: s, A: gram, LDA: s, B: gram, LDB: s, C: poly, LDC: s})
	b.tasks.polynomial = polynomialTask{poly: poly, gram: gram}
	b.pool.Run(s*s, grainElems, &b.tasks.polynomial)
	vec.Scale(next, x, muonA)
	if m <= n {
		b.multiply(gemm.Args{M: m, N: n, K: m, A: poly, LDA: m, B: x, LDB: n, C: next, LDC: n, Accumulate: true})
	} else {
		b.multiply(gemm.Args{M: m, N: n, K: n, A: x, LDA: n, B: poly, LDB: n, C: next, LDC: n, Accumulate: true})
	}
}

type muonMomentumTask struct {
	x, g, buf       []float32
	scale, momentum float32
	nesterov        bool
}

func (t *muonMomentumTask) Do(lo, hi int) {
	x, g, buf := t.x[lo:hi], t.g[lo:hi], t.buf[lo:hi]
	vec.Scale(x, g, t.scale)
	vec.Scale(buf, buf, t.momentum)
	vec.Add(buf, buf, x)
	if t.nesterov {
		vec.Axpy(x, t.momentum, buf)
	} else {
		copy(x, buf)
	}
}

type muonApplyTask struct {
	p, x        []float32
	decay, rate float32
}

func (t *muonApplyTask) Do(lo, hi int) {
	p := t.p[lo:hi]
	vec.Scale(p, p, t.decay)
	vec.Axpy(p, t.rate, t.x[lo:hi])
}

// polynomialTask computes poly = b·gram + c·poly, with poly holding gram².
type polynomialTask struct{ poly, gram []float32 }

func (t *polynomialTask) Do(lo, hi int) {
	poly := t.poly[lo:hi]
	vec.Scale(poly, poly, muonC)
	vec.Axpy(poly, muonB, t.gram[lo:hi])
}
