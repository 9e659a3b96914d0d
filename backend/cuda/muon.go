package cuda

import (
	"gorgonia.org/tensor"

	"mito/backend"
	"mito/backend/cuda/cudax"
	"mito/backend/internal/check"
	kernels "mito/kernels/cuda"
)

// Stages of an iteration, as kernels/cuda/muon.cuh numbers them.
const (
	muonGram = iota
	muonPolynomial
	muonApply
)

// muonProducts are the products of all matrices at once: without transposition, of a matrix with its transpose, and of the
// transpose with it.
type muonProducts struct{ nn, nt, tn kernels.Kernel }

func (b *Backend) muonProducts() muonProducts {
	if b.bf16 {
		return muonProducts{kernels.MuonBF16NN, kernels.MuonBF16NT, kernels.MuonBF16TN}
	}
	return muonProducts{kernels.MuonF32NN, kernels.MuonF32NT, kernels.MuonF32TN}
}

// muonScratch is where a call of Muon keeps its intermediate results.
type muonScratch struct{ table, x, next, gram, poly cudax.Address }

// Muon implements backend.Optim. Every launch works on all matrices: the number of launches does not depend on theirs. Of
// symmetric products only the lower triangle is computed.
func (b *Backend) Muon(p, g, buf, work, table, step *tensor.Dense, plan *backend.MuonPlan, args backend.MuonArgs) error {
	const op, threads = "Muon", 256
	if err := check.Muon(b, p, g, buf, work, table, step, plan, args); err != nil {
		return err
	}
	s := muonScratch{table: at(table), x: at(work)}
	s.next = s.x + cudax.Address(f32*plan.Elements())
	s.gram = s.next + cudax.Address(f32*plan.Elements())
	s.poly = s.gram + cudax.Address(f32*plan.GramElements())

	count := len(plan.Matrices())
	grid := cudax.Dim{X: max(1, min(64, kernels.MuonMomentumF32.Striding()*b.card.processors/count)), Y: count, Z: 1}
	partial, err := b.work.take(op, int64(8*grid.X*count))
	if err != nil {
		return err
	}
	begin := func(k kernels.Kernel) *cudax.Args {
		args := b.begin(op, k)
		b.task.plan = plan
		return args
	}
	begin(kernels.MuonMomentumF32).Ptr(s.x).Ptr(partial).Ptr(at(buf)).Ptr(at(g)).Ptr(s.table).Ptr(at(step)).
		F32(args.Momentum).I32(flag(args.Nesterov))
	if err := b.run(grid, line(threads)); err != nil {
		return err
	}
	begin(kernels.MuonNormalizeF32).Ptr(s.x).Ptr(partial).Ptr(s.table)
	if err := b.run(grid, line(threads)); err != nil {
		return err
	}
	for range args.Steps {
		if err := b.newtonSchulz(op, plan, &s); err != nil {
			return err
		}
	}
	begin(kernels.MuonUpdateF32).Ptr(at(p)).Ptr(s.x).Ptr(s.table).Ptr(at(step)).F32(args.WeightDecay)
	return b.run(grid, line(threads))
}

// newtonSchulz computes aX + (bA + cA²)X on the smaller side of every X, into s.x.
func (b *Backend) newtonSchulz(op string, plan *backend.MuonPlan, s *muonScratch) error {
	k, count, wide := b.muonProducts(), len(plan.Matrices()), plan.Wide()
	for _, l := range [...]struct {
		kernel             kernels.Kernel
		stage, first, last int
		tiles              int
	}{
		{k.nt, muonGram, 0, wide, plan.SquareTiles(0, wide)},
		{k.tn, muonGram, wide, count, plan.SquareTiles(wide, count)},
		{k.nn, muonPolynomial, 0, count, plan.SquareTiles(0, count)},
		{k.nn, muonApply, 0, count, plan.Tiles()},
	} {
		if l.tiles == 0 {
			continue
		}
		b.begin(op, l.kernel).Ptr(s.table).I32(l.first).I32(l.last).I32(l.stage).Ptr(s.x).Ptr(s.next).Ptr(s.gram).Ptr(s.poly)
		b.task.plan = plan
		if err := b.run(line(l.tiles), line(128)); err != nil {
			return err
		}
	}
	s.x, s.next = s.next, s.x
	return nil
}
