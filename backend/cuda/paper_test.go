package cuda

import (
	"errors"
	"math"
	"strings"
	"testing"

	"gorgonia.org/tensor"

	"mito/backend"
	kernels "mito/kernels/cuda"
)

// onPaper opens a backend on an H100 of paper.
func onPaper(t *testing.T, p backend.Precision) (*Backend, *Paper) {
	t.Helper()
	card, _ := CardByID("h100")
	b, paper, err := OpenPaper(card, backend.Options{Precision: p})
	if errors.Is(err, backend.ErrUnsupported) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b, paper
}

// newOnPaper makes tensors of some shapes.
func newOnPaper(t *testing.T, b *Backend, shapes ...[]int) []*tensor.Dense {
	t.Helper()
	slab, err := b.NewSlab(1 << 30)
	if err != nil {
		t.Fatal(err)
	}
	var all []*tensor.Dense
	for _, s := range shapes {
		x, err := slab.New(backend.F32, s...)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, x)
	}
	return all
}

// taken is what an operation sent.
func taken(t *testing.T, b *Backend, p *Paper, op func() error) []Note {
	t.Helper()
	p.Take()
	if err := errors.Join(op(), b.Synchronize()); err != nil {
		t.Fatal(err)
	}
	return p.Take()
}

// Costs by hand: a product of 2048x1536x384 with an addition to its result, one in parts, attention, RMSNorm backward, AdamW.
func TestCostsByHand(t *testing.T) {
	b, p := onPaper(t, backend.BFloat16)
	const n, c, f = 2048, 384, 1536
	x := newOnPaper(t, b, []int{n, c}, []int{f, c}, []int{n, f}, []int{n, f}, []int{n, f}, []int{f, c}, []int{n, 6}, []int{n, c}, []int{n, c}, []int{n, c}, []int{c}, []int{n}, []int{backend.StepLen})
	small, weight, wide, sum, other, gradient, lse := x[0], x[1], x[2], x[3], x[4], x[5], x[6]
	q, k, v, gain, rstd, step := x[7], x[8], x[9], x[10], x[11], x[12]
	const mib = 4.0 * n * c
	attended := backend.AttentionArgs{Batch: 8, Time: 256, Heads: 6, KVHeads: 6, HeadDim: 64, Scale: 0.125}
	for _, want := range []struct {
		name    string
		op      func() error
		kernels string
		cost    Cost
	}{
		{"product and addition", func() error {
			return errors.Join(b.MatMul(wide, small, weight, backend.MatMulArgs{TransB: true}), b.Add(sum, wide, other))
		}, "gemm_bf16_nt_128", Cost{Tensor: 2 * n * c * f, Bytes: 4 * (n*c + f*c + 3*n*f)}},
		// 3x12 tiles of 128 on 132 processors: three parts of 704 rows.
		{"product in parts", func() error {
			return b.MatMul(gradient, wide, small, backend.MatMulArgs{TransA: true, Accumulate: true})
		}, "gemm_bf16_tn_128", Cost{Tensor: 2 * n * c * f, Float32: 3 * f * c, Bytes: 4 * (n*c + n*f + 3*f*c + 3*f*c + 2*f*c)}},
		{"attention", func() error { return b.Attention(small, lse, q, k, v, attended) }, "attention_bf16_64",
			Cost{Tensor: 4 * 64 * 6 * 8 * 256 * 257 / 2, Bytes: 4*mib + 4*n*6}},
		{"norm backward", func() error { return b.RMSNormBackward(q, gain, q, k, gain, rstd, false) }, "norm_backward_f32 add_partials_f32",
			Cost{Float32: 12*n*c + 64*c, Bytes: 3*mib + 4*n + 4*64*c + 4*(64*c+64+2*c)}},
		{"AdamW", func() error {
			return b.AdamW(q, k, v, small, step, backend.AdamWArgs{Beta1: 0.9, Beta2: 0.99, Eps: 1e-8})
		}, "adamw_f32", Cost{Float32: 15 * n * c, Bytes: 7 * mib}},
		{"clearing", func() error { return b.Zero(q) }, "copy", Cost{Bytes: mib}},
	} {
		var got Cost
		var names []string
		for _, note := range taken(t, b, p, want.op) {
			cost, err := note.Cost()
			if err != nil {
				t.Fatal(err)
			}
			got = Cost{got.Tensor + cost.Tensor, got.Float32 + cost.Float32, got.Bytes + cost.Bytes}
			names = append(names, note.Name())
		}
		if s := strings.Join(names, " "); s != want.kernels || got != want.cost {
			t.Errorf("%s: %s costs %+v, want %s, %+v", want.name, s, got, want.kernels, want.cost)
		}
	}
}

// The roofline is the busiest unit.
func TestRoofline(t *testing.T) {
	card := Card{Bandwidth: 10, TensorBF16: 100, Float32: 20}
	for _, c := range []struct {
		cost    Cost
		seconds float64
		limit   string
	}{
		{Cost{Tensor: 100, Float32: 10, Bytes: 20}, 2, "memory"}, {Cost{Tensor: 500, Float32: 10, Bytes: 20}, 5, "tensor cores"},
		{Cost{Tensor: 100, Float32: 70, Bytes: 20}, 3.5, "float32"},
	} {
		if s, l := c.cost.Seconds(&card), c.cost.Limit(&card); math.Abs(s-c.seconds) > 1e-12 || l != c.limit {
			t.Errorf("%+v takes %v by %s", c.cost, s, l)
		}
	}
}

// Every kernel but the student's has a cost.
func TestKernelsWithoutCost(t *testing.T) {
	for k := range kernels.KernelCount {
		n := Note{Kernel: k}
		for range kernels.Table[k].Params {
			n.Args.I32(1)
		}
		_, err := n.Cost()
		if student := kernels.Table[k].Module == "quant"; errors.Is(err, backend.ErrUnsupported) != student {
			t.Errorf("%s: %v", k, err)
		}
	}
}

// A recording is noted when it is replayed, as often as that, with one call for all of it; memory runs out as on a card.
func TestPaperRecords(t *testing.T) {
	b, p := onPaper(t, backend.Float32)
	x := newOnPaper(t, b, []int{8, 8}, []int{8, 8})
	var g backend.Graph
	if notes := taken(t, b, p, func() (err error) {
		g, err = b.Capture(func() error { return errors.Join(b.Add(x[0], x[0], x[1]), b.Zero(x[1])) })
		return err
	}); len(notes) != 0 {
		t.Errorf("recording sent %+v", notes)
	}
	notes := taken(t, b, p, func() error { return errors.Join(g.Replay(), g.Replay(), b.Add(x[0], x[0], x[1])) })
	var calls int
	for i := range notes {
		if !notes[i].Replay || notes[i].First {
			calls++
		}
	}
	if len(notes) != 5 || calls != 3 {
		t.Errorf("%d notes in %d calls: %+v", len(notes), calls, notes)
	}
	got := []float32{1}
	if err := b.Download(got, newOnPaper(t, b, []int{1})[0]); err != nil || got[0] != 0 {
		t.Errorf("downloaded %v, %v", got, err)
	}
	if _, err := b.NewSlab(1 << 40); !errors.Is(err, backend.ErrOutOfMemory) {
		t.Error(err)
	}
}
