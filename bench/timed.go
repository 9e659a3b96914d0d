package bench

import (
	"time"

	"gorgonia.org/tensor"

	"mito/backend"
)

// Groups of operations of a training step.
const (
	groupForward = iota
	groupDX
	groupDW
	groupAttention
	groupAttentionBackward
	groupNorm
	groupElementwise
	groupRoPE
	groupEmbedding
	groupLoss
	groupOptimizer
	groupMemory
	groupOther // everything outside the backend: batches, checks of the loop, clocks
	groups
)

var groupNames = [groups]string{
	"matrix products forward", "matrix products dX", "matrix products dW", "attention forward", "attention backward",
	"norms", "activations, sums of branches", "RoPE", "embedding", "loss", "optimiser and clipping", "clearing and copying", "the rest",
}

// timed is a backend that notes how long the operations of training take. Two clock readings an operation are less
// than a thousandth of a step.
type timed struct {
	backend.Backend
	spent [groups]time.Duration
}

func (t *timed) since(group int, start time.Time) { t.spent[group] += time.Since(start) }

func (t *timed) MatMul(c, a, b *tensor.Dense, args backend.MatMulArgs) error {
	group := groupDX
	switch {
	case args.TransA:
		group = groupDW
	case args.TransB:
		group = groupForward
	}
	defer t.since(group, time.Now())
	return t.Backend.MatMul(c, a, b, args)
}

func (t *timed) SumRows(dst, x *tensor.Dense) error {
	defer t.since(groupDW, time.Now())
	return t.Backend.SumRows(dst, x)
}

func (t *timed) Attention(out, lse, q, k, v *tensor.Dense, args backend.AttentionArgs) error {
	defer t.since(groupAttention, time.Now())
	return t.Backend.Attention(out, lse, q, k, v, args)
}

func (t *timed) AttentionBackward(dq, dk, dv, dout, out, lse, q, k, v *tensor.Dense, args backend.AttentionArgs) error {
	defer t.since(groupAttentionBackward, time.Now())
	return t.Backend.AttentionBackward(dq, dk, dv, dout, out, lse, q, k, v, args)
}

func (t *timed) RMSNorm(y, rstd, x, gain *tensor.Dense, eps float32) error {
	defer t.since(groupNorm, time.Now())
	return t.Backend.RMSNorm(y, rstd, x, gain, eps)
}

func (t *timed) RMSNormBackward(dx, dgain, dy, x, gain, rstd *tensor.Dense, accumulate bool) error {
	defer t.since(groupNorm, time.Now())
	return t.Backend.RMSNormBackward(dx, dgain, dy, x, gain, rstd, accumulate)
}

func (t *timed) Add(dst, a, b *tensor.Dense) error {
	defer t.since(groupElementwise, time.Now())
	return t.Backend.Add(dst, a, b)
}

func (t *timed) Activate(dst, x *tensor.Dense, act backend.Activation) error {
	defer t.since(groupElementwise, time.Now())
	return t.Backend.Activate(dst, x, act)
}

func (t *timed) ActivateBackward(dx, dy, x *tensor.Dense, act backend.Activation) error {
	defer t.since(groupElementwise, time.Now())
	return t.Backend.ActivateBackward(dx, dy, x, act)
}

func (t *timed) RoPE(x, positions, cos, sin *tensor.Dense, inverse bool) error {
	defer t.since(groupRoPE, time.Now())
	return t.Backend.RoPE(x, positions, cos, sin, inverse)
}

func (t *timed) Embed(dst, table, ids *tensor.Dense, accumulate bool) error {
	defer t.since(groupEmbedding, time.Now())
	return t.Backend.Embed(dst, table, ids, accumulate)
}

func (t *timed) EmbedBackward(dtable, dy, ids *tensor.Dense) error {
	defer t.since(groupEmbedding, time.Now())
	return t.Backend.EmbedBackward(dtable, dy, ids)
}

func (t *timed) CrossEntropy(loss, dlogits, logits, targets, weights *tensor.Dense, args backend.CrossEntropyArgs) error {
	defer t.since(groupLoss, time.Now())
	return t.Backend.CrossEntropy(loss, dlogits, logits, targets, weights, args)
}

func (t *timed) SumSquares(dst, x *tensor.Dense) error {
	defer t.since(groupOptimizer, time.Now())
	return t.Backend.SumSquares(dst, x)
}

func (t *timed) AdamW(p, g, m, v, step *tensor.Dense, args backend.AdamWArgs) error {
	defer t.since(groupOptimizer, time.Now())
	return t.Backend.AdamW(p, g, m, v, step, args)
}

func (t *timed) Muon(p, g, buf, work, table, step *tensor.Dense, plan *backend.MuonPlan, args backend.MuonArgs) error {
	defer t.since(groupOptimizer, time.Now())
	return t.Backend.Muon(p, g, buf, work, table, step, plan, args)
}

func (t *timed) Zero(x *tensor.Dense) error {
	defer t.since(groupMemory, time.Now())
	return t.Backend.Zero(x)
}

func (t *timed) Copy(dst, src *tensor.Dense) error {
	defer t.since(groupMemory, time.Now())
	return t.Backend.Copy(dst, src)
}

func (t *timed) Upload(dst *tensor.Dense, src any) error {
	defer t.since(groupMemory, time.Now())
	return t.Backend.Upload(dst, src)
}
