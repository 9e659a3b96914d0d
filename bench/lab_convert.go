package bench

import (
	"fmt"

	"mito/engine/compress/convert"
	"mito/engine/train"
)

// labConvert gives the base one head of keys and values, and a window, and heals it with a tenth of its steps.
func labConvert(m *meter) error {
	corpus, base, loss, err := m.labBase()
	if err != nil {
		return err
	}
	m.value("convert/base, loss", unitNats, loss)
	var rows [][]int32
	for i := range 64 {
		at := i * (len(corpus.train) - labTime) / 64
		rows = append(rows, corpus.train[at:][:labTime])
	}
	moments, err := convert.Measure(m.ctx, base, rows, 1)
	if err != nil {
		return err
	}
	for _, c := range []struct {
		name string
		o    convert.Options
	}{
		{"convert/4 heads of keys and values to 1, ", convert.Options{KVHeads: 1}},
		{"convert/window of 16, ", convert.Options{Window: 16}},
	} {
		w, err := convert.Convert(base, moments, c.o)
		if err != nil {
			return err
		}
		o := train.Defaults()
		o.Steps, o.LR, o.MuonLR, o.Decay = m.steps(labSteps/10), 2e-3, 0.01, 1
		healed, err := enter(m.ctx, entry{
			text: corpus, config: w.Config, rows: labRows, time: labTime, start: w, o: o,
			objective: taughtBy(base, o),
		})
		if err != nil {
			return err
		}
		defer healed.Close()
		cut, err := heldLoss(m.ctx, healed.model, healed.held)
		if err != nil {
			return err
		}
		m.note(fmt.Sprintf("%s%d steps", c.name, o.Steps))
		if err := race(m.ctx, []int{o.Steps}, healed); err != nil {
			return err
		}
		after, err := healed.loss()
		if err != nil {
			return err
		}
		before, _ := convert.CacheBytes(base.Config)
		bytes, _ := convert.CacheBytes(w.Config)
		m.value(c.name+"loss before it is healed", unitNats, cut)
		m.value(c.name+"loss healed", unitNats, after)
		m.value(c.name+"loss healed against the base", unitTimes, after/loss)
		m.value(c.name+"share of the base's training tokens", unitShare, float64(o.Steps)/float64(m.steps(labSteps)))
		m.value(c.name+"bytes of the cache against the base's", unitTimes, float64(bytes)/float64(before))
	}
	return nil
}
