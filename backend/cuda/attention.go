package cuda

import (
	"fmt"

	"gorgonia.org/tensor"

	"mito/backend"
	"mito/backend/cuda/cudax"
	"mito/backend/internal/check"
	kernels "mito/kernels/cuda"
)

const attentionThreads = 128

// attentionKernels are the kernels of one tile or head width.
type attentionKernels struct {
	forward, dq, dkv kernels.Kernel
	tile             int // queries, or keys, of a block
	// bytes of dynamic shared memory
	forwardShared, dqShared, dkvShared int
}

// attentionOf picks the kernels for a head width: on tensor cores where bfloat16 is asked for and the head is not
// wider than 128, else in float32 with the largest tile that fits.
func (b *Backend) attentionOf(op string, dim int) (k attentionKernels, err error) {
	if b.bf16 && dim <= 128 {
		// [rows][width+8] bfloat16: 64 queries and twice as many keys in the forward pass; in the backward pass two tiles
		// of 64 rows and two of the other side.
		tensorCore := func(forward, dq, dkv kernels.Kernel, width, step int) attentionKernels {
			row := 2 * (width + 8)
			return attentionKernels{forward, dq, dkv, 64, 3 * 64 * row, (2*64 + 2*step) * row, (2*64 + 2*step) * row}
		}
		switch {
		case dim <= 32:
			return tensorCore(kernels.AttentionBF16x32, kernels.AttentionDQBF16x32, kernels.AttentionDKVBF16x32, 32, 64), nil
		case dim <= 64:
			return tensorCore(kernels.AttentionBF16x64, kernels.AttentionDQBF16x64, kernels.AttentionDKVBF16x64, 64, 64), nil
		case dim <= 96:
			return tensorCore(kernels.AttentionBF16x96, kernels.AttentionDQBF16x96, kernels.AttentionDKVBF16x96, 96, 32), nil
		}
		return tensorCore(kernels.AttentionBF16x128, kernels.AttentionDQBF16x128, kernels.AttentionDKVBF16x128, 128, 32), nil
	}
	for _, k := range []attentionKernels{
		{forward: kernels.AttentionF32x32, dq: kernels.AttentionDQF32x32, dkv: kernels.AttentionDKVF32x32, tile: 32},
		{forward: kernels.AttentionF32x16, dq: kernels.AttentionDQF32x16, dkv: kernels.AttentionDKVF32x16, tile: 16},
	} {
		rows, scores := 4*k.tile*(dim+1), 4*k.tile*(k.tile+1)
		k.forwardShared, k.dqShared, k.dkvShared = 4*rows+scores, 5*rows+scores, 6*rows+2*scores
		if k.dkvShared <= b.card.maxShared {
			return k, nil
		}
	}
	return k, fmt.Errorf("cuda: %s: heads of %d channels: %w", op, dim, backend.ErrUnsupported)
}

// attentionShape adds the shape to a kernel's arguments.
func attentionShape(x *cudax.Args, a *backend.AttentionArgs, half bool) {
	x.I32(a.Time).I32(a.Heads).I32(a.KVHeads).I32(a.HeadDim).I32(window(a)).F32(a.Scale).Ptr(at(a.Starts)).I32(flag(half))
}

// window is the window for a kernel, which computes in 32 bits: one that hides nothing is none.
func window(a *backend.AttentionArgs) int {
	if a.Window >= a.Time {
		return 0
	}
	return a.Window
}

// Attention implements backend.Attention. A row whose start lies behind it gives NaN.
func (b *Backend) Attention(out, lse, q, k, v *tensor.Dense, args backend.AttentionArgs) error {
	const op = "Attention"
	err := check.Attention(b, op, out, lse, q, k, v, args)
	if err == nil && lse == nil {
		err = &backend.OwnerError{Op: op, Arg: "lse"}
	}
	if err != nil {
		return err
	}
	kern, err := b.attentionOf(op, args.HeadDim)
	if err != nil {
		return err
	}
	attentionShape(b.begin(op, kern.forward).Ptr(at(out)).Ptr(at(lse)).Ptr(at(q)).Ptr(at(k)).Ptr(at(v)), &args, half(q))
	b.task.shared = kern.forwardShared
	return b.run(cudax.Dim{X: ceil(args.Time, kern.tile), Y: args.Heads, Z: args.Batch}, line(attentionThreads))
}

// AttentionBackward implements backend.Attention. The scores are recomputed twice, once for dq and once for dk and dv,
// so that every gradient has one block that owns it.
func (b *Backend) AttentionBackward(dq, dk, dv, dout, out, lse, q, k, v *tensor.Dense, args backend.AttentionArgs) error {
	const op = "AttentionBackward"
	if err := check.AttentionBackward(b, dq, dk, dv, dout, out, lse, q, k, v, args); err != nil {
		return err
	}
	kern, err := b.attentionOf(op, args.HeadDim)
	if err != nil {
		return err
	}
	rows := args.Batch * args.Time * args.Heads
	delta, err := b.work.take(op, int64(rows)*4)
	if err != nil {
		return err
	}
	b.begin(op, kernels.AttentionDeltaF32).Ptr(delta).Ptr(at(dout)).Ptr(at(out)).I32(rows).I32(args.HeadDim).I32(flag(half(q)))
	if err := b.run(line(ceil(rows, 4)), line(128)); err != nil {
		return err
	}
	inputs := func(x *cudax.Args) {
		attentionShape(x.Ptr(at(dout)).Ptr(delta).Ptr(at(lse)).Ptr(at(q)).Ptr(at(k)).Ptr(at(v)), &args, half(q))
	}
	tiles := ceil(args.Time, kern.tile)
	inputs(b.begin(op, kern.dq).Ptr(at(dq)))
	b.task.shared = kern.dqShared
	if err := b.run(cudax.Dim{X: tiles, Y: args.Heads, Z: args.Batch}, line(attentionThreads)); err != nil {
		return err
	}
	inputs(b.begin(op, kern.dkv).Ptr(at(dk)).Ptr(at(dv)))
	b.task.shared = kern.dkvShared
	return b.run(cudax.Dim{X: tiles, Y: args.KVHeads, Z: args.Batch}, line(attentionThreads))
}

// quantizedHeads holds keys and values as the INT8 cache does, in the workspace.
type quantizedHeads struct{ k, ks, v, vs cudax.Address }

// QAttention implements backend.Quant: keys and values are quantised as the cache would hold them, as many sequences
// at a time as the workspace has room for.
func (b *Backend) QAttention(out, q, k, v *tensor.Dense, args backend.AttentionArgs) error {
	const op = "QAttention"
	if err := check.Attention(b, op, out, nil, q, k, v, args); err != nil {
		return err
	}
	stride := ceil(args.HeadDim, 4) * 4
	heads := int64(args.Time) * int64(args.KVHeads) // of one sequence
	sequence := 2 * (backend.Align(heads*int64(stride)) + backend.Align(heads*4))
	batch := int(min(int64(args.Batch), b.work.room()/sequence))
	if batch == 0 {
		_, err := b.work.take(op, sequence)
		return err
	}
	for first := 0; first < args.Batch; first += batch {
		n := min(batch, args.Batch-first)
		if err := b.quantizedAttention(op, at(out), at(q), at(k), at(v), &args, first, n, stride); err != nil {
			return err
		}
	}
	return nil
}

// quantizedAttention is QAttention of n sequences from first.
func (b *Backend) quantizedAttention(op string, out, q, k, v cudax.Address, a *backend.AttentionArgs, first, n, stride int) error {
	rows := n * a.Time
	heads := rows * a.KVHeads
	p, err := b.work.take(op, 2*(backend.Align(int64(heads)*int64(stride))+backend.Align(int64(heads)*4)))
	if err != nil {
		return err
	}
	cut := func(bytes int) (at cudax.Address) {
		at = p
		p += cudax.Address(backend.Align(int64(bytes)))
		return at
	}
	kv := quantizedHeads{k: cut(heads * stride), ks: cut(4 * heads), v: cut(heads * stride), vs: cut(4 * heads)}
	skip := cudax.Address(4 * first * a.Time * a.HeadDim) // of one head
	if err := b.quantizeRows(op, kv.k, kv.ks, k+skip*cudax.Address(a.KVHeads), heads, a.HeadDim, stride); err != nil {
		return err
	}
	if err := b.quantizeRows(op, kv.v, kv.vs, v+skip*cudax.Address(a.KVHeads), heads, a.HeadDim, stride); err != nil {
		return err
	}
	skip *= cudax.Address(a.Heads)
	scratch := 4*a.Time + stride // of a warp
	warps := max(1, min(4, (48<<10)/scratch))
	b.begin(op, kernels.QAttentionF32).Ptr(out + skip).Ptr(q + skip).Ptr(kv.k).Ptr(kv.ks).Ptr(kv.v).Ptr(kv.vs).
		I32(rows).I32(a.Time).I32(a.Heads).I32(a.KVHeads).I32(a.HeadDim).I32(stride).I32(window(a)).F32(a.Scale)
	b.task.shared = warps * scratch
	return b.run(line(ceil(rows*a.Heads, warps)), line(32*warps))
}
