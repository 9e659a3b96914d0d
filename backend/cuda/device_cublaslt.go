//go:build cuda && linux && (amd64 || arm64)

package cuda

import (
	"errors"
	"time"

	"gorgonia.org/cu"

	"mito/backend/cuda/cudax"
)

func (d *device) openLt() (library string, err error) {
	if d.lt, err = cudax.OpenLt(cudax.LtLibraries...); err != nil {
		d.lt = nil
		return "", err
	}
	for i := range d.clock {
		if d.clock[i], err = cu.MakeEvent(cu.DefaultEvent); err != nil {
			return "", errors.Join(err, d.closeLt())
		}
	}
	return d.lt.Library(), nil
}

func (d *device) closeLt() error {
	if d.lt == nil {
		return nil
	}
	for _, p := range d.ltPlans {
		p.Close()
	}
	err := d.lt.Close()
	for i := range d.clock {
		if d.clock[i] != (cu.Event{}) {
			err = errors.Join(err, cu.DestroyEvent(&d.clock[i]))
		}
	}
	d.lt, d.ltPlans = nil, nil
	return err
}

func (d *device) planLt(x *matrix, workspace int64) (ltPlan, error) {
	p, err := d.lt.Plan(cudax.LtShape{M: x.m, N: x.n, K: x.k, TransA: x.transA, TransB: x.transB}, workspace, ltAlignment)
	if err != nil {
		return nil, err
	}
	d.ltPlans = append(d.ltPlans, p)
	return p, nil
}

func (d *device) runLt(c *ltCall) error {
	return c.plan.(*cudax.LtPlan).Run(c.alpha, c.a, c.b, c.beta, c.c, c.workspace, c.bytes, d.stream)
}

func (d *device) mark(end bool) error {
	e := d.clock[0]
	if end {
		e = d.clock[1]
	}
	return e.Record(d.stream)
}

func (d *device) between() (time.Duration, error) {
	if err := d.clock[1].Synchronize(); err != nil {
		return 0, err
	}
	ms, err := d.clock[0].Elapsed(d.clock[1])
	return time.Duration(ms * float64(time.Millisecond)), err
}
