package train

import (
	"math"

	"gorgonia.org/tensor"

	"mito/backend"
	"mito/engine/model"
)

// muonBatch bounds the elements of the matrices that one call of Muon updates; the scratch has four times as many at most.
const muonBatch = 8 << 20

// muonGroup is the matrices that this rank updates with Muon.
type muonGroup struct {
	plans  []*backend.MuonPlan
	tables []*tensor.Dense // of the plans
	work   *tensor.Dense   // scratch
	args   backend.MuonArgs
}

// matrices are the parameters that Muon updates, in the order in which they lie in the flat tensors.
func (p *optimizer) matrices() (list []*model.Param) {
	if p.o.Optimizer != Muon {
		return nil
	}
	for _, q := range p.m.Params.Trained() {
		if q.Kind == model.Matrix {
			list = append(list, q)
		}
	}
	return list
}

// planMuon plans the updates of this rank's matrices.
func (p *optimizer) planMuon() error {
	list := p.matrices()
	if p.ranks != nil {
		p.share(list)
		mine := p.shares[p.ranks.Rank()]
		list = list[mine.first:mine.end]
	}
	if len(list) == 0 {
		return nil
	}
	p.muon = &muonGroup{args: backend.MuonArgs{
		Momentum: float32(p.o.Momentum), Nesterov: true, Steps: p.o.NSSteps, WeightDecay: float32(p.o.WeightDecay),
	}}
	for len(list) > 0 {
		n, size := 0, 0
		for n < len(list) && (n == 0 || size+list[n].Size() <= muonBatch) {
			size += list[n].Size()
			n++
		}
		if err := p.muon.plan(list[:n]); err != nil {
			return err
		}
		list = list[n:]
	}
	return nil
}

// plan adds the plan of some matrices.
func (g *muonGroup) plan(list []*model.Param) error {
	var batch []backend.MuonMatrix
	for _, q := range list {
		batch = append(batch, backend.MuonMatrix{
			Offset: q.Offset(), M: q.Shape[0], N: q.Shape[1],
			LRScale: float32(math.Sqrt(max(1, float64(q.Shape[0])/float64(q.Shape[1])))),
		})
	}
	plan, err := backend.PlanMuon(batch...)
	g.plans, g.tables = append(g.plans, plan), append(g.tables, nil)
	return err
}

// wants lists the tensors of the plans; nil is allowed.
func (g *muonGroup) wants() (wants []backend.Want) {
	if g == nil {
		return nil
	}
	work := 0
	for i, plan := range g.plans {
		work = max(work, plan.Work())
		wants = append(wants, backend.Want{To: &g.tables[i], DType: backend.I32, Shape: []int{len(plan.Matrices()), backend.MuonColumns}})
	}
	return append(wants, backend.Want{To: &g.work, DType: backend.F32, Shape: []int{work}})
}

// upload fills the tables; nil is allowed.
func (g *muonGroup) upload(b backend.Backend) error {
	if g == nil {
		return nil
	}
	for i, plan := range g.plans {
		if err := b.Upload(g.tables[i], plan.Table()); err != nil {
			return err
		}
	}
	return nil
}

// orthogonalize runs Muon on the matrices, each rank on its share of them.
func (p *optimizer) orthogonalize() error {
	if q := p.muon; q != nil {
		for i, plan := range q.plans {
			if err := p.b.Muon(p.m.Params.Value, p.m.Params.Grad, p.first, q.work, q.tables[i], p.step, plan, q.args); err != nil {
				return err
			}
		}
	}
	return p.exchange(p.m.Params.Value)
}
