package bench

import (
	"fmt"
	"math"
	"slices"
	"time"

	"mito/engine/compress/lora"
	"mito/engine/data"
	"mito/engine/decode"
	"mito/engine/model"
	"mito/engine/session/adapters"
	"mito/engine/train"
)

// loraSteps are those of an adaption.
const loraSteps = 600

// labLora adapts the base to another text: the whole model by Muon and by AdamW, and adapters of rank 4.
func labLora(m *meter) error {
	_, base, _, err := m.labBase()
	if err != nil {
		return err
	}
	names, err := openText(m.o.AdaptTo, m.corpus.tok)
	if err != nil {
		return err
	}
	o := train.Defaults()
	o.Steps = m.steps(loraSteps)
	whole := entry{text: names, config: base.Config, rows: labRows, time: labTime, start: base, o: o}
	plain := whole
	plain.o.Optimizer, plain.o.LR = train.AdamW, 4e-3 // the best and the largest of 1e-3, 2e-3 and 4e-3
	lc := lora.Config{Rank: 4, Alpha: 8, Targets: lora.DefaultTargets()}
	every, err := adapterEntry(plain, lc)
	if err != nil {
		return err
	}
	lc.Layers = []int{1, 2, 3}
	upper, err := adapterEntry(plain, lc)
	if err != nil {
		return err
	}
	lc.Layers = []int{3}
	last, err := adapterEntry(plain, lc)
	if err != nil {
		return err
	}
	last.grid = true
	last.objective = func(c *contender, source data.Source) (train.Objective, error) {
		labels := train.NewLabels(c.b, source, last.o)
		c.keep(labels)
		p, err := lora.NewPrefix(c.model, source, 3, lora.PrefixOptions{Budget: 1 << 30})
		if err == nil {
			c.keep(p)
		}
		return &prefixed{labels, p}, err
	}
	var list []*contender
	var steps []int
	for _, e := range []entry{plain, whole, every, upper, last} {
		c, err := enter(m.ctx, e)
		if err != nil {
			return err
		}
		defer c.Close()
		list, steps = append(list, c), append(steps, o.Steps)
	}
	m.note(fmt.Sprintf("adaption, %d steps", o.Steps))
	if err := race(m.ctx, steps, list...); err != nil {
		return err
	}
	losses := make([]float64, len(list))
	for i, c := range list {
		if losses[i], err = c.loss(); err != nil {
			return err
		}
	}
	const name = "lora/corpus to adapt-to, "
	m.value(name+"whole model by AdamW, loss", unitNats, losses[0])
	m.value(name+"whole model by Muon, loss", unitNats, losses[1])
	for i, what := range []string{"rank 4 of every layer", "rank 4 of layers 1 to 3", "rank 4 of the last layer and a kept prefix"} {
		c := list[i+2]
		m.value(name+what+", loss", unitNats, losses[i+2])
		m.value(name+what+", loss against the whole model's by AdamW", unitTimes, losses[i+2]/losses[0])
		m.value(name+what+", steps against those of the whole model by AdamW", unitTimes, list[0].fastest.Seconds()/c.fastest.Seconds())
		trained := 0
		for _, p := range c.model.Params.Added {
			trained += p.Size()
		}
		m.value(name+what+", share of the parameters that is trained", unitShare, float64(trained)/float64(base.Config.Params()))
	}
	return labAdapters(m, base, list[2], list[3])
}

// adapterEntry turns the training of a whole model into that of adapters.
func adapterEntry(e entry, lc lora.Config) (entry, error) {
	modules, err := lc.Modules(e.config)
	if err != nil {
		return e, err
	}
	e.build = model.Options{Trained: func(string) bool { return false }, Product: lc.Products(modules)}
	e.init, e.o.LR = lora.Init(1), 2e-2 // at 3e-2 alpha 16 comes to 2.06 nats instead of 1.71
	e.adapter, e.modules = &lc, modules
	return e, nil
}

// labAdapters merges what was trained, and switches between adapters in one process.
func labAdapters(m *meter, base *model.Weights, list ...*contender) error {
	var runtime []adapters.Adapter
	var merged *model.Weights
	for i, c := range list {
		values := map[string][]float32{}
		for _, p := range c.model.Params.Added {
			v := make([]float32, p.Size())
			if err := c.b.Download(v, p.Value); err != nil {
				return err
			}
			values[p.Name] = v
		}
		a, err := c.entry.adapter.FromTensors(c.entry.modules, "", values)
		if err != nil {
			return err
		}
		if i == 0 {
			if merged, err = a.Merge(base); err != nil {
				return err
			}
		}
		runtime = append(runtime, a.Runtime(fmt.Sprint("adapter ", i)))
	}
	beside, err := decode.NewFloat32(base, m.corpus.tok, decode.Options{Threads: 1, Adapters: runtime})
	if err != nil {
		return err
	}
	m.keep(beside)
	whole, err := decode.NewFloat32(merged, m.corpus.tok, decode.Options{Threads: 1})
	if err != nil {
		return err
	}
	m.keep(whole)
	tokens := m.corpus.held[:labTime]
	apart, err := said(beside, tokens, "adapter 0")
	if err != nil {
		return err
	}
	together, err := said(whole, tokens, "")
	if err != nil {
		return err
	}
	var far, scale float64
	for i, x := range apart[0] {
		far, scale = max(far, math.Abs(float64(x)-float64(together[0][i]))), max(scale, math.Abs(float64(x)))
	}
	m.value("lora/merged into the weights, largest difference of a logit against the largest logit", unitShare, far/scale)
	names := []string{"adapter 0", "", "adapter 1", "adapter 0", "adapter 1", "", "adapter 1", "adapter 0"}
	mixed, err := said(beside, tokens, names...)
	if err != nil {
		return err
	}
	same := 0.0
	for i, name := range names {
		alone, err := said(beside, tokens, name)
		if err != nil {
			return err
		}
		if slices.Equal(alone[0], mixed[i]) {
			same++
		}
	}
	m.value("lora/two adapters and none mixed in a batch of 8, share with the bits of each alone", unitShare, same/float64(len(names)))
	s, err := beside.NewSession(1)
	if err != nil {
		return err
	}
	var switches []float64
	for i := range 1000 {
		start := time.Now()
		if err := s.Adapt(0, runtime[i%2].Name); err != nil {
			return err
		}
		switches = append(switches, 1000*time.Since(start).Seconds())
	}
	m.value("lora/adapter switched", unitMillis, switches...)
	return nil
}

// said are the logits after each of some tokens, for sequences that go through adapters together.
func said(r decode.Runtime, tokens []int32, names ...string) ([][]float32, error) {
	s, err := r.NewSession(len(names))
	if err != nil {
		return nil, err
	}
	out, texts := make([][]float32, len(names)), make([][]int32, len(names))
	for i, name := range names {
		if err := s.Adapt(i, name); err != nil {
			return nil, err
		}
		texts[i] = tokens
	}
	return out, s.ScoreBatch(texts, func(seq, _ int, logits []float32) error {
		out[seq] = append(out[seq], logits...)
		return nil
	})
}
