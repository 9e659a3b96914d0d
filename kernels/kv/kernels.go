package kv

import (
	"math"

	"mito/kernels/isa"
)

//go:generate go run -C ../_asm ./kv -out ../kv/kv_amd64.s -stubs ../kv/stubs_amd64.go -pkg kv

// funcs are the inner loops of AttendQS8, per head and page. All integers are exact and the float operations are
// rounded one by one, so that variants have the same bits.
type funcs struct {
	// scores sets dst[i] = int(float32(Σ_d k[i,d]·q[d])·float32(ks[i]·c)) for 16·blocks positions, beyond where that is not below
	// 2^29. k [blocks][D/4][16][4]; q is padded with zeros to whole groups of 4.
	scores func(dst []int32, k []int8, ks []float32, q []int8, c float32, blocks int)
	// weights sets w[i] = mulr(Pow2(best-y[i]), int(vs[i]·unit)) and returns the sum of the powers.
	weights func(w []int16, y []int32, best int32, vs []float32, unit float32) (sum int64)
	// weigh adds Σ_i w[i]·v[i,d] to acc[d] for 16·blocks positions. v [blocks][8][len(acc)][2]; len(acc) is a multiple of 16.
	weigh func(acc []int32, w []int16, v []int8, blocks int)
	// attend computes all heads at once where D is a multiple of 8 and PageSize one of 16; nil for none. It returns false,
	// perhaps with part of out written, when all values are zero or something is not finite.
	attend func(a *attendQS8) bool
	// store quantises keys and values of a token where D is a multiple of 8; nil for none. It returns false, perhaps with
	// part written, when a scale is not finite.
	store func(k, v *float32, kp, vp *int8, ks, vs *float32, heads, dim, kStep, vStep, sStep, odd int) bool
}

// attendQS8 is what a kernel for all heads needs. The kernels know the offsets of its fields.
type attendQS8 struct {
	q, out                *float32
	pages                 *PageQS8
	table                 *int32 // of the page that holds block first/16
	places                *headPlace
	first, last           int // positions
	blocks                int // from that of first to that of last
	fromBlock, pageBlocks int // place of the first block in its page; blocks of a page
	heads                 int
	groups, dim, padDim   int
	factor                float32
	shift                 int32      // valueShift
	q8                    *int8      // [H][D]
	state                 *headState // [H]
	records               *byte      // [H][blocks] records
	recordStep            int        // bytes of a head's records
	head                  int        // the kernel's own
}

// headPlace says where the data of a query head's key/value head begin in the slices of a page, in bytes.
type headPlace struct{ k, v, scale int }

// headState holds a head's scalars between the phases of a kernel.
type headState [8]float32

// recordBytes is the size of the scores, value scales and weights of a block of 16 positions.
const recordBytes = 192

var kernels = isa.New("attn decode", append([]isa.Impl[funcs]{{Name: isa.Generic, Funcs: generic}}, variants()...)...)

var generic = funcs{scores: scoresQS8Generic, weights: weightsQS8Generic, weigh: weighQS8Generic}

// Variants returns the names of the decode variants that this processor can run, slowest first.
func Variants() []string { return kernels.Variants() }

// Variant returns the name of the chosen decode variant.
func Variant() string { return kernels.Variant() }

// SetVariant chooses a decode variant by name. It is for tests, verification and benchmarks, and must not run while
// attention does.
func SetVariant(name string) error { return kernels.SetVariant(name) }

// beyond stands for a score that is NaN or has a magnitude of 2^29 or more: all others are above -2^29.
const beyond = math.MinInt32

// maxValueScale bounds value scales, so that units and what comes of them are numbers.
const maxValueScale = 0x1p100

// Pow2 is 32767·2^(-d/2048) for d ≥ 0, within 0.03% and half a unit, in integers.
func Pow2(d int32) int32 {
	d = min(d, 65535)
	x := d & 2047 << 4
	a := 32767 - mulr(22632-mulr(7512-mulr(1261, x), x), x)
	return (2*a>>(d>>11) + 1) >> 1
}

// mulr is the rounded product of two numbers in units of 2^-15.
func mulr(a, b int32) int32 { return (a*b + 1<<14) >> 15 }

func scoresQS8Generic(dst []int32, k []int8, ks []float32, q []int8, c float32, blocks int) {
	step := len(q) * blockPos
	for b := range blocks {
		kb := k[b*step:][:step]
		var acc [blockPos]int32
		for d := 0; d < len(q); d += groupDims {
			q0, q1, q2, q3 := int32(q[d]), int32(q[d+1]), int32(q[d+2]), int32(q[d+3])
			kg := (*[blockPos * groupDims]int8)(kb[d*blockPos:])
			for i := range acc {
				acc[i] += int32(kg[4*i])*q0 + int32(kg[4*i+1])*q1 + int32(kg[4*i+2])*q2 + int32(kg[4*i+3])*q3
			}
		}
		out := (*[blockPos]int32)(dst[b*blockPos:])
		scale := (*[blockPos]float32)(ks[b*blockPos:])
		for i, a := range acc {
			out[i] = beyond
			if y := float32(a) * float32(scale[i]*c); y > -0x1p29 && y < 0x1p29 {
				out[i] = int32(y)
			}
		}
	}
}

func weightsQS8Generic(w []int16, y []int32, best int32, vs []float32, unit float32) (sum int64) {
	y, vs = y[:len(w)], vs[:len(w)]
	for i := range w {
		e := Pow2(best - y[i])
		sum += int64(e)
		w[i] = int16(mulr(e, int32(vs[i]*unit)))
	}
	return sum
}

func weighQS8Generic(acc []int32, w []int16, v []int8, blocks int) {
	for i := 0; i < blocks*blockPos; i += 2 {
		w0, w1 := int32(w[i]), int32(w[i+1])
		if w0|w1 == 0 {
			continue
		}
		vp := v[i*len(acc):][:2*len(acc)]
		for d := range acc {
			acc[d] += w0*int32(vp[2*d]) + w1*int32(vp[2*d+1])
		}
	}
}
