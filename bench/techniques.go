package bench

import (
	"context"
	"errors"
	"fmt"

	"mito/engine/student"
	"mito/engine/train"
	"mito/kernels/kv"
)

// techniques are those that mito has, by the name that their rows begin with.
var techniques = []struct {
	name string
	plan func(*meter) error
}{
	{"quantisation", func(m *meter) error {
		return errors.Join(eachClass(addQuantisation)(m), m.lab(m.o.Corpus != "", labQuantisation))
	}},
	{"pruning", eachClass(addPruning)},
	{"sparse", func(m *meter) error { return m.lab(m.o.Corpus != "", labSparse) }},
	{"accumulation", func(m *meter) error {
		return errors.Join(eachClass(addAccumulation)(m), m.lab(m.o.Corpus != "", labAccumulation))
	}},
	{"lora", func(m *meter) error {
		return errors.Join(eachClass(addLora)(m), m.lab(m.o.Corpus != "" && m.o.AdaptTo != "", labLora))
	}},
	{"speculation", eachClass(addSpeculation)},
	{"transcript", eachClass(addTranscript)},
	{"votes", eachClass(addVotes)},
	{"grammar", eachClass(addGrammar)},
	{"tokens", func(m *meter) error { return m.lab(m.o.Corpus != "", labTokens) }},
	{"convert", func(m *meter) error { return m.lab(m.o.Corpus != "", labConvert) }},
	{"distillation", func(m *meter) error { return m.lab(m.o.Corpus != "", labDistillation) }},
	{"combination", func(m *meter) error { return m.lab(m.o.Corpus != "", labCombination) }},
}

// Techniques lists the techniques.
func Techniques() (names []string) {
	for _, t := range techniques {
		names = append(names, t.name)
	}
	return names
}

// planTechniques adds what the efficiency techniques bring that mito has: as ratios to doing without, and where there are texts
// to train on, what they do to the loss. Other models' quality is in the reports of pipelines.
func planTechniques(m *meter) error {
	for _, t := range techniques {
		if m.o.Only == "" || m.o.Only == t.name {
			if err := t.plan(m); err != nil {
				return err
			}
		}
	}
	return nil
}

func eachClass(add func(*meter, class) error) func(*meter) error {
	return func(m *meter) error {
		for _, c := range classes() {
			if err := add(m, c); err != nil {
				return err
			}
		}
		return nil
	}
}

// addPruning compares bytes and speed of students with blocks of zeros.
func addPruning(m *meter, c class) error {
	for _, share := range sparseLevels[1:] {
		name := fmt.Sprintf("pruning/%s, %.0f%% zero 4x8 blocks", c.name, 100*share)
		bytes, err := addSparse(m, c, share, name)
		if err != nil {
			return err
		}
		m.fixed(Result{Name: name + ", bytes dense against sparse", Unit: unitTimes}, float64(bytes.dense)/float64(bytes.sparse))
		if err := addPrunedStudent(m, c, share, name); err != nil {
			return err
		}
	}
	return nil
}

// addQuantisation compares the INT8 student with its float32 parent.
func addQuantisation(m *meter, c class) error {
	d, err := newDecoders(m, c)
	if err != nil {
		return err
	}
	fast, err := steps(d.int8, 1)
	if err != nil {
		return err
	}
	slow, err := steps(d.float32, 1)
	if err != nil {
		return err
	}
	name := fmt.Sprintf("quantisation/%s, ", c.name)
	i8 := m.hidden(Result{Name: name + "INT8", Unit: unitTokens, Threads: 1}, fast, nil)
	f32 := m.hidden(Result{Name: name + "float32", Unit: unitTokens, Threads: 1}, slow, nil)
	m.combine(Result{Name: name + "decoding INT8 against float32", Unit: unitTimes, Threads: 1}, i8, f32, divide)
	m.fixed(Result{Name: name + "bytes of the weights float32 against INT8", Unit: unitTimes}, float64(d.float32.Bytes())/float64(d.int8.Bytes()))

	s := &kv.Shape{Heads: c.config.Heads, KVHeads: c.config.KVHeads, HeadDim: c.config.HeadDim, PageSize: c.config.Context}
	cache := kv.NewPagesQS8(1, s)[0].Bytes()
	m.fixed(Result{Name: name + "bytes of the cache float32 against INT8", Unit: unitTimes},
		float64(2*4*c.config.Context*s.KVHeads*s.HeadDim)/float64(cache))
	return nil
}

// addPrunedStudent compares whole steps of a student whose matrices are stored in blocks with those of the same student
// stored densely. The two compute the same bits.
func addPrunedStudent(m *meter, c class, share float64, name string) error {
	q, err := pruned(m.ctx, c, share, name)
	if err != nil {
		return err
	}
	var probes []*probe
	for _, blocks := range []student.Blocks{student.BlocksMeasured, student.BlocksNever} {
		s, err := student.New(q, student.Options{Blocks: blocks})
		if err != nil {
			return err
		}
		session, err := s.NewSession(1)
		if err != nil {
			return err
		}
		m.keep(closer(s.Close))
		probes = append(probes, m.hidden(Result{Name: name + ", student", Unit: unitTokens, Threads: 1},
			contexts(session, c.config.Context, c.config.VocabSize), nil))
	}
	m.combine(Result{Name: name + ", decoding against dense INT8", Unit: unitTimes, Threads: 1}, probes[0], probes[1], divide)
	return nil
}

// pruned is the INT8 student of a class with a share of its blocks set to zero, which ones by name.
func pruned(ctx context.Context, c class, share float64, name string) (*student.Weights, error) {
	w, err := c.weights()
	if err != nil {
		return nil, err
	}
	q, err := quantized(ctx, w)
	if err != nil {
		return nil, err
	}
	r := source(name)
	return q, q.Visit(func(_ string, x *student.Matrix, _ *[]float32) error {
		if x != nil {
			prune(r, x.Q, matrix{n: x.Rows, k: x.Cols}, share)
		}
		return nil
	})
}

// addAccumulation compares a step in micro-batches with the same step at once.
func addAccumulation(m *meter, c class) error {
	var whole *probe
	var bytes int64
	for _, micro := range []int{1, 2, 4, 8} {
		t, err := newTraining(m.ctx, c, m.o.Threads, train.AdamW, micro)
		if err != nil {
			return err
		}
		m.keep(t)
		need, err := t.model.ActivationBytes(trainBatch/micro, c.config.Context, true)
		if err != nil {
			return err
		}
		name := fmt.Sprintf("accumulation/%s, %d micro-batches, ", c.name, micro)
		p := m.hidden(Result{Name: name + "training", Unit: unitTokens, Threads: m.o.Threads}, t.tokens, nil)
		if micro == 1 {
			whole, bytes = p, need
			continue
		}
		m.combine(Result{Name: name + "training against one batch", Unit: unitTimes, Threads: m.o.Threads}, p, whole, divide)
		m.fixed(Result{Name: name + "activation bytes of one batch against these", Unit: unitTimes}, float64(bytes)/float64(need))
	}
	return nil
}
