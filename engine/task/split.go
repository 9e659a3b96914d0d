package task

import (
	"cmp"
	"math"
	"slices"
	"unicode/utf8"

	"mito/engine/data"
)

// testShare is the share of symmetry orbits held out for the test split, as
// one in testShare.
const testShare = 10

// splitSalt makes the split of one task independent of another's and of every
// other use of the same mixer.
const splitSalt = 0x6d69746f73706c69

// inTest says whether the orbit with this canonical key belongs to the test
// split. Only the orbit decides, so symmetric twins always share a split.
func inTest(orbit uint64) bool { return data.Mix(orbit^splitSalt)%testShare == 0 }

// labelled is an example with the canonical key of its symmetry orbit.
type labelled struct {
	data.Example
	orbit uint64
}

// selectSplit returns the examples of a split, in order.
func selectSplit(all []labelled, split Split) ([]data.Example, error) {
	var out []data.Example
	switch split {
	case All, Train, Test:
	default:
		return nil, &SplitError{Split: split}
	}
	for _, l := range all {
		if split == All || inTest(l.orbit) == (split == Test) {
			out = append(out, l.Example)
		}
	}
	return out, nil
}

// sample returns the n examples whose orbits come first in an order keyed by
// seed, keeping their original order. Twins stay together except for at most
// one orbit at the cut. n of 0 or more than there are keeps all.
func sample(all []labelled, n int, seed uint64) []labelled {
	if n == 0 || n >= len(all) {
		return all
	}
	key := data.Mix(seed)
	order := make([]int, len(all))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		return cmp.Compare(data.Mix(all[a].orbit^key), data.Mix(all[b].orbit^key))
	})
	order = order[:n]
	slices.Sort(order)
	out := make([]labelled, n)
	for i, j := range order {
		out[i] = all[j]
	}
	return out
}

// EntropyFloor returns the mean of ln(len(Answers)) over the characters of the
// answers, in nats: the loss on the answers of a model that gives all equally
// right ones the same probability and nothing to others, hence the least loss
// that uniformly drawn labels allow. It is 0 for no examples.
func EntropyFloor(examples []data.Example) float64 {
	sum, n := 0.0, 0
	for _, ex := range examples {
		if len(ex.Answers) > 0 {
			sum += math.Log(float64(len(ex.Answers)))
			n += utf8.RuneCountInString(ex.Answers[0])
		}
	}
	return sum / float64(max(1, n))
}
