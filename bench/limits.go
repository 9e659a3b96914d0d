package bench

import (
	"sync"

	"mito/kernels/peak"
)

// Names of limits.
const (
	limitFMA  = "FMA in registers"
	limitMAC  = "INT8 MAC in registers"
	limitRead = "reading the weights"
	limitL1   = "reading the first cache"
)

// measured is the variant of the measuring loops, which follows the level of the run.
func measured() string { return kernels("peak").Variant() }

// fmaLimit is the GFLOP/s of float32 fused multiply-adds, all threads at once.
func fmaLimit(threads int) rate {
	return func() (float64, error) {
		v := measured()
		rates, errs := make([]float64, threads), make([]error, threads)
		var wg sync.WaitGroup
		for i := range threads {
			wg.Go(func() { rates[i], errs[i] = peak.FMA(v) })
		}
		wg.Wait()
		sum := 0.0
		for i, r := range rates {
			if errs[i] != nil {
				return 0, errs[i]
			}
			sum += r
		}
		return sum, nil
	}
}

// macLimit is the GMAC/s of a variant on one thread.
func macLimit(variant string) rate {
	return func() (float64, error) { return peak.MAC(variant) }
}

// readLimit is how often a second one thread reads so many bytes, times amount. It takes the fastest loop of those that
// the level of the run allows: the widest loads are not always the fastest.
func readLimit(bytes int, amount float64) rate {
	return func() (float64, error) {
		best, last := 0.0, measured()
		for _, v := range peak.Variants() {
			gbs, err := peak.Read(v, bytes)
			if err != nil {
				return 0, err
			}
			best = max(best, gbs)
			if v == last {
				break
			}
		}
		return best * 1e9 / float64(bytes) * amount, nil
	}
}

// gbs is the GB/s of one thread that reads so many bytes again and again.
func gbs(bytes int) rate { return readLimit(bytes, float64(bytes)/1e9) }
