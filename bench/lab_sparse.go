package bench

import (
	"fmt"

	"mito/engine/arch"
	pruning "mito/engine/compress/prune"
	"mito/engine/model"
	"mito/engine/train"
)

// labSparsity is the share of zero blocks that sparse training is measured at.
const labSparsity = 0.75

// labSparse trains a 460 K model dense and sparse, by each method, on the same batches: what that does to the loss and to the time.
func labSparse(m *meter) error {
	corpus, err := openText(m.o.Corpus, nil)
	if err != nil {
		return err
	}
	o := train.Defaults()
	o.Steps = m.steps(labSteps)
	c := arch.Edge(corpus.tok.VocabSize(), labTime, 4, 96, 4, 4)
	e := entry{text: corpus, config: c, rows: labRows, time: labTime, init: model.DefaultInit(), o: o}
	dense, err := enter(m.ctx, e)
	if err != nil {
		return err
	}
	defer dense.Close()
	list, steps := []*contender{dense}, []int{o.Steps}
	for _, method := range pruning.Methods() {
		s := pruning.Training{Method: method, Sparsity: labSparsity}
		masked := e
		targets, err := s.Targets(c)
		if err != nil {
			return err
		}
		names := map[string]bool{}
		for _, t := range targets {
			names[t.Weight().Name] = true
		}
		masked.build.Masked = func(name string) bool { return names[name] }
		sparse, err := enter(m.ctx, masked)
		if err != nil {
			return err
		}
		defer sparse.Close()
		sparse.before = s.Before(m.ctx, sparse.trainer, o.Steps, o.Seed)
		list, steps = append(list, sparse), append(steps, o.Steps)
	}
	m.note(fmt.Sprintf("sparse training, %d steps", o.Steps))
	if err := race(m.ctx, steps, list...); err != nil {
		return err
	}
	whole, err := dense.loss()
	if err != nil {
		return err
	}
	m.value("sparse/460K dense, loss", unitNats, whole)
	for i, method := range pruning.Methods() {
		loss, err := list[i+1].loss()
		if err != nil {
			return err
		}
		name := fmt.Sprintf("sparse/460K, %s to %.0f%% zero 4x8 blocks, ", method, 100*labSparsity)
		m.value(name+"loss against dense at equal tokens", unitTimes, loss/whole)
		m.value(name+"time of dense against it", unitTimes, dense.spent.Seconds()/list[i+1].spent.Seconds())
		m.value(name+"fastest step of dense against its", unitTimes, dense.fastest.Seconds()/list[i+1].fastest.Seconds())
	}
	return nil
}
