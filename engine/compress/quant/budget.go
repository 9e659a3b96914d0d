package quant

import (
	"errors"
	"fmt"
	"math"
	"slices"
)

// Width is what one matrix costs in codes of some bits.
type Width struct {
	Bits  int     `json:"bits"`
	Bytes int     `json:"bytes"` // on disk, scales included
	Cost  float64 `json:"cost"`  // what the model loses, measured with only this matrix so
}

// Choice is a matrix with the widths that it may have.
type Choice struct {
	Module string  `json:"module"`
	Widths []Width `json:"widths"`
}

// ErrBudget is a number of bytes that no choice of widths reaches; the error says the smallest that one does.
var ErrBudget = errors.New("the budget cannot be met")

// Choose gives every matrix a width, so that all of them and fixed bytes beside them fit in a budget and the sum of the costs is
// small: from the dearest widths on it takes, again and again, the step that costs least for the bytes that it saves, and in the end
// goes back where there is room. Errors: ErrBudget.
func Choose(choices []Choice, fixed, budget int) ([]Rule, error) {
	at := make([]Width, len(choices))
	total, smallest := fixed, fixed
	for i, c := range choices {
		largest := slices.MaxFunc(c.Widths, func(a, b Width) int { return a.Bytes - b.Bytes })
		at[i] = largest
		total += largest.Bytes
		smallest += slices.MinFunc(c.Widths, func(a, b Width) int { return a.Bytes - b.Bytes }).Bytes
	}
	if smallest > budget {
		return nil, fmt.Errorf("quant: %w: %d bytes are asked for, with every matrix at its fewest bits the weights take %d", ErrBudget, budget, smallest)
	}
	for total > budget {
		best, to, least := -1, Width{}, math.Inf(1)
		for i, c := range choices {
			for _, w := range c.Widths {
				saved := at[i].Bytes - w.Bytes
				if saved <= 0 {
					continue
				}
				if price := (w.Cost - at[i].Cost) / float64(saved); price < least {
					best, to, least = i, w, price
				}
			}
		}
		total += to.Bytes - at[best].Bytes
		at[best] = to
	}
	for again := true; again; {
		again = false
		best, to, most := -1, Width{}, 0.0
		for i, c := range choices {
			for _, w := range c.Widths {
				if gain := at[i].Cost - w.Cost; gain > most && total+w.Bytes-at[i].Bytes <= budget {
					best, to, most = i, w, gain
				}
			}
		}
		if best >= 0 {
			total += to.Bytes - at[best].Bytes
			at[best], again = to, true
		}
	}
	rules := make([]Rule, len(choices))
	for i, c := range choices {
		rules[i] = Rule{c.Module, at[i].Bits}
	}
	return rules, nil
}
