package export

import (
	"errors"
	"fmt"
	"math"

	"mito/engine/decode"
)

// DifferenceError reports that what was written does not compute what the model does.
type DifferenceError struct {
	Got, Allowed float64
	Token        int // index in the stream
}

func (e *DifferenceError) Error() string {
	return fmt.Sprintf("what was written computes other logits: after token %d they differ by %g, at most %g is expected", e.Token, e.Got, e.Allowed)
}

// checkTokens is the length of the stream that is compared.
const checkTokens = 256

// Check computes logits of two runtimes on a fixed stream of tokens and returns the largest difference. allowed is what may
// come of rounding, as a share of the largest logit. Errors: *DifferenceError, those of the runtimes.
func Check(a, b decode.Runtime, allowed float64) (worst float64, err error) {
	if a.VocabSize() != b.VocabSize() {
		return 0, fmt.Errorf("what was written has %d logits, the model %d", b.VocabSize(), a.VocabSize())
	}
	n := min(checkTokens, a.Context(), b.Context())
	ids := make([]int32, n)
	for i := range ids {
		ids[i] = int32((i*37 + i*i) % a.VocabSize())
	}
	first, largest := make([][]float32, n), 0.0
	if err := score(a, ids, func(i int, logits []float32) error {
		first[i] = append([]float32(nil), logits...)
		for _, v := range logits {
			largest = max(largest, math.Abs(float64(v)))
		}
		return nil
	}); err != nil {
		return 0, err
	}
	if allowed > 0 {
		allowed *= largest
	}
	err = score(b, ids, func(i int, logits []float32) error {
		for k, v := range logits {
			d := math.Abs(float64(v) - float64(first[i][k]))
			if !(d <= allowed) {
				return &DifferenceError{Got: d, Allowed: allowed, Token: i}
			}
			worst = max(worst, d)
		}
		return nil
	})
	return worst, err
}

func score(r decode.Runtime, ids []int32, visit func(i int, logits []float32) error) error {
	s, err := r.NewSession(1)
	if err != nil {
		return err
	}
	return s.Score(0, ids, visit)
}

// CheckWritten compares a model with what an export of it wrote. Errors: as of Check.
func CheckWritten(f Format, from *Source, out string, made Options, o decode.Options) (worst float64, err error) {
	var a decode.Runtime
	if f.Reference != nil {
		a, err = f.Reference(from, made, o)
	} else {
		a, err = decode.Open(from.Dir, o)
	}
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, a.Close()) }()
	b, err := f.Open(out, o)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	allowed := 0.0
	if f.Rounding != nil {
		allowed = f.Rounding(made)
	}
	return Check(a, b, allowed)
}
