package train

import (
	"errors"
	"math"

	"gorgonia.org/tensor"

	"mito/backend"
	"mito/engine/model"
)

// optimizer updates the parameters of a model and keeps the moments.
type optimizer struct {
	b    backend.Backend
	o    Options
	m    *model.Model
	slab backend.Slab

	ranks  Group   // nil where one process runs it
	shares []share // of Muon's matrices, by rank

	first, second *tensor.Dense // moments, in the layout of the parameters; first is Muon's momentum for its matrices
	ema           *tensor.Dense // moving average of the parameters, or nil
	spare         *tensor.Dense // the raw parameters while the average stands in for them, or nil
	step          *tensor.Dense // [backend.StepLen]
	sumsq         *tensor.Dense // [1]
	adamw         *adamwGroup   // nil where Muon updates everything
	muon          *muonGroup    // nil without Muon, or where it has no matrix
	host          []float32     // [backend.StepLen], what step is uploaded from
	hostStep      any           // the same, boxed once
	norm          [1]float32
	masked        []masked
}

// masked is a tensor of the run that a mask of the model keeps sparse: a parameter or its moving average.
type masked struct{ tensor, mask *tensor.Dense }

// adamwGroup is the range of parameters that AdamW updates, with one call.
type adamwGroup struct {
	value, grad, first, second *tensor.Dense
	args                       backend.AdamWArgs
}

// ErrNothingToTrain says that every parameter of a model is frozen.
var ErrNothingToTrain = errors.New("every parameter is frozen: there is nothing to train")

func newOptimizer(m *model.Model, o Options, group Group) (*optimizer, error) {
	if m.Params.Length() == 0 {
		return nil, ErrNothingToTrain
	}
	p := &optimizer{b: m.Backend(), o: o, m: m, ranks: group, host: make([]float32, backend.StepLen)}
	p.hostStep = p.host
	if err := p.planMuon(); err != nil {
		return nil, err
	}
	slab, err := backend.Reserve(p.b, p.wants()...)
	if err != nil {
		return nil, err
	}
	p.slab = slab
	err = p.group()
	if err == nil && p.ema != nil {
		err = p.b.Copy(p.ema, m.Params.Value)
	}
	if err != nil {
		slab.Free()
		return nil, err
	}
	return p, nil
}

// close frees the memory; nil is allowed.
func (p *optimizer) close() error {
	if p == nil {
		return nil
	}
	return p.slab.Free()
}

// wants lists the tensors of the run's options.
func (p *optimizer) wants() []backend.Want {
	n := p.m.Params.Length()
	vector := func(to **tensor.Dense, n int) backend.Want {
		return backend.Want{To: to, DType: backend.F32, Shape: []int{n}}
	}
	wants := []backend.Want{
		vector(&p.first, n), vector(&p.second, n), vector(&p.step, backend.StepLen), vector(&p.sumsq, 1),
	}
	if p.o.EMA > 0 {
		wants = append(wants, vector(&p.ema, n), vector(&p.spare, n))
	}
	return append(wants, p.muon.wants()...)
}

// group makes the call of AdamW: of tables and vectors, which lie behind the matrices, and of these too where they are not Muon's.
func (p *optimizer) group() error {
	first, end, noDecay := -1, 0, 0
	for _, g := range p.m.Params.Groups() {
		if g.Kind == model.Matrix && p.o.Optimizer == Muon {
			continue
		}
		if first < 0 {
			first = g.Offset
		}
		end = g.Offset + g.Length
		if g.Kind == model.Vector {
			noDecay = g.Length
		}
	}
	if first >= 0 {
		p.adamw = &adamwGroup{args: backend.AdamWArgs{
			Beta1: float32(p.o.Beta1), Beta2: float32(p.o.Beta2), Eps: float32(p.o.Eps), WeightDecay: float32(p.o.WeightDecay),
			NoDecay: noDecay,
		}}
		for _, v := range []struct{ dst, of **tensor.Dense }{
			{&p.adamw.value, &p.m.Params.Value}, {&p.adamw.grad, &p.m.Params.Grad}, {&p.adamw.first, &p.first}, {&p.adamw.second, &p.second},
		} {
			t, err := p.b.View(*v.of, first, end-first)
			if err != nil {
				return err
			}
			*v.dst = t
		}
	}
	return backend.First(p.mask(), p.muon.upload(p.b))
}

// mask lists what masks keep sparse.
func (p *optimizer) mask() error {
	for _, q := range p.m.Params.Trained() {
		if q.Mask == nil {
			continue
		}
		p.masked = append(p.masked, masked{q.Value, q.Mask})
		if p.ema == nil {
			continue
		}
		average, err := p.b.View(p.ema, q.Offset(), q.Shape...)
		if err != nil {
			return err
		}
		p.masked = append(p.masked, masked{average, q.Mask})
	}
	return nil
}

// prepare uploads the scalars of a step, counted from 0, whose targets have a weight.
func (p *optimizer) prepare(step int, weight float64) error {
	rate := p.o.Rate(step)
	p.host[backend.StepLR] = float32(p.o.LR * rate)
	p.host[backend.StepMuonLR] = float32(p.o.MuonLR * rate)
	p.host[backend.StepBias1] = float32(1 - math.Pow(p.o.Beta1, float64(step+1)))
	p.host[backend.StepBias2] = float32(1 - math.Pow(p.o.Beta2, float64(step+1)))
	p.host[backend.StepGradScale] = 1
	p.host[backend.StepLossScale] = float32(1 / weight)
	p.host[backend.StepEMA] = p.averageWeight(step)
	backend.PutSeed(p.host, p.o.runSeed(step))
	return p.b.Upload(p.step, p.hostStep)
}

// apply clips the gradient and updates the parameters and their average. Masks hold for both.
func (p *optimizer) apply() error {
	b := p.b
	if err := b.Zero(p.sumsq); err != nil {
		return err
	}
	if err := b.SumSquares(p.sumsq, p.m.Params.Grad); err != nil {
		return err
	}
	if err := b.ClipScale(p.step, p.sumsq, float32(p.o.ClipNorm)); err != nil {
		return err
	}
	if g := p.adamw; g != nil {
		if err := b.AdamW(g.value, g.grad, g.first, g.second, p.step, g.args); err != nil {
			return err
		}
	}
	if err := p.orthogonalize(); err != nil {
		return err
	}
	if p.ema != nil {
		if err := b.Lerp(p.ema, p.m.Params.Value, 1, p.step); err != nil {
			return err
		}
	}
	for _, m := range p.masked {
		if err := b.Mul(m.tensor, m.tensor, m.mask); err != nil {
			return err
		}
	}
	return nil
}

// averageWeight is the share of the new parameters in the moving average. It follows fast at first, so that it forgets
// the random start.
func (p *optimizer) averageWeight(step int) float32 {
	if p.ema == nil {
		return 0
	}
	return float32(1 - min(p.o.EMA, float64(step+1)/float64(step+10)))
}

// gradNorm reads the global norm of the last gradient, before clipping.
func (p *optimizer) gradNorm() (float64, error) {
	err := p.b.Download(p.norm[:], p.sumsq)
	return math.Sqrt(float64(p.norm[0])), err
}

// averaged runs f with the moving average in place of the parameters, where there is one.
func (p *optimizer) averaged(f func() error) error {
	if p.ema == nil {
		return f()
	}
	value := p.m.Params.Value
	if err := p.b.Copy(p.spare, value); err != nil {
		return err
	}
	if err := p.b.Copy(value, p.ema); err != nil {
		return err
	}
	err := f()
	if back := p.b.Copy(value, p.spare); err == nil {
		err = back
	}
	return err
}
