package backend

import "gorgonia.org/tensor"

// Norm groups the normalisations over the last dimension.
type Norm interface {
	// RMSNorm computes y = x·rstd·gain with rstd = 1/√(mean(x²)+eps), arXiv:1910.07467.
	//
	//	y, x [N,C] act   rstd [N] f32   gain [C] f32
	RMSNorm(y, rstd, x, gain *tensor.Dense, eps float32) error
	// RMSNormBackward sets dx, or with accumulate adds to it, and adds to dgain. dx may alias dy, but not with accumulate.
	//
	//	dx, dy, x [N,C] act   dgain, gain [C] f32   rstd [N] f32
	RMSNormBackward(dx, dgain, dy, x, gain, rstd *tensor.Dense, accumulate bool) error

	// LayerNorm computes y = (x-mean)·rstd·gain + bias, arXiv:1607.06450. bias may be nil.
	//
	//	y, x [N,C] act   mean, rstd [N] f32   gain, bias [C] f32
	LayerNorm(y, mean, rstd, x, gain, bias *tensor.Dense, eps float32) error
	// LayerNormBackward sets dx, or with accumulate adds to it, and adds to dgain and, where it is not nil, dbias. dx may alias dy,
	// but not with accumulate.
	//
	//	dx, dy, x [N,C] act   dgain, dbias, gain [C] f32   mean, rstd [N] f32
	LayerNormBackward(dx, dgain, dbias, dy, x, gain, mean, rstd *tensor.Dense, accumulate bool) error
}
