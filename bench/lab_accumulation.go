package bench

import (
	"fmt"
	"math"

	"mito/engine/arch"
	"mito/engine/train"
)

// Accumulation is tried on a small text: 60 K parameters, rows of 16 tokens, so many tokens in all.
const accumulationTokens, accumulationTime = 1 << 20, 16

// labAccumulation trains on batches of 32, 128 and 512 rows at equal tokens, computed 32 rows at a time, with the rate of the
// square root of the batch, and with the half-life of AdamW's second moment in steps and in tokens (arXiv:2507.07101).
func labAccumulation(m *meter) error {
	path := m.o.AdaptTo
	if path == "" {
		path = m.o.Corpus
	}
	corpus, err := openText(path, nil)
	if err != nil {
		return err
	}
	c := arch.Edge(corpus.tok.VocabSize(), accumulationTime, 2, 64, 4, 2)
	c.QKNorm, c.IntermediateSize = true, 128
	var list []*contender
	var steps []int
	var names []string
	const first, beta2 = 32, 0.99
	for _, batch := range []int{32, 128, 512} {
		for _, scaled := range []bool{false, true} {
			if scaled && batch == first {
				continue
			}
			o := train.Defaults()
			o.Optimizer, o.MicroBatches = train.AdamW, batch/first
			o.Steps = max(2, m.steps(labSteps)*(accumulationTokens/labSteps)/(batch*accumulationTime))
			o.LR, o.Beta2 = 2e-3*math.Sqrt(float64(batch)/first), beta2
			how := "in steps"
			if scaled {
				o.Beta2, how = math.Pow(beta2, float64(batch)/first), "in tokens"
			}
			if batch == first {
				how = "as it is"
			}
			x, err := enter(m.ctx, entry{text: corpus, config: c, rows: batch, time: accumulationTime, init: labInit(), o: o})
			if err != nil {
				return err
			}
			defer x.Close()
			list, steps = append(list, x), append(steps, o.Steps)
			names = append(names, fmt.Sprintf("accumulation/batch of %d rows in %d micro-batches, beta2 %s (%.4f)", batch, o.MicroBatches, how, o.Beta2))
		}
	}
	m.note(fmt.Sprintf("accumulation, %d steps of %d rows", steps[0], first))
	if err := race(m.ctx, steps, list...); err != nil {
		return err
	}
	base := 0.0
	for i, x := range list {
		loss, err := x.loss()
		if err != nil {
			return err
		}
		if i == 0 {
			base = loss
		}
		m.value(names[i]+", loss at equal tokens", unitNats, loss)
		m.value(names[i]+", loss against batches of 32", unitTimes, loss/base)
		m.value(names[i]+", time against batches of 32", unitTimes, x.spent.Seconds()/list[0].spent.Seconds())
	}
	return nil
}
