package cpu

import (
	"gorgonia.org/tensor"

	"mito/backend"
	"mito/backend/internal/check"
	"mito/kernels/vec"
)

// lossTasks are those of this file.
type lossTasks struct {
	crossEntropy crossEntropyTask
	distill      distillTask
	distillTopK  distillTopKTask
	reduce       reduceTask
}

// CrossEntropy implements backend.Loss.
func (b *Backend) CrossEntropy(loss, dlogits, logits, targets, weights *tensor.Dense, args backend.CrossEntropyArgs) error {
	n, v, err := check.CrossEntropy(b, loss, dlogits, logits, targets, weights, args)
	if err != nil {
		return err
	}
	ids, w := i32(targets), f32(weights)
	for r, id := range ids {
		if w[r] != 0 && (id < 0 || int(id) >= v) {
			return &backend.ArgError{Op: "CrossEntropy", Arg: "targets", Got: [2]int{r, int(id)}, Want: "ids inside the vocabulary (index, id)"}
		}
	}
	args.Scale = scaled(args.Scale, args.Step)
	b.tasks.crossEntropy = crossEntropyTask{
		loss: f32(loss), dlogits: f32(dlogits), logits: f32(logits), weights: w, targets: ids, v: v, args: args,
	}
	b.pool.Run(n, grainRows(4*v), &b.tasks.crossEntropy)
	return nil
}

type crossEntropyTask struct {
	loss, dlogits, logits, weights []float32
	targets                        []int32
	v                              int
	args                           backend.CrossEntropyArgs
}

func (t *crossEntropyTask) Do(lo, hi int) {
	for r := lo; r < hi; r++ {
		var dlogits []float32
		if t.dlogits != nil {
			dlogits = t.dlogits[r*t.v:][:t.v]
		}
		w := t.weights[r]
		if w == 0 {
			t.loss[r] = 0
			clear(dlogits)
			continue
		}
		t.loss[r] = w * vec.CrossEntropyRow(dlogits, t.logits[r*t.v:][:t.v], int(t.targets[r]), t.args.Smoothing, t.args.Scale*w, false)
	}
}

// scaled is the factor of a gradient: that of the call times that of the step.
func scaled(scale float32, step *tensor.Dense) float32 {
	if step == nil {
		return scale
	}
	return scale * f32(step)[backend.StepLossScale]
}

// Distill implements backend.Loss.
func (b *Backend) Distill(kl, dlogits, logits, probs, weights *tensor.Dense, args backend.DistillArgs) error {
	n, v, err := check.Distill(b, kl, dlogits, logits, probs, weights, args)
	if err != nil {
		return err
	}
	args.Scale = scaled(args.Scale, args.Step)
	b.tasks.distill = distillTask{
		kl: f32(kl), dlogits: f32(dlogits), logits: f32(logits), probs: f32(probs), weights: f32(weights), v: v, args: args,
	}
	b.pool.Run(n, grainRows(4*v), &b.tasks.distill)
	return nil
}

type distillTask struct {
	kl, dlogits, logits, probs, weights []float32
	v                                   int
	args                                backend.DistillArgs
}

func (t *distillTask) Do(lo, hi int) {
	for r := lo; r < hi; r++ {
		w := t.weights[r]
		if w == 0 {
			t.kl[r] = 0
			continue
		}
		at, end := r*t.v, (r+1)*t.v
		t.kl[r] = w * vec.KLRow(t.dlogits[at:end], t.logits[at:end], t.probs[at:end], t.args.Temperature, t.args.Scale*w)
	}
}

// DistillTopK implements backend.Loss.
func (b *Backend) DistillTopK(kl, dlogits, logits, ids, probs, tail, weights *tensor.Dense, args backend.DistillArgs) error {
	n, v, k, err := check.DistillTopK(b, kl, dlogits, logits, ids, probs, tail, weights, args)
	if err == nil {
		err = check.IDs("DistillTopK", i32(ids), v)
	}
	if err != nil {
		return err
	}
	args.Scale = scaled(args.Scale, args.Step)
	b.tasks.distillTopK = distillTopKTask{
		kl: f32(kl), dlogits: f32(dlogits), logits: f32(logits), probs: f32(probs), tail: f32(tail), weights: f32(weights),
		ids: i32(ids), v: v, k: k, args: args,
	}
	b.pool.Run(n, grainRows(4*v), &b.tasks.distillTopK)
	return nil
}

type distillTopKTask struct {
	kl, dlogits, logits, probs, tail, weights []float32
	ids                                       []int32
	v, k                                      int
	args                                      backend.DistillArgs
}

func (t *distillTopKTask) Do(lo, hi int) {
	for r := lo; r < hi; r++ {
		w := t.weights[r]
		if w == 0 {
			t.kl[r] = 0
			continue
		}
		at, end := r*t.v, (r+1)*t.v
		t.kl[r] = w * vec.KLTopKRow(t.dlogits[at:end], t.logits[at:end], t.ids[r*t.k:][:t.k], t.probs[r*t.k:][:t.k],
			t.tail[r], t.args.Temperature, t.args.Scale*w)
	}
}

// Sum implements backend.Loss.
func (b *Backend) Sum(dst, x *tensor.Dense) error {
	if _, err := check.Reduce(b, "Sum", dst, x); err != nil {
		return err
	}
	f32(dst)[0] += float32(b.reduce(f32(x), false))
	return nil
}

// reduceChunk elements are summed by one thread; the chunks' sums are added in order.
const reduceChunk = 1 << 14

// reduceTask sums chunks of x, or of its squares.
type reduceTask struct {
	x       []float32
	squares bool
	partial []float64
}

func (t *reduceTask) Do(lo, hi int) {
	for i := lo; i < hi; i++ {
		x := t.x[i*reduceChunk : min((i+1)*reduceChunk, len(t.x))]
		if t.squares {
			t.partial[i] = vec.SumSquares64(x)
		} else {
			t.partial[i] = float64(vec.Sum(x))
		}
	}
}

func (b *Backend) reduce(x []float32, squares bool) (total float64) {
	t := &b.tasks.reduce
	t.x, t.squares = x, squares
	chunks := (len(x) + reduceChunk - 1) / reduceChunk
	if cap(t.partial) < chunks {
		t.partial = make([]float64, chunks)
	}
	t.partial = t.partial[:chunks]
	b.pool.Run(chunks, 1, t)
	for _, p := range t.partial {
		total += p
	}
	return total
}
