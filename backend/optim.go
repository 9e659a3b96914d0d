package backend

import "gorgonia.org/tensor"

// AdamWArgs holds the constants of AdamW.
type AdamWArgs struct {
	Beta1, Beta2, Eps float32
	WeightDecay       float32 // decoupled: p -= lr·decay·p
	NoDecay           int     // so many elements at the end of p take no weight decay
}

// MuonArgs holds the constants of Muon.
type MuonArgs struct {
	Momentum    float32
	Nesterov    bool
	Steps       int     // Newton-Schulz iterations
	WeightDecay float32 // decoupled
}

// Optim groups the optimisers. step [StepLen] f32 holds the scalars of the step, see [StepLR].
type Optim interface {
	// SumSquares adds Σx² to dst. The order is fixed and does not depend on threads.
	//
	//	dst [1] f32   x any f32
	SumSquares(dst, x *tensor.Dense) error
	// ClipScale sets step[StepGradScale] = min(1, maxNorm/√sumsq); maxNorm 0 sets it to 1.
	ClipScale(step, sumsq *tensor.Dense, maxNorm float32) error

	// AdamW updates p, m and v from the gradient g·step[StepGradScale], arXiv:1711.05101.
	//
	//	p, g, m, v f32 of one size
	AdamW(p, g, m, v, step *tensor.Dense, args AdamWArgs) error

	// Muon updates every matrix of a plan along the orthogonalised momentum of its gradient (Jordan 2024,
	// kellerjordan.github.io/posts/muon; arXiv:2502.16982): buf = μ·buf + g; u = g + μ·buf (Nesterov) or buf;
	// u ← NewtonSchulz(u/‖u‖); p -= lr·(lrScale·u + decay·p). What lies between the matrices stays as it is.
	//
	//	p, g, buf f32 of one size, which hold the matrices   work f32 of at least plan.Work() elements
	//	table [len(plan.Matrices()), MuonColumns] i32 with plan.Table()
	Muon(p, g, buf, work, table, step *tensor.Dense, plan *MuonPlan, args MuonArgs) error

	// Lerp computes dst += w·(x-dst) with w = weight·step[StepEMA], or weight where step is nil: the exponential moving
	// average of the weights. w lies in [0,1].
	//
	//	dst, x f32 of one size
	Lerp(dst, x *tensor.Dense, weight float32, step *tensor.Dense) error
}
