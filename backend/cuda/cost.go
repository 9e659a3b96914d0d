package cuda

import (
	"fmt"
	"math"

	"mito/backend"
	"mito/backend/cuda/cudax"
	kernels "mito/kernels/cuda"
)

// Cost is what a launch needs at least: its arithmetic, and every byte of its operands moved once. What a kernel reads again
// because its tiles overlap is left out: caches hold some of it, and a roofline is a limit.
type Cost struct {
	Tensor  float64 // FLOPs on tensor cores
	Float32 float64 // FLOPs of ordinary float32
	Bytes   float64 // read and written
}

// Seconds is the roofline time on a card: the longest of what each of its units needs.
func (c Cost) Seconds(card *Card) float64 {
	return max(c.Bytes/card.Bandwidth, c.Tensor/card.TensorBF16, c.Float32/card.Float32)
}

// Limit names the unit that the roofline time of a card comes from.
func (c Cost) Limit(card *Card) string {
	switch c.Seconds(card) {
	case c.Bytes / card.Bandwidth:
		return "memory"
	case c.Tensor / card.TensorBF16:
		return "tensor cores"
	}
	return "float32"
}

// Cost computes the cost of a launch from its arguments. The error says that a kernel has no cost function.
func (n *Note) Cost() (Cost, error) {
	if !n.Launches() {
		return Cost{Bytes: float64(n.Moved)}, nil
	}
	f := costs[n.Kernel]
	if f == nil {
		return Cost{}, fmt.Errorf("cuda: kernel %s has no cost: %w", n.Kernel, backend.ErrUnsupported)
	}
	return f(arguments{&n.Args, n.Grid, n.plan}), nil
}

// Shape tells launches of one kernel apart: the numbers among the arguments, without addresses.
func (n *Note) Shape() string {
	if !n.Launches() {
		return fmt.Sprintf("%d bytes", n.Moved)
	}
	s := fmt.Sprintf("%d×%d×%d", n.Grid.X, n.Grid.Y, n.Grid.Z)
	for i, p := range kernels.Table[n.Kernel].Params {
		if p == 'i' {
			s += fmt.Sprintf(" %d", int32(n.Args.Word(i)))
		}
	}
	return s
}

// arguments reads the arguments of a launch as numbers.
type arguments struct {
	args *cudax.Args
	grid cudax.Dim
	plan *backend.MuonPlan // of Muon's kernels
}

func (a arguments) i(k int) float64    { return float64(int32(a.args.Word(k))) }
func (a arguments) long(k int) float64 { return float64(int64(a.args.Word(k))) }

// has is 1 where argument k is not zero: a pointer that is given, a flag that is set.
func (a arguments) has(k int) float64 {
	if a.args.Word(k) == 0 {
		return 0
	}
	return 1
}

// distinct is how many different addresses there are among the first n of some arguments.
func (a arguments) distinct(n int, at ...int) float64 {
	seen := map[uint64]bool{}
	for _, i := range at[:n] {
		seen[a.args.Word(i)] = true
	}
	return float64(len(seen))
}

const f32 = 4 // bytes

// width is the number of bytes of an element of a tensor that bit of argument k says to be of bfloat16.
func (a arguments) width(k, bit int) float64 {
	if int(a.i(k))&bit != 0 {
		return 2
	}
	return f32
}

// streams is the cost of a kernel that does so many operations for each of n elements, argument k, and reads and writes so
// many tensors of n.
func streams(k int, operations, tensors float64) func(arguments) Cost {
	return func(a arguments) Cost {
		n := a.long(k)
		return Cost{Float32: operations * n, Bytes: tensors * f32 * n}
	}
}

// halfStreams is streams of a kernel whose argument k+1 says that the tensors are of bfloat16.
func halfStreams(k int, operations, tensors float64) func(arguments) Cost {
	return func(a arguments) Cost {
		n := a.long(k)
		return Cost{Float32: operations * n, Bytes: tensors * a.width(k+1, 1) * n}
	}
}

// epilogueCost is the bytes that the epilogue of an element moves beside the store of the result.
func epilogueCost(kind int, second, other float64) float64 {
	switch kind {
	case epilogueAdd:
		return second + other
	case epilogueReLU, epilogueReLU2:
		return second
	case epilogueReLUBackward, epilogueReLU2Backward, epilogueReLU2OutputBackward, epilogueSum:
		return other
	}
	return 0
}

// gemmCost is that of a product whose sizes begin at argument at. Those on tensor cores have parts of k, members and types.
func gemmCost(at int, tensor bool) func(arguments) Cost {
	return func(a arguments) Cost {
		m, n, k := a.i(at), a.i(at+1), a.i(at+2)
		if !tensor {
			return Cost{Float32: 2 * m * n * k, Bytes: f32*(m*k+k*n+m*n*(1+a.has(at+4))) + m*n*epilogueCost(int(a.i(at+5)), f32, f32)}
		}
		width := func(bit int) float64 { return a.width(at+16, bit) }
		members, results := int(a.i(at+7)), a.i(at+7)
		if a.has(at+8) == 1 { // they add up in one
			results = 1
		}
		c := Cost{
			Tensor: float64(members) * 2 * m * n * k,
			Bytes:  m * n * results * (width(typeC)*(1+a.has(at+5)) + epilogueCost(int(a.i(at+6)), width(typeSecond), width(typeOther))),
		}
		c.Bytes += width(typeA)*m*k*a.distinct(members, 3, at+10, at+13) + width(typeB)*k*n*a.distinct(members, 4, at+11, at+14)
		if parts := float64(a.grid.Z) / results; parts > 1 { // written, read and added up
			c.Float32 += results * parts * m * n
			c.Bytes += 2 * f32 * results * parts * m * n
		}
		return c
	}
}

// pairs is the number of queries and keys that see each other in one head of one sequence.
func pairs(time, window float64) float64 {
	if window > 0 && window < time {
		return window*(window+1)/2 + (time-window)*window
	}
	return time * (time + 1) / 2
}

// attentionCost is that of a pass whose shape begins at argument at, with so many FLOPs for each pair and channel, so many
// tensors as large as q, as k, and as lse.
func attentionCost(at int, tensor bool, flops, queries, keys, rows float64) func(arguments) Cost {
	return func(a arguments) Cost {
		time, heads, kv, dim := a.i(at), a.i(at+1), a.i(at+2), a.i(at+3)
		n := time * float64(a.grid.Z)
		work := flops * dim * heads * float64(a.grid.Z) * pairs(time, a.i(at+4))
		c := Cost{Bytes: n * (a.width(at+7, 1)*(queries*heads*dim+keys*kv*dim) + f32*rows*heads)}
		if tensor {
			c.Tensor = work
		} else {
			c.Float32 = work
		}
		return c
	}
}

// rowLoss is the cost of a loss over rows of argument cols that reads and writes so many tensors of their size, and one more
// where argument also is given.
func rowLoss(cols int, tensors float64, also int) func(arguments) Cost {
	return func(a arguments) Cost {
		n := float64(a.grid.X) * a.i(cols)
		return Cost{Float32: 20 * n, Bytes: f32 * ((tensors+a.has(also))*n + 3*float64(a.grid.X))}
	}
}

// muonElements is the number of elements of a plan's matrices.
func muonElements(plan *backend.MuonPlan) (n float64) {
	if plan == nil {
		return 0
	}
	for _, m := range plan.Matrices() {
		n += float64(m.M) * float64(m.N)
	}
	return n
}

// muonProductCost is that of the products of one stage. Tiles above the diagonal of a symmetric one are not computed.
func muonProductCost(tensor bool) func(arguments) Cost {
	return func(a arguments) (c Cost) {
		if a.plan == nil {
			return c
		}
		flops := 0.0
		for _, m := range a.plan.Matrices()[int(a.i(1)):int(a.i(2))] {
			side, long := float64(min(m.M, m.N)), float64(max(m.M, m.N))
			tiles := math.Ceil(side / backend.MuonTile)
			lower := (tiles + 1) / (2 * tiles) // share of the tiles
			switch int(a.i(3)) {
			case muonGram:
				flops, c.Bytes = flops+2*side*side*long*lower, c.Bytes+f32*(side*long+side*side)
			case muonPolynomial:
				flops, c.Bytes = flops+2*side*side*side*lower, c.Bytes+f32*2*side*side
			case muonApply:
				flops, c.Bytes = flops+2*side*side*long, c.Bytes+f32*(2*side*long+side*side)
			}
		}
		if tensor {
			c.Tensor = flops
		} else {
			c.Float32 = flops
		}
		return c
	}
}
