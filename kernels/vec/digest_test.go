package vec

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math"
	"math/rand/v2"
	"testing"

	"mito/kernels/kerneltest"
)

// The arithmetic of every kernel, pinned: any processor, compiler and variant must reach this. A change of it changes what
// shipped students compute.
const statedDigest = "4ab8e745b9f7dff9ffd9c793d96e14ee0e95353420e49a939b676c85e75e26b8"

func TestStatedDigest(t *testing.T) {
	// Integers scaled by powers of two are exact everywhere, unlike normal deviates, which need a logarithm.
	number := func(r *rand.Rand) float32 {
		return float32(int32(r.Uint32()>>8)-1<<23) * float32(math.Ldexp(1, -19-r.IntN(8)))
	}
	kerneltest.Variants(t, dispatcher, func(t *testing.T) {
		r := rand.New(rand.NewPCG(3, 4))
		h := sha256.New()
		put := func(x float32) {
			b := math.Float32bits(x)
			if x != x {
				b = 0x7fc00000
			}
			var w [4]byte
			binary.LittleEndian.PutUint32(w[:], b)
			h.Write(w[:])
		}
		for _, n := range []int{1, 5, 24, 64, 99, 384, 600} {
			for _, k := range kernels {
				o := plainOperands(n)
				o.fill(r, number)
				a, b := k.run(o)
				put(a)
				put(b)
				for _, s := range o.f {
					for _, x := range s {
						put(x)
					}
				}
				for _, q := range o.q {
					h.Write([]byte{byte(q)})
				}
			}
		}
		if got := hex.EncodeToString(h.Sum(nil)); got != statedDigest {
			t.Errorf("digest %s, want %s", got, statedDigest)
		}
	})
}

func plainOperands(n int) *operands {
	o := operands{q: make([]int8, n), acc: make([]int32, n)}
	for i := range o.f {
		o.f[i] = make([]float32, n)
	}
	return &o
}
