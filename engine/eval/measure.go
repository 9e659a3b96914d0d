package eval

import (
	"context"
	"fmt"
	"slices"
	"time"

	"mito/engine/decode"
)

// MeasureOptions of Measure. The zero value is what the reports use.
type MeasureOptions struct {
	Batch int           // sequences decoded side by side; 0 is 1
	Runs  int           // 0 is 5
	Time  time.Duration // of a run at least; 0 is 100 ms
}

// Speed is how fast a runtime decodes, one token a step, averaged over every length of the context.
type Speed struct {
	TokensPerSecond float64   `json:"tokens_per_second"` // the median of Runs
	Runs            []float64 `json:"runs"`              // tokens per second, in the order that they ran
}

// Measure decodes whole contexts for each run and returns the speed. One context before the first run is not counted.
// It stops soon after ctx ends. Errors: those of ctx and of the runtime.
func Measure(ctx context.Context, r decode.Runtime, o MeasureOptions) (Speed, error) {
	batch, runs, least := max(1, o.Batch), o.Runs, o.Time
	if runs < 1 {
		runs = 5
	}
	if least <= 0 {
		least = 100 * time.Millisecond
	}
	s, err := r.NewSession(batch)
	if err != nil {
		return Speed{}, err
	}
	tokens := make([]int32, batch)
	whole := func() error {
		s.Reset()
		for i := range r.Context() {
			if err := ctx.Err(); err != nil {
				return err
			}
			for j := range tokens {
				tokens[j] = int32((i*7 + j) % r.VocabSize())
			}
			if _, err := s.Step(tokens); err != nil {
				return fmt.Errorf("measuring: %w", err)
			}
		}
		return nil
	}
	if err := whole(); err != nil {
		return Speed{}, err
	}
	var out Speed
	for range runs {
		n, start := 0, time.Now()
		for n == 0 || time.Since(start) < least {
			if err := whole(); err != nil {
				return Speed{}, err
			}
			n += batch * r.Context()
		}
		out.Runs = append(out.Runs, float64(n)/time.Since(start).Seconds())
	}
	out.TokensPerSecond = median(out.Runs)
	return out, nil
}

func median(x []float64) float64 {
	x = slices.Sorted(slices.Values(x))
	if n := len(x); n%2 == 0 {
		return (x[n/2-1] + x[n/2]) / 2
	}
	return x[len(x)/2]
}
