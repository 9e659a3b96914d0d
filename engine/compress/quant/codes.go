package quant

import (
	"math"

	"mito/engine/checkpoint"
)

// MaxCode and MaxGroup are those of package checkpoint, 127 and 1 of whole weights.
func MaxCode(bits int) int  { return checkpoint.MaxCode(bits) }
func MaxGroup(bits int) int { return checkpoint.MaxGroup(bits) }

// GroupSize is the number of neighbours in a row whose codes share an integer.
const GroupSize = checkpoint.CodeGroup

const groupSize = GroupSize

// grid is where the weights of a row may lie: scale·group·code, code in [-most,most].
type grid struct {
	scale  float64
	groups []int // one for each groupSize neighbours
	most   int
}

func newGrid(n, bits int) *grid {
	return &grid{groups: make([]int, (n+groupSize-1)/groupSize), most: checkpoint.MaxCode(bits)}
}

// round fills q with the INT8 weights nearest to x.
func (g *grid) round(q []int8, x []float32) {
	limit := float64(g.most)
	for i, m := range g.groups {
		q, x := q[i*groupSize:min(len(q), (i+1)*groupSize)], part(x, i)
		if m == 0 || g.scale == 0 {
			clear(q)
			continue
		}
		inv := 1 / float64(g.scale*float64(m))
		for j, v := range x {
			q[j] = int8(int(math.Round(min(limit, max(-limit, float64(v)*inv)))) * m)
		}
	}
}

// groupError is the error of rounding one group to multiples of step.
func groupError(x, weight []float32, step float64, most int) (e float64) {
	inv, limit := 1/step, float64(most)
	for i, v := range x {
		c := math.Round(min(limit, max(-limit, float64(v)*inv)))
		d := float64(v) - float64(step*c)
		d = float64(d * d)
		if weight != nil {
			d = float64(d * float64(weight[i]))
		}
		e += d
	}
	return e
}

// parts cuts a row in its groups.
func part(x []float32, g int) []float32 {
	if x == nil {
		return nil
	}
	return x[g*groupSize : min(len(x), (g+1)*groupSize)]
}

// plainGroups rounds to the smallest steps that reach the largest weight of every group; limits holds those weights.
func plainGroups(q []int8, x []float32, bits int, limits []float64) float32 {
	g := newGrid(len(x), bits)
	largest := 0.0
	for _, a := range limits {
		largest = max(largest, a)
	}
	most := checkpoint.MaxGroup(bits)
	scale := float32(largest / float64(g.most*most))
	if scale == 0 {
		clear(q)
		return 0
	}
	g.scale = float64(scale)
	for i, a := range limits {
		g.groups[i] = int(min(float64(most), math.Ceil(a/(float64(g.most)*g.scale)-1e-6)))
	}
	g.round(q, x)
	return scale
}

// magnitudes are the largest magnitudes of the groups of a row.
func magnitudes(x []float32) []float64 {
	out := make([]float64, (len(x)+groupSize-1)/groupSize)
	for i, v := range x {
		out[i/groupSize] = max(out[i/groupSize], math.Abs(float64(v)))
	}
	return out
}

// Ratios to which the search clips the largest weight of a group, in steps of 1/clipParts of it.
const (
	clipParts = 25
	clipLeast = 10 // of clipParts
)

// searchGroups finds the scale of a row and the integers of its groups that leave the smallest Σ weight[i]·(x[i] - w[i])², fills q
// with the weights and returns the scale. First every group gets the step that is best for it alone; then scales are tried
// of which some multiple comes near the widest of them, every group takes the better of the two multiples around its own step,
// and least squares refine the best.
func searchGroups(q []int8, x, weight []float32, bits int) float32 {
	scale, _ := searchGrid(q, x, weight, bits)
	return scale
}

// searchGrid is searchGroups that returns the integers of the groups too.
func searchGrid(q []int8, x, weight []float32, bits int) (float32, []int) {
	g := newGrid(len(x), bits)
	steps := make([]float64, len(g.groups))
	widest := 0.0
	for i, a := range magnitudes(x) {
		if a == 0 {
			continue
		}
		least := math.Inf(1)
		for k := clipParts; k >= clipLeast; k-- {
			step := a * float64(k) / clipParts / float64(g.most)
			if e := groupError(part(x, i), part(weight, i), step, g.most); e < least {
				least, steps[i] = e, step
			}
		}
		widest = max(widest, steps[i])
	}
	if widest == 0 {
		clear(q)
		return 0, g.groups
	}
	best, least := float32(0), math.Inf(1)
	try, own := make([]int8, len(q)), make([]int, len(g.groups))
	consider := func(scale float32) {
		if !(scale > 0) {
			return
		}
		g.scale = float64(scale)
		total := 0.0
		for i, step := range steps {
			if step == 0 {
				g.groups[i] = 0
				continue
			}
			m, e := nearest(part(x, i), part(weight, i), g.scale, step, bits)
			g.groups[i], total = m, total+e
		}
		if total < least {
			least, best = total, scale
			copy(own, g.groups)
			g.round(q, x)
		}
	}
	most := checkpoint.MaxGroup(bits)
	for _, m := range multiples(most) {
		for _, near := range [...]float64{1, 0.97, 1.03, 0.94} {
			consider(float32(widest * near / float64(m)))
		}
	}
	for range 3 {
		was := best
		if s := fit(q, x, weight); s > 0 {
			copy(g.groups, own)
			g.scale = float64(s)
			g.round(try, x)
			if e := rowError(try, x, weight, s); e < least {
				least, best = e, s
				copy(q, try)
			}
			consider(s)
		}
		if best == was {
			break
		}
	}
	return best, own
}

// Groups is the number of groups in a row of n weights of so many bits: one of whole weights.
func Groups(n, bits int) int {
	if bits == wholeBits {
		return 1
	}
	return (n + groupSize - 1) / groupSize
}

// SearchGrid finds where the weights of a row may best lie: the scale and the integers of its Groups, 1 for whole weights.
func SearchGrid(x []float32, bits int) (scale float32, groups []int) {
	q := make([]int8, len(x))
	if bits == wholeBits {
		return SearchRow(q, x, nil), []int{1}
	}
	return searchGrid(q, x, nil, bits)
}

// RoundRow fills q with the INT8 weights nearest to x [n] on a grid. Products of a code and the integer of its group are in
// [-127,127].
func RoundRow(q []int8, x []float32, scale float32, groups []int, bits int) {
	if bits == wholeBits {
		if scale == 0 {
			clear(q)
			return
		}
		roundRow(q, x, scale)
		return
	}
	g := grid{float64(scale), groups, checkpoint.MaxCode(bits)}
	g.round(q, x)
}

// nearest is the better of the multiples of a scale around a step, and the error that it leaves.
func nearest(x, weight []float32, scale, step float64, bits int) (group int, least float64) {
	most, largest := checkpoint.MaxCode(bits), checkpoint.MaxGroup(bits)
	low := min(largest, max(1, int(step/scale)))
	least = math.Inf(1)
	for m := low; m <= min(largest, low+1); m++ {
		if e := groupError(x, weight, float64(scale*float64(m)), most); e < least {
			group, least = m, e
		}
	}
	return group, least
}

// multiples are at most eight integers from most down to half of it.
func multiples(most int) (list []int) {
	step := max(1, most/16)
	for m := most; m >= max(1, most/2) && len(list) < 8; m -= step {
		list = append(list, m)
	}
	return list
}
