package student

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"math"

	"mito/engine/arch"
	"mito/kernels/edge"
	"mito/kernels/kv"
	"mito/kernels/vec"
)

// vectors hashes what the functions of SPEC.md make of its generator's numbers, among them those that logits over a stream would
// rarely show to be wrong: quotients next to a half, scores large and close together.
type vectors struct {
	m      *Model
	random generator
	h      hash.Hash
	boot   bool // for the self-test of devices: rows are hashed before they are quantised, too, and more activations
	err    error
}

// digestPositions is how many positions the functions of the digest have at most.
const digestPositions = 32

// functions is the first part of the digest.
func (m *Model) functions() ([sha256.Size]byte, error) {
	h := sha256.New()
	err := m.hashFunctions(h, false)
	return [sha256.Size]byte(h.Sum(nil)), err
}

// hashFunctions hashes what the functions give, for the digest or for the self-test of devices.
func (m *Model) hashFunctions(h hash.Hash, boot bool) error {
	v := vectors{m: m, random: 1, h: h, boot: boot}
	v.quantize()
	v.norms()
	v.activation()
	positions := digestPositions
	if boot {
		positions = bootPositions
	}
	positions = min(positions, m.cfg.Context)
	for i := range m.layers {
		if window := m.layers[i].shape.Window; window > 0 {
			positions = min(positions, window)
		}
	}
	if m.rotary != nil {
		v.rope(positions)
	}
	v.attention(positions)
	return v.err
}

// float hashes a number, -0 as +0.
func (v *vectors) float(x float32) {
	if !finite(x) && v.err == nil {
		v.err = fmt.Errorf("student: digest: a function gave %v: %w", x, ErrNotFinite)
	}
	v.h.Write(binary.LittleEndian.AppendUint32(nil, math.Float32bits(x+0)))
}

// row hashes a row x that became q.
func (v *vectors) row(x []float32, q []int8, scale float32) {
	if v.boot {
		for _, y := range x {
			v.float(y)
		}
	}
	bytes := make([]byte, len(q))
	for i, x := range q {
		bytes[i] = byte(x)
	}
	v.h.Write(bytes)
	v.float(scale)
}

// quantized hashes x when it is quantised.
func (v *vectors) quantized(x []float32) {
	q := make([]int8, len(x))
	v.row(x, q, vec.QuantizeRow(q, x))
}

// units fills a row with numbers in [-factor,factor).
func (v *vectors) units(x []float32, factor float32) []float32 {
	for i := range x {
		x[i] = v.random.unit() * factor
	}
	return x
}

func power(n int) float32 { return float32(math.Ldexp(1, n)) }

func (v *vectors) quantize() {
	for j := range 24 {
		x := make([]float32, 32)
		a := (v.random.unit() + 3) * power(4*j-64)
		x[0] = -a
		for i := 1; i < len(x); i++ {
			k := v.random.next() % 127
			x[i] = float32(float32(2*k+1)*a) / 254
			if v.random.next()&1 == 1 {
				x[i] = -x[i]
			}
		}
		v.quantized(x)
	}
}

func (v *vectors) norms() {
	c, rows := &v.m.cfg, 8
	if v.boot {
		rows = bootRows
	}
	h, q := make([]float32, c.HiddenSize), make([]int8, c.HiddenSize)
	for j := range rows {
		x := v.units(make([]float32, c.HiddenSize), power(j%8*4-16))
		if c.Norm == arch.NormRMS {
			scale := edge.RMSNormQuantize(q, h, x, v.m.norm, c.NormEps)
			vec.RMSNorm(h, x, v.m.norm, c.NormEps)
			v.row(h, q, scale)
			continue
		}
		vec.LayerNorm(h, x, v.m.norm, v.m.normBias, c.NormEps)
		v.quantized(h)
	}
	if gain := v.m.layers[0].queryNorm; gain != nil {
		for j := range rows {
			x := v.units(make([]float32, c.HeadDim), power(j%8*4-16))
			vec.RMSNorm(x, x, gain, c.NormEps)
			v.quantized(x)
		}
	}
}

func (v *vectors) activation() {
	n := 16
	if v.boot {
		n = bootActivations
	}
	for j := range 8 {
		x, g := make([]float32, n), make([]float32, n)
		for i := range x {
			x[i] = v.random.unit() * power(j)
			if v.m.cfg.Activation == arch.ActSwiGLU {
				x[i], g[i] = v.random.unit(), x[i]
			}
		}
		switch v.m.cfg.Activation {
		case arch.ActReLU:
			vec.ReLU(x, x)
		case arch.ActReLU2:
			vec.ReLU2(x, x)
		case arch.ActGELU:
			vec.GELU(x, x)
		case arch.ActSwiGLU:
			vec.SwiGLU(x, g, x)
		}
		for _, y := range x {
			v.float(y)
		}
	}
}

func (v *vectors) rope(positions int) {
	d := v.m.cfg.HeadDim
	cos, sin := v.m.rotary.UpTo(positions)
	for p := range positions {
		x := v.units(make([]float32, d), 1)
		edge.RoPEHeads(x, d, cos[p*d/2:][:d/2], sin[p*d/2:][:d/2])
		v.quantized(x)
	}
}

func (v *vectors) attention(positions int) {
	d := v.m.cfg.HeadDim
	s := kv.Shape{Heads: 1, KVHeads: 1, HeadDim: d, PageSize: v.m.page, Scale: v.m.layers[0].shape.Scale}
	pages := kv.NewPagesQS8((positions+s.PageSize-1)/s.PageSize, &s)
	table := make([]int32, len(pages))
	for i := range table {
		table[i] = int32(i)
	}
	scratch := kv.NewScratchQS8(&s, positions)
	q, k, val, out := make([]float32, d), make([]float32, d), make([]float32, d), make([]float32, d)
	for run := range 3 {
		var base []float32
		if run == 2 {
			base = v.units(make([]float32, d), 1)
		}
		for p := range positions {
			switch run {
			case 0, 1:
				v.units(q, []float32{1, 32}[run])
				v.units(k, 1)
				v.units(val, power(-(p % 4)))
			default:
				v.units(q, 1)
				v.units(k, power(-6))
				v.units(val, 1)
				for i, b := range base {
					q[i] += float32(b * 64)
					k[i] += b
				}
			}
			s.StoreQS8(&pages[p/s.PageSize], p%s.PageSize, k, val, scratch)
			s.AttendQS8(out, q, pages, table, p, scratch)
			v.quantized(out)
		}
	}
}
