package backendtest

import (
	"maps"
	"math"
	"slices"
	"testing"

	"mito/backend/backendtest/bf16"
	"mito/kernels/kerneltest"
)

// Options says what the backend under test promises beyond the seam.
type Options struct {
	// FactorEps is the unit roundoff of the factors of matrix products and attention: 2^-8 for bfloat16. Zero
	// means that they are not rounded.
	FactorEps float64
	// Bitwise: rows computed in pieces have the bits of one call (the CPU backend).
	Bitwise bool
	// ChecksValues: ids, positions, block indices and weights of -128 are refused by the operation (backends whose
	// memory the host can read).
	ChecksValues bool
}

// tolerance bounds the error of element i of a result by
//
//	c·eps·max(|want|, size(i)) + f·FactorEps·factors(i)
//
// c counts the roundings behind an element, each at most one eps of a number of the stated size. size nil is the root
// mean square of the tensor, below which an element lies by cancellation or by chance; factors nil is max(|want|, size).
type tolerance struct {
	c       float64
	size    func(i int) float64
	f       float64
	factors func(i int) float64
}

// signed is the c of a sum of terms of random sign, added one after another; its size is the sum of the absolute terms.
// Rounding errors walk at random along partial sums that do so too: for products of normal numbers four standard
// deviations of n roundings are 4·eps·n/√6 = 2.6·eps·Σ|term|, whatever n is. The partial sums of one element in ten thousand
// go twice as far.
const signed = 2 * 2.6

// chain is the c of a sum of n terms of one sign and like size, added one after another: four standard deviations of roundings
// that are uniform in ±eps of partial sums j/n, so 4·√(Σj²/3)/n = 4·√n/3. The sums of rows have eight lanes.
func chain(n int) float64 { return 4 * math.Sqrt(float64(n)) / 3 }

// lanes is the number in which sums over a row are kept at least; chain of what one of them adds and of the lanes.
func lanes(n int) float64 { return chain((n+7)/8) + 1 }

// limit is the tolerance of each element of want.
func (t tolerance) limit(o Options, want []float64) func(i int) float64 {
	size := t.size
	if size == nil {
		size = even(rms(want))
	}
	return func(i int) float64 {
		s := math.Max(math.Abs(want[i]), size(i))
		limit := t.c * kerneltest.Eps * s
		if t.f > 0 && o.FactorEps > 0 {
			if t.factors != nil {
				s = t.factors(i)
			}
			limit += t.f * o.FactorEps * s
		}
		return limit
	}
}

// stored is the tolerance of a result that is rounded to bfloat16 when it is stored, once: half a unit in the last of its eight
// bits, 2^-8 of the number, on top of what the number before that may be off by.
func stored(limit func(i int) float64, want []float64) func(i int) float64 {
	return func(i int) float64 { return limit(i) + bf16.Eps*(math.Abs(want[i])+limit(i)) }
}

func rms(x []float64) float64 {
	s := 0.0
	for _, v := range x {
		s += v * v
	}
	return math.Sqrt(s / float64(max(len(x), 1)))
}

// even is the size of every element; even(0) makes a tolerance relative to the element.
func even(v float64) func(int) float64 { return func(int) float64 { return v } }

// at is the size of each element by itself.
func at(v []float64) func(int) float64 { return func(i int) float64 { return v[i] } }

// slack is how far a tolerance may lie above the largest error that is measured anywhere.
const slack = 10

// meter keeps, for every output of every operation, the largest error in parts of its tolerance.
type meter struct {
	worst map[string]float64
	cases int
}

func (m *meter) add(op string, x out, got []float32, limit func(int) float64) {
	name := op + "/" + x.name
	worst := m.worst[name]
	for i, g := range got {
		if d := math.Abs(float64(g) - x.want[i]); d > 0 {
			worst = math.Max(worst, d/limit(i))
		}
	}
	m.worst[name] = worst
}

// check refuses tolerances that no error comes near: a defect could hide in them.
func (m *meter) check(t *testing.T) {
	for _, name := range slices.Sorted(maps.Keys(m.worst)) {
		t.Logf("%-26s largest error %.3f of its tolerance", name, m.worst[name])
	}
	for _, name := range m.loose() {
		t.Errorf("%s: the tolerance is %.3g times the largest error, allowed %d", name, 1/m.worst[name], slack)
	}
}

// loose names the outputs whose tolerance is too wide.
func (m *meter) loose() (names []string) {
	for _, name := range slices.Sorted(maps.Keys(m.worst)) {
		if m.worst[name] < 1.0/slack {
			names = append(names, name)
		}
	}
	return names
}
