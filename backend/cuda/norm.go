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

// Bits of what a norm's kernel is told of its tensors: which are of bfloat16. Those of norm.cu.
const (
	normResult   = 1 << iota // y, dx
	normInput                // x
	normGradient             // dy
)

func (b *Backend) rmsNorm(op string, y, rstd, x, gain cudax.Address, eps float32, n, c, types int) error {
	b.begin(op, kernels.RMSNormF32).Ptr(y).Ptr(rstd).Ptr(x).Ptr(gain).F32(eps).I32(n).I32(c).I32(types)
	return b.run(line(ceil(n, normRows)), line(normThreads))
}

func (b *Backend) layerNorm(op string, y, mean, rstd, x, gain, bias cudax.Address, eps float32, n, c, types int) error {
	b.begin(op, kernels.LayerNormF32).Ptr(y).Ptr(mean).Ptr(rstd).Ptr(x).Ptr(gain).Ptr(bias).F32(eps).I32(n).I32(c).I32(types)
	return b.run(line(ceil(n, normRows)), line(normThreads))
}

// RMSNorm implements backend.Norm.
func (b *Backend) RMSNorm(y, rstd, x, gain *tensor.Dense, eps float32) error {
	n, c, err := check.RMSNorm(b, y, rstd, x, gain)
	if err != nil {
		return err
	}
	return b.rmsNorm("RMSNorm", at(y), at(rstd), at(x), at(gain), eps, n, c, flags(half(y), half(x)))
}

// LayerNorm implements backend.Norm.
func (b *Backend) LayerNorm(y, mean, rstd, x, gain, bias *tensor.Dense, eps float32) error {
	n, c, err := check.LayerNorm(b, y, mean, rstd, x, gain, bias)
	if err != nil {
		return err
	}
	return b.layerNorm("LayerNorm", at(y), at(mean), at(rstd), at(x), at(gain), at(bias), eps, n, c, flags(half(y), half(x)))
}

// RMSNormBackward implements backend.Norm.
func (b *Backend) RMSNormBackward(dx, dgain, dy, x, gain, rstd *tensor.Dense, accumulate bool) error {
	n, c, err := check.RMSNormBackward(b, dx, dgain, dy, x, gain, rstd, accumulate)
	if err != nil {
		return err
	}
	return b.normBackward("RMSNormBackward", normGrads{dx: dx, dgain: dgain, dy: dy, x: x, gain: gain, rstd: rstd}, n, c, accumulate)
}

// LayerNormBackward implements backend.Norm.
func (b *Backend) LayerNormBackward(dx, dgain, dbias, dy, x, gain, mean, rstd *tensor.Dense, accumulate bool) error {
	n, c, err := check.LayerNormBackward(b, dx, dgain, dbias, dy, x, gain, mean, rstd, accumulate)
	if err != nil {
		return err
	}
	return b.normBackward("LayerNormBackward",
		normGrads{dx: dx, dgain: dgain, dbias: dbias, dy: dy, x: x, gain: gain, mean: mean, rstd: rstd}, n, c, accumulate)
}

// normGrads are the tensors of the backward pass of a norm; mean nil means RMSNorm.
type normGrads struct{ dx, dgain, dbias, dy, x, gain, mean, rstd *tensor.Dense }

// normBackward leaves the sums of each block of rows in the workspace and adds them up.
func (b *Backend) normBackward(op string, g normGrads, n, c int, accumulate bool) error {
	width := c
	if g.mean != nil {
		width = 2 * c
	}
	// A warp keeps its sums in shared memory: as many warps as fit the 48 KiB that let several blocks share a processor.
	warps := max(1, min(8, (48<<10)/(4*width)))
	each, blocks := b.share(n, 4*warps, width)
	partial, err := b.work.take(op, int64(blocks)*int64(width)*4)
	if err != nil {
		return err
	}
	b.begin(op, kernels.NormBackwardF32).Ptr(at(g.dx)).Ptr(partial).Ptr(at(g.dy)).Ptr(at(g.x)).Ptr(at(g.gain)).Ptr(at(g.mean)).
		Ptr(at(g.rstd)).I32(n).I32(c).I32(each).I32(flag(accumulate)).I32(flags(half(g.dx), half(g.x), half(g.dy)))
	b.task.shared = warps * width * 4
	if err := b.run(line(blocks), line(32*warps)); err != nil {
		return fmt.Errorf("rows of %d: %w", c, err)
	}
	if err := b.addPartials(op, at(g.dgain), partial, blocks, c, width); err != nil || g.dbias == nil {
		return err
	}
	return b.addPartials(op, at(g.dbias), partial+cudax.Address(4*c), blocks, c, width)
}
