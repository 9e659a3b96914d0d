package peak

import (
	"time"

	"mito/kernels/isa"
)

const (
	trials    = 9
	trialTime = 400 * time.Microsecond
)

// loops are the measuring loops of one variant.
type loops struct {
	fma       func(n int, x float32)
	fmaFlops  int // floating-point operations per iteration, a fused multiply-add counting as two
	mac       func(n int)
	macs      int // INT8 multiply-adds per iteration
	read      func(p *byte, n int)
	readBlock int // the buffer is a multiple of this
}

var dispatch = isa.New("peak", append([]isa.Impl[loops]{{Name: isa.Generic, Funcs: loops{
	fma: fmaGeneric, fmaFlops: 2 * genericChains,
	mac: macGeneric, macs: genericChains,
	read: readGeneric, readBlock: 64,
}}}, variants()...)...)

// Variants returns the variants that have loops of their own here, slowest first.
func Variants() []string { return dispatch.Variants() }

// FMA returns the GFLOP/s of float32 fused multiply-adds in the named variant on one thread (a fused multiply-add is
// two operations). It fails with isa.ErrUnknownVariant.
func FMA(variant string) (float64, error) {
	l, err := dispatch.Lookup(variant)
	if err != nil {
		return 0, err
	}
	return rate(func(n int) { l.fma(n, 1e-3) }) * float64(l.fmaFlops) / 1e9, nil
}

// MAC returns the 1e9 INT8 multiply-adds per second of the named variant on one thread. It fails with
// isa.ErrUnknownVariant.
func MAC(variant string) (float64, error) {
	l, err := dispatch.Lookup(variant)
	if err != nil {
		return 0, err
	}
	return rate(l.mac) * float64(l.macs) / 1e9, nil
}

// Read returns the GB/s (1e9 bytes per second) at which one thread reads a buffer of about the given size again and
// again, so that the buffer comes from the cache that holds it. It fails with isa.ErrUnknownVariant.
func Read(variant string, bytes int) (float64, error) {
	l, err := dispatch.Lookup(variant)
	if err != nil {
		return 0, err
	}
	bytes = max((bytes+l.readBlock/2)/l.readBlock, 1) * l.readBlock
	buf := make([]byte, bytes+64)
	for i := range buf {
		buf[i] = 1 // touched: untouched pages all map to one page of zeros
	}
	return rate(func(n int) {
		for range n {
			l.read(&buf[0], bytes)
		}
	}) * float64(bytes) / 1e9, nil
}

// rate returns how many iterations a second f does, at best.
func rate(f func(n int)) float64 {
	n := 1
	for {
		d := timed(f, n)
		if d >= trialTime {
			break
		}
		n *= 2
	}
	best := time.Duration(1<<63 - 1)
	for range trials {
		best = min(best, timed(f, n))
	}
	return float64(n) / best.Seconds()
}

func timed(f func(n int), n int) time.Duration {
	start := time.Now()
	f(n)
	return max(time.Since(start), 1)
}
