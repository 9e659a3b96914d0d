package calibrate

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"

	"mito/engine/decode"
	"mito/engine/model"
)

// Generate draws sequences of text that a float model writes itself, for a calibration where no corpus is at hand (Liu et al.,
// LLM-QAT, arXiv:2305.17888): each begins with a token that every one of the vocabulary is as likely to be, and goes on with the model's
// own distribution. They depend on the seed and the model alone. Errors: ctx's, those of decode.NewFloat32.
func Generate(ctx context.Context, w *model.Weights, rows, tokens int, seed uint64) (sequences [][]int32, err error) {
	r, err := decode.NewFloat32(w, nil, decode.Options{Threads: 1})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	s, err := r.NewSession(1)
	if err != nil {
		return nil, err
	}
	rng := rand.New(rand.NewPCG(seed, 0x6d69746f))
	for range rows {
		s.Reset()
		list := []int32{int32(rng.IntN(w.Config.VocabSize))}
		for len(list) < tokens {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			logits, err := s.Step(list[len(list)-1:])
			if err != nil {
				return nil, err
			}
			list = append(list, int32(draw(logits[0], rng.Float64())))
		}
		sequences = append(sequences, list)
	}
	return sequences, nil
}

// draw is the token that a number in [0,1) falls on.
func draw(logits []float32, at float64) int {
	largest := math.Inf(-1)
	for _, l := range logits {
		largest = max(largest, float64(l))
	}
	total := 0.0
	for _, l := range logits {
		total += math.Exp(float64(l) - largest)
	}
	at *= total
	for i, l := range logits {
		if at -= math.Exp(float64(l) - largest); at < 0 {
			return i
		}
	}
	return len(logits) - 1
}
