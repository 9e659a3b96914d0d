package cuda

import (
	"gorgonia.org/tensor"

	"mito/backend"
	"mito/backend/cuda/cudax"
	"mito/backend/internal/check"
	kernels "mito/kernels/cuda"
)

// matrix is a product c [m,n] = op(a)·op(b) on device addresses.
type matrix struct {
	c, a, b, bias  cudax.Address
	m, n, k        int
	transA, transB bool
	accumulate     bool
	alpha          float32 // 0 means 1
	epilogue       epilogue
	types          int         // which tensors are bfloat16: typeA and so on
	also           [2]operands // further products of the same shape in the launch
	members        int         // 0 and 1 mean one
	chain          bool        // they add up in c
}

// Bits of types; those of struct Epilogue in epilogue.cuh.
const (
	typeA = 1 << iota
	typeB
	typeC
	typeSecond
	typeOther
)

// operands are those of a product that shares the launch of another.
type operands struct{ c, a, b cudax.Address }

// form indexes the kernels by transposition: nn, nt, tn, tt.
func (x *matrix) form() int { return 2*flag(x.transA) + flag(x.transB) }

var (
	gemmF32 = [4]kernels.Kernel{kernels.GemmF32NN, kernels.GemmF32NT, kernels.GemmF32TN, kernels.GemmF32TT}
	gemm128 = [4]kernels.Kernel{kernels.GemmBF16NNx128, kernels.GemmBF16NTx128, kernels.GemmBF16TNx128, kernels.GemmBF16TTx128}
	gemm64  = [4]kernels.Kernel{kernels.GemmBF16NNx64, kernels.GemmBF16NTx64, kernels.GemmBF16TNx64, kernels.GemmBF16TTx64}
)

// MatMul implements backend.Linear.
func (b *Backend) MatMul(c, a, bb *tensor.Dense, args backend.MatMulArgs) error {
	m, n, k, err := check.MatMul(b, c, a, bb, args)
	if err != nil {
		return err
	}
	x := matrix{
		c: at(c), a: at(a), b: at(bb), bias: at(args.Bias), m: m, n: n, k: k,
		transA: args.TransA, transB: args.TransB, accumulate: args.Accumulate,
		alpha: args.Alpha, types: flags(half(a), half(bb), half(c)),
	}
	if args.Add != nil {
		x.epilogue = epilogue{kind: epilogueSum, other: at(args.Add)}
	}
	return b.hold("MatMul", x)
}

func (b *Backend) product(op string, x *matrix) error {
	if x.alpha == 0 {
		x.alpha = 1
	}
	if b.bf16 {
		if done, err := b.productLt(op, x); done || err != nil {
			return err
		}
		return b.productBF16(op, x)
	}
	const tile, threads = 64, 128
	b.begin(op, gemmF32[x.form()]).Ptr(x.c).Ptr(x.a).Ptr(x.b).Ptr(x.bias).Ptr(x.epilogue.second).Ptr(x.epilogue.other).
		I32(x.m).I32(x.n).I32(x.k).F32(x.alpha).I32(flag(x.accumulate)).I32(x.epilogue.kind)
	return b.run(cudax.Dim{X: ceil(x.n, tile), Y: ceil(x.m, tile), Z: 1}, line(threads))
}

// tiling is how a product is cut into blocks: square tiles of c, and parts of k.
type tiling struct{ tile, parts, part int }

// pipeStep is how much of k a block multiplies between two barriers.
const pipeStep = 32

// minPart is the least of k that is worth a part of its own.
const minPart = 256

// tilingOf gives every processor a block where the product is large enough for that: large tiles read least, parts of
// k make up for few of them (a weight's gradient is a small matrix and a long sum), and small tiles are for the rest.
func tilingOf(m, n, k, processors int, room int64) tiling {
	blocks := func(tile int) int { return ceil(m, tile) * ceil(n, tile) }
	parts := func(tile int) int {
		p := max(1, min(processors/blocks(tile), k/minPart))
		if maxMembers*blocks(tile) > gemmCounterCount {
			p = 1
		}
		if p > 1 && int64(p)*int64(m)*int64(n)*4 > room {
			p = max(1, int(room/(int64(m)*int64(n)*4)))
		}
		return p
	}
	t := tiling{tile: 128, parts: parts(128)}
	if m < 128 || n < 128 || 2*blocks(128)*t.parts < processors {
		if small := parts(64); blocks(64)*small >= blocks(128)*t.parts {
			t = tiling{tile: 64, parts: small}
		}
	}
	t.part = ceil(ceil(k, t.parts), pipeStep) * pipeStep
	t.parts = ceil(k, t.part)
	return t
}

// stages is how many steps of k lie in shared memory at once, and the bytes of these: both operands of a step as float32.
func (t *tiling) stages(maxShared int) (n, bytes int) {
	const most, least, rest = 4, 3, 1 << 10 // rest: what else a block has there
	stage := 2 * t.tile * pipeStep * f32
	if n = most; n*stage+rest > maxShared {
		n = least
	}
	return n, n * stage
}

func (b *Backend) productBF16(op string, x *matrix) error {
	members := max(1, x.members)
	apart := members // products that parts of k are for
	if x.chain {
		apart = 1
	}
	t := tilingOf(x.m, x.n, x.k, b.card.processors/apart, b.work.room()/int64(apart))
	if x.chain && t.parts > 1 {
		return b.eachMember(op, x)
	}
	kernel, threads := gemm128[x.form()], 256
	if t.tile == 64 {
		kernel, threads = gemm64[x.form()], 128
	}
	var partial cudax.Address
	if t.parts > 1 {
		var err error
		if partial, err = b.work.take(op, int64(apart)*int64(t.parts)*int64(x.m)*int64(x.n)*4); err != nil {
			return err
		}
	}
	args := b.begin(op, kernel).Ptr(x.c).Ptr(partial).Ptr(b.work.head(gemmCounters)).Ptr(x.a).Ptr(x.b).Ptr(x.bias).
		Ptr(x.epilogue.second).Ptr(x.epilogue.other).I32(x.m).I32(x.n).I32(x.k).I32(t.part).F32(x.alpha).
		I32(flag(x.accumulate)).I32(x.epilogue.kind).I32(members).I32(flag(x.chain))
	for i := range x.also {
		args.Ptr(x.also[i].c).Ptr(x.also[i].a).Ptr(x.also[i].b)
	}
	stages, bytes := t.stages(b.card.maxShared)
	args.I32(stages).I32(x.types)
	b.task.shared = bytes
	return b.run(cudax.Dim{X: ceil(x.n, t.tile), Y: ceil(x.m, t.tile), Z: apart * t.parts}, line(threads))
}

// eachMember sends the products of a chain one by one.
func (b *Backend) eachMember(op string, x *matrix) error {
	for i := range x.members {
		one := *x
		one.members, one.chain = 1, false
		if i > 0 {
			one.a, one.b, one.accumulate = x.also[i-1].a, x.also[i-1].b, true
		}
		if err := b.productBF16(op, &one); err != nil {
			return err
		}
	}
	return nil
}

// SumRows implements backend.Linear.
func (b *Backend) SumRows(dst, x *tensor.Dense) error {
	n, c, err := check.SumRows(b, dst, x)
	if err != nil {
		return err
	}
	each, blocks := b.share(n, 64, c)
	partial, err := b.work.take("SumRows", int64(blocks)*int64(c)*4)
	if err != nil {
		return err
	}
	b.begin("SumRows", kernels.SumRowsF32).Ptr(partial).Ptr(at(x)).I32(n).I32(c).I32(each).I32(flag(half(x)))
	if err := b.run(cudax.Dim{X: ceil(c, 32), Y: blocks, Z: 1}, line(256)); err != nil {
		return err
	}
	return b.addPartials("SumRows", at(dst), partial, blocks, c, c)
}

// share cuts n rows into blocks of at least least rows, as many as keep the device busy and fit the workspace with
// width floats each.
func (b *Backend) share(n, least, width int) (each, blocks int) {
	most := max(1, min(2*b.card.processors, int(b.work.room()/(4*int64(width)))))
	each = max(least, ceil(n, most))
	return each, ceil(n, each)
}

// addPartials adds partial [blocks, stride], of each row the first cols, to dst.
func (b *Backend) addPartials(op string, dst, partial cudax.Address, blocks, cols, stride int) error {
	b.begin(op, kernels.AddPartialsF32).Ptr(dst).Ptr(partial).I32(blocks).I32(cols).I32(stride)
	return b.run(line(ceil(cols, 32)), line(256))
}
