package pipeline

import (
	"context"
	"slices"
	"strings"

	"mito/engine/compress/calibrate"
	"mito/engine/compress/quant"
	"mito/engine/compress/search"
)

// withMeasured adds to the candidates of a search the whole parent with the bits that the measured sensitivity of each of its matrices
// leaves it under the budget of flash, behind those that are the same everywhere; of more than the trials the last goes.
func (s *searcher) withMeasured(ctx context.Context, candidates []search.Candidate, parent *Start) ([]search.Candidate, error) {
	bits, err := s.measuredBits(ctx, parent)
	if err != nil || bits == "" {
		return candidates, err
	}
	c := search.Candidate{Shape: search.SpaceOf(s.config).Whole(), Bits: bits}
	if _, ram, err := s.cost(c.Config(s.config), 0, bits); err != nil || s.Budget.RAM != 0 && ram > s.Budget.RAM {
		return candidates, err
	}
	if s.Budget.TokS != 0 {
		if rate, err := search.Speed(c.Config(s.config), 0); err != nil || rate < s.Budget.TokS {
			return candidates, err
		}
	}
	at := 0
	for at < len(candidates) && candidates[at].Uniform {
		at++
	}
	candidates = slices.Insert(candidates, at, c)
	return candidates[:min(len(candidates), s.Trials)], nil
}

// measuredBits gives each matrix of the parent its bits, as quant.ParseRules reads them; "" where 8 bits fit or the fewest do not.
func (s *searcher) measuredBits(ctx context.Context, parent *Start) (string, error) {
	whole, _, err := s.cost(s.config, 0, search.Whole)
	if err != nil || s.Budget.Flash == 0 || whole <= s.Budget.Flash {
		return "", err
	}
	rows := make([][]int32, s.cal.Batch.Rows)
	for i := range rows {
		rows[i] = s.cal.Batch.Inputs[i*s.cal.Batch.Time:][:s.cal.Batch.Time]
	}
	choices, fixed, err := calibrate.Sensitivity(ctx, parent.weights, rows, quant.Options{}, s.b.Info().Threads)
	if err != nil {
		return "", err
	}
	// What the budget limits is more than the tensors: what says where they are, which depends on how they are stored, and a device's code.
	for room := s.Budget.Flash; ; {
		rules, err := quant.Choose(choices, fixed, int(room))
		if err != nil { // the fewest bits are too many
			return "", nil
		}
		words := make([]string, len(rules))
		for i, r := range rules {
			words[i] = r.String()
		}
		bits := strings.Join(words, ",")
		n, _, err := s.cost(s.config, 0, bits)
		if err != nil || n <= s.Budget.Flash {
			return bits, err
		}
		room -= n - s.Budget.Flash
	}
}
