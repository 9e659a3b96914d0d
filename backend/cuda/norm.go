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
	return b.normBackward("RMSNormBackward", at(dx), at(dgain), 0, at(dy), at(x), at(gain), 0, at(rstd), n, c)
}

// LayerNormBackward implements backend.Norm.
func (b *Backend) LayerNormBackward(dx, dgain, dbias, dy, x, gain, mean, rstd *tensor.Dense) error {
	n, c, err := check.LayerNormBackward(b, dx, dgain, dbias, dy, x, gain, mean, rstd)
	if err != nil {
		return err
	}
	return b.normBackward("LayerNormBackward", at(dx), at(dgain), at(dbias), at(dy), at(x), at(gain), at(mean), at(rstd), n, c)
}

// normBackward leaves the sums of each block of rows in the workspace and adds them up. mean 0 selects RMSNorm.
func (b *Backend) normBackward(op string, dx, dgain, dbias, dy, x, gain, mean, rstd cudax.Address, n, c int) error {
	width := c
	if mean != 0 {
		width = 2 * c
	}
	// A warp keeps its sums in shared memory: as many warps as fit the 48 KiB that let several blocks share a processor.
	warps := max(1, min(8, (48<<10)/(4*width)))
	each, blocks := b.share(n, 4*warps, width)
	partial, err := b.work.take(op, int64(blocks)*int64(width)*4)
	if err != nil {
		return err
	}
	b.begin(op, kernels.NormBackwardF32).Ptr(dx).Ptr(partial).Ptr(dy).Ptr(x).Ptr(gain).Ptr(mean).Ptr(rstd).
		I32(n).I32(c).I32(each)
	b.task.shared = warps * width * 4
	if err := b.run(line(blocks), line(32*warps)); err != nil {
		return fmt.Errorf("rows of %d: %w", c, err)
	}
	if err := b.addPartials(op, dgain, partial, blocks, c, width); err != nil || dbias == 0 {
		return err
	}
	return b.addPartials(op, dbias, partial+cudax.Address(4*c), blocks, c, width)
}
