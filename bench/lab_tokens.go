package bench

import (
	"fmt"

	"mito/engine/train"
)

// tokenDrop is what the layers between the first and the last leave out at first, and tokenUntil the share of the steps after which they see all.
const tokenDrop, tokenUntil = 0.5, 0.6

// labTokens trains with and without dropped tokens, on three seeds.
func labTokens(m *meter) error {
	corpus, err := openText(m.o.Corpus, nil)
	if err != nil {
		return err
	}
	var ratios, times, plains []float64
	for seed := uint64(1); seed <= 3; seed++ {
		o := train.Defaults()
		o.Steps, o.Seed = m.steps(labSteps), seed
		e := entry{text: corpus, config: labConfig(corpus.tok.VocabSize()), rows: labRows, time: labTime, init: labInit(), o: o}
		dropping := e
		dropping.o.DropTokens, dropping.o.DropUntil = tokenDrop, tokenUntil
		plain, err := enter(m.ctx, e)
		if err != nil {
			return err
		}
		defer plain.Close()
		drop, err := enter(m.ctx, dropping)
		if err != nil {
			return err
		}
		defer drop.Close()
		m.note(fmt.Sprintf("tokens, seed %d, %d steps", seed, o.Steps))
		if err := race(m.ctx, []int{o.Steps, o.Steps}, plain, drop); err != nil {
			return err
		}
		a, err := plain.loss()
		if err != nil {
			return err
		}
		b, err := drop.loss()
		if err != nil {
			return err
		}
		plains, ratios, times = append(plains, a), append(ratios, b/a), append(times, drop.spent.Seconds()/plain.spent.Seconds())
	}
	name := fmt.Sprintf("tokens/half of each row dropped in the middle until %g of the steps, ", tokenUntil)
	m.value("tokens/all tokens, loss of three seeds", unitNats, plains...)
	m.value(name+"loss against all tokens", unitTimes, ratios...)
	m.value(name+"time against all tokens", unitTimes, times...)
	return nil
}
