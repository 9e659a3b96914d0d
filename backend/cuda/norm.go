package cuda

import (
	"fmt"

	"gorgonia.org/tensor"

	"mito/backend/cuda/cudax"
	"mito/backend/internal/check"
	kernels "mito/kernels/cuda"
)

const (
	normThreads = 256
	normRows    = normThreads / 8 // of a block of a forward pass: eight threads share a row
)

func (b *Backend) rmsNorm(op string, y, rstd, x, gain cudax.Address, eps float32, n, c int) error {
	b.begin(op, kernels.RMSNormF32).Ptr(y).Ptr(rstd).Ptr(x).Ptr(gain).F32(eps).I32(n).I32(c)
	return b.run(line(ceil(n, normRows)), line(normThreads))
}

func (b *Backend) layerNorm(op string, y, mean, rstd, x, gain, bias cudax.Address, eps float32, n, c int) error {
	b.begin(op, kernels.LayerNormF32).Ptr(y).Ptr(mean).Ptr(rstd).Ptr(x).Ptr(gain).Ptr(bias).F32(eps).I32(n).I32(c)
	return b.run(line(ceil(n, normRows)), line(normThreads))
}

// RMSNorm implements backend.Norm.
func (b *Backend) RMSNorm(y, rstd, x, gain *tensor.Dense, eps float32) error {
	n, c, err := check.RMSNorm(b, y, rstd, x, gain)
	if err != nil {
		return err
	}
	return b.rmsNorm("RMSNorm", at(y), at(rstd), at(x), at(gain), eps, n, c)
}

// LayerNorm implements backend.Norm.
func (b *Backend) LayerNorm(y, mean, rstd, x, gain, bias *tensor.Dense, eps float32) error {
	n, c, err := check.LayerNorm(b, y, mean, rstd, x, gain, bias)
	if err != nil {
		return err
	}
	return b.layerNorm("LayerNorm", at(y), at(mean), at(rstd), at(x), at(gain), at(bias), eps, n, c)
}

// RMSNormBackward implements backend.Norm.
func (b *Backend) RMSNormBackward(dx, dgain, dy, x, gain, rstd *tensor.Dense) error {
	n, c, err := check.RMSNormBackward(b, dx, dgain, dy, x, gain, rstd)
	if err != nil {
		return err
	}
	return b.normBackward(pendingNorm{
		op: "RMSNormBackward", dx: at(dx), dgain: at(dgain), dy: at(dy), x: at(x), gain: at(gain), rstd: at(rstd), n: n, c: c,
	})
}

// LayerNormBackward implements backend.Norm.
func (b *Backend) LayerNormBackward(dx, dgain, dbias, dy, x, gain, mean, rstd *tensor.Dense) error {
	n, c, err := check.LayerNormBackward(b, dx, dgain, dbias, dy, x, gain, mean, rstd)
	if err != nil {
		return err
	}
	return b.normBackward(pendingNorm{
		op: "LayerNormBackward", dx: at(dx), dgain: at(dgain), dbias: at(dbias), dy: at(dy), x: at(x), gain: at(gain), mean: at(mean),
		rstd: at(rstd), n: n, c: c,
	})
}

// pendingNorm is the backward pass of a norm, which may be held back for an addition sum = other + dx.
type pendingNorm struct {
	set                                       bool
	op                                        string
	dx, dgain, dbias, dy, x, gain, mean, rstd cudax.Address
	sum, other                                cudax.Address
	n, c                                      int
}

// normBackward sends a backward pass, or holds it back for the addition that may follow. mean 0 selects RMSNorm.
func (b *Backend) normBackward(p pendingNorm) error {
	if err := b.flush(); err != nil {
		return err
	}
	if p.mean != 0 || f32*p.c > b.card.maxShared || b.queue.err() != nil || b.closed {
		return b.sendNorm(&p)
	}
	b.norm = p
	b.norm.set = true
	return nil
}

// sendNorm leaves the sums of each block of rows in the workspace and adds them up.
func (b *Backend) sendNorm(p *pendingNorm) error {
	width := p.c
	if p.mean != 0 {
		width = 2 * p.c
	}
	// A warp keeps its sums in shared memory: as many warps as fit the 48 KiB that let several blocks share a processor.
	warps := max(1, min(8, (48<<10)/(4*width)))
	each, blocks := b.share(p.n, 4*warps, width)
	partial, err := b.work.take(p.op, int64(blocks)*int64(width)*4)
	if err != nil {
		return err
	}
	b.begin(p.op, kernels.NormBackwardF32).Ptr(p.dx).Ptr(partial).Ptr(p.dy).Ptr(p.x).Ptr(p.gain).Ptr(p.mean).Ptr(p.rstd).
		I32(p.n).I32(p.c).I32(each).Ptr(p.sum).Ptr(p.other)
	b.task.shared = warps * width * 4
	if err := b.run(line(blocks), line(32*warps)); err != nil {
		return fmt.Errorf("rows of %d: %w", p.c, err)
	}
	if err := b.addPartials(p.op, p.dgain, partial, blocks, p.c, width); err != nil || p.dbias == 0 {
		return err
	}
	return b.addPartials(p.op, p.dbias, partial+cudax.Address(4*p.c), blocks, p.c, width)
}
