//go:build !purego

package peak

import "mito/kernels/isa"

// fmaF32NEON does 12 independent fused multiply-adds of 4 float32 lanes, all operands x, n > 0 times.
func fmaF32NEON(n int, x float32)

// macQS8NEON does 2 independent steps of 16 INT8 products (SMULL, SMULL2, SADALP), n > 0 times.
func macQS8NEON(n int)

// macQS8SDOT does 8 independent SDOT of 16 INT8 products, n > 0 times.
func macQS8SDOT(n int)

// readNEON reads n bytes at p once; n is a positive multiple of 128.
//
//go:noescape
func readNEON(p *byte, n int)

func variants() []isa.Impl[loops] {
	neon := loops{
		fma: fmaF32NEON, fmaFlops: 2 * 12 * 4,
		mac: macQS8NEON, macs: 2 * 16,
		read: readNEON, readBlock: 128,
	}
	sdot := neon
	sdot.mac, sdot.macs = macQS8SDOT, 8*16
	return []isa.Impl[loops]{{Name: isa.NEON, Funcs: neon}, {Name: isa.NEONSDOT, Funcs: sdot}}
}
