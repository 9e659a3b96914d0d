package cpu

import (
	"gorgonia.org/tensor"

	"mito/backend/internal/check"
	"mito/kernels/vec"
)

// normTasks are those of this file.
type normTasks struct {
	rmsNorm       rmsNormTask
	rmsNormBack   rmsNormBackTask
	layerNorm     layerNormTask
	layerNormBack layerNormBackTask
	gainGrad      gainGradTask
}

// RMSNorm implements backend.Norm.
func (b *Backend) RMSNorm(y, rstd, x, gain *tensor.Dense, eps float32) error {
	n, c, err := check.RMSNorm(b, y, rstd, x, gain)
	if err != nil {
		return err
	}
	b.tasks.rmsNorm = rmsNormTask{y: f32(y), rstd: f32(rstd), x: f32(x), gain: f32(gain), c: c, eps: eps}
	b.pool.Run(n, grainRows(c), &b.tasks.rmsNorm)
	return nil
}

type rmsNormTask struct {
	y, rstd, x, gain []float32
	c                int
	eps              float32
}

func (t *rmsNormTask) Do(lo, hi int) {
	for r := lo; r < hi; r++ {
		t.rstd[r] = vec.RMSNorm(t.y[r*t.c:][:t.c], t.x[r*t.c:][:t.c], t.gain, t.eps)
	}
}

// RMSNormBackward implements backend.Norm. The gradient of the gain is split by column, so that each element is
// one sum in row order.
func (b *Backend) RMSNormBackward(dx, dgain, dy, x, gain, rstd *tensor.Dense, accumulate bool) error {
	n, c, err := check.RMSNormBackward(b, dx, dgain, dy, x, gain, rstd, accumulate)
	if err != nil {
		return err
	}
	b.tasks.gainGrad = gainGradTask{dgain: f32(dgain), dy: f32(dy), x: f32(x), rstd: f32(rstd), n: n, c: c}
	b.pool.Run(c, b.grainCols(c), &b.tasks.gainGrad)
	b.tasks.rmsNormBack = rmsNormBackTask{
		dx: f32(dx), dy: f32(dy), x: f32(x), gain: f32(gain), rstd: f32(rstd), c: c, add: b.rowsIf(accumulate),
	}
	b.pool.Run(n, grainRows(c), &b.tasks.rmsNormBack)
	return nil
}

type rmsNormBackTask struct {
	dx, dy, x, gain, rstd []float32
	c                     int
	add                   *scratch // where dx is added to, rows to compute what is added in
}

func (t *rmsNormBackTask) Do(lo, hi int) {
	row := t.add.get(t.c)
	for r := lo; r < hi; r++ {
		dx := t.dx[r*t.c:][:t.c]
		to := dx
		if row != nil {
			to = row
		}
		vec.RMSNormBackward(to, nil, t.dy[r*t.c:][:t.c], t.x[r*t.c:][:t.c], t.gain, t.rstd[r])
		if row != nil {
			vec.Add(dx, dx, row)
		}
	}
	t.add.put(row)
}

// gainGradTask adds the gradients of gain and bias for a range of columns.
type gainGradTask struct {
	dgain, dbias, dy, x, mean, rstd []float32 // dbias and mean are nil with RMSNorm
	n, c                            int
}

func (t *gainGradTask) Do(lo, hi int) {
	dgain := t.dgain[lo:hi]
	for r := range t.n {
		dy, x := t.dy[r*t.c+lo:r*t.c+hi], t.x[r*t.c+lo:r*t.c+hi]
		mean := float32(0)
		if t.mean != nil {
			mean = t.mean[r]
		}
		vec.NormGainBackward(dgain, dy, x, mean, t.rstd[r])
		if t.dbias != nil {
			vec.Add(t.dbias[lo:hi], t.dbias[lo:hi], dy)
		}
	}
}

// LayerNorm implements backend.Norm.
func (b *Backend) LayerNorm(y, mean, rstd, x, gain, bias *tensor.Dense, eps float32) error {
	n, c, err := check.LayerNorm(b, y, mean, rstd, x, gain, bias)
	if err != nil {
		return err
	}
	b.tasks.layerNorm = layerNormTask{
		y: f32(y), mean: f32(mean), rstd: f32(rstd), x: f32(x), gain: f32(gain), bias: f32(bias), c: c, eps: eps,
	}
	b.pool.Run(n, grainRows(c), &b.tasks.layerNorm)
	return nil
}

type layerNormTask struct {
	y, mean, rstd, x, gain, bias []float32
	c                            int
	eps                          float32
}

func (t *layerNormTask) Do(lo, hi int) {
	for r := lo; r < hi; r++ {
		t.mean[r], t.rstd[r] = vec.LayerNorm(t.y[r*t.c:][:t.c], t.x[r*t.c:][:t.c], t.gain, t.bias, t.eps)
	}
}

// LayerNormBackward implements backend.Norm.
func (b *Backend) LayerNormBackward(dx, dgain, dbias, dy, x, gain, mean, rstd *tensor.Dense, accumulate bool) error {
	n, c, err := check.LayerNormBackward(b, dx, dgain, dbias, dy, x, gain, mean, rstd, accumulate)
	if err != nil {
		return err
	}
	b.tasks.gainGrad = gainGradTask{
		dgain: f32(dgain), dbias: f32(dbias), dy: f32(dy), x: f32(x), mean: f32(mean), rstd: f32(rstd), n: n, c: c,
	}
	b.pool.Run(c, b.grainCols(c), &b.tasks.gainGrad)
	b.tasks.layerNormBack = layerNormBackTask{
		dx: f32(dx), dy: f32(dy), x: f32(x), gain: f32(gain), mean: f32(mean), rstd: f32(rstd), c: c, add: b.rowsIf(accumulate),
	}
	b.pool.Run(n, grainRows(c), &b.tasks.layerNormBack)
	return nil
}

type layerNormBackTask struct {
	dx, dy, x, gain, mean, rstd []float32
	c                           int
	add                         *scratch // as in rmsNormBackTask
}

func (t *layerNormBackTask) Do(lo, hi int) {
	row := t.add.get(t.c)
	for r := lo; r < hi; r++ {
		dx := t.dx[r*t.c:][:t.c]
		to := dx
		if row != nil {
			to = row
		}
		vec.LayerNormBackward(to, nil, nil, t.dy[r*t.c:][:t.c], t.x[r*t.c:][:t.c], t.gain, t.mean[r], t.rstd[r])
		if row != nil {
			vec.Add(dx, dx, row)
		}
	}
	t.add.put(row)
}

// rowsIf gives the scratch of a pass that adds to its result, else nil, which lends nothing.
func (b *Backend) rowsIf(accumulate bool) *scratch {
	if accumulate {
		return &b.scratch
	}
	return nil
}
