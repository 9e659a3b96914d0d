package search

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Budget is what a student may cost; 0 for any.
type Budget struct {
	Flash int64   `json:"flash,omitempty"` // bytes of model.safetensors
	RAM   int64   `json:"ram,omitempty"`   // bytes of the cache of a whole context and of the buffers of a token
	TokS  float64 `json:"tok_s,omitempty"` // least tokens a second of one sequence, on one thread of this machine
}

// BudgetError reports a budget that says nothing, or that no student can keep.
type BudgetError struct{ Got, Want string }

func (e *BudgetError) Error() string { return fmt.Sprintf("budget %s: want %s", e.Got, e.Want) }

// Parse reads a budget such as flash=256K,ram=64K,tok_s=5000. K and M are 1024 and 1024². Errors: *BudgetError.
func Parse(text string) (b Budget, err error) {
	for _, part := range strings.Split(text, ",") {
		key, value, ok := strings.Cut(strings.TrimSpace(part), "=")
		bad := &BudgetError{fmt.Sprintf("%q", part), "a list such as flash=256K,ram=64K,tok_s=5000"}
		if !ok {
			return b, bad
		}
		n, err := number(value)
		if err != nil {
			return b, bad
		}
		switch key {
		case "flash":
			b.Flash = int64(n)
		case "ram":
			b.RAM = int64(n)
		case "tok_s":
			b.TokS = n
		default:
			return b, bad
		}
	}
	return b, nil
}

// number reads a positive number with K or M behind it.
func number(s string) (float64, error) {
	factor := 1.0
	switch {
	case strings.HasSuffix(s, "K"):
		factor = 1 << 10
	case strings.HasSuffix(s, "M"):
		factor = 1 << 20
	}
	n, err := strconv.ParseFloat(strings.TrimRight(s, "KM"), 64)
	if err != nil || !(n > 0) || n*factor >= 1<<53 || math.IsInf(n, 0) || strings.Count(s, "K")+strings.Count(s, "M") > 1 {
		return 0, fmt.Errorf("search: %q is no positive number", s)
	}
	return n * factor, nil
}
