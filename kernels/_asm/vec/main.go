// Command vec generates the amd64 forms of the kernels that package vecops describes.
package main

import (
	. "github.com/mmcloughlin/avo/build"

	"mito/kernels/_asm/asm"
	"mito/kernels/_asm/vecops"
)

func main() {
	asm.Begin()
	light, heavy := vecops.Sums()
	for _, t := range []*target{avx2, avx512} {
		for _, k := range append(vecops.Maps(), heavy...) {
			generate(t, &k)
		}
	}
	for _, k := range light {
		generate(avx2, &k)
	}
	reductions(avx2)
	quantizeAVX2()
	dequantizeAVX2()
	quantizeAVX512()
	dequantizeAVX512()
	Generate()
}

// generate emits a kernel.
func generate(t *target, d *vecops.Kernel) {
	slices := d.Slices()
	result := ""
	if d.Sums {
		result = " float32"
	}
	k := begin(t, d.Name, "func("+d.Params+")"+result, slices[0], d.Equals, slices...)
	var s []vecops.V
	for _, p := range d.Scalars {
		s = append(s, k.scalar(p))
	}
	if d.Coefs > 0 {
		s = k.coefficients(d.Coefs)
	}
	var lanes V
	if d.Sums {
		lanes = avx2.zero() // eight in every variant
	}
	// AVX2 has 16 registers, and avo would take those of AVX-512 for more: then inputs are read where they are used.
	crowded := !t.wide() && len(d.In)+len(d.Scalars) > 6
	if d.Long {
		k.pairs(func() {
			m := pair{t}
			var in []vecops.V
			for _, p := range d.In {
				if crowded {
					in = append(in, both{k.atNext(p, 0), k.atNext(p, 1)})
					continue
				}
				in = append(in, both{k.loadAt(p, 0), k.loadAt(p, 1)})
			}
			out, sum := d.Body(m, in, s)
			for i, v := range out {
				for h := range 2 {
					VMOVUPS(t.reg(half(v, h)), k.atNext(d.Out[i], h))
				}
			}
			for h := range 2 {
				if d.Sums {
					k.accumulate(t.reg(half(sum, h)), lanes)
				}
			}
		})
	}
	k.each(func() {
		var in []vecops.V
		for _, p := range d.In {
			in = append(in, k.load(p))
		}
		out, sum := d.Body(t, in, s)
		for i, v := range out {
			k.store(t.reg(v), d.Out[i])
		}
		if d.Sums {
			k.accumulate(t.reg(sum), lanes)
		}
	})
	if d.Sums {
		k.total(lanes)
		return
	}
	asm.Ret()
}
