package model

import (
	"math"
	"slices"
	"strings"
	"testing"

	"gorgonia.org/tensor"

	"mito/backend"
	"mito/engine/arch"
	"mito/kernels/kerneltest"
	"mito/kernels/sparse"
	"mito/kernels/vec"
)

// lowRank is a product with an adapter beside it, arXiv:2106.09685: y = inner + α·B·(A·x).
type lowRank struct {
	Product
	a, b  *Param // [r,in], [out,r]
	alpha float32
}

type lowRankState struct {
	inner  State
	ax, da *tensor.Dense // [N,r]
}

func newLowRank(l *Linear, own *Declarer, rank int) Product {
	name := strings.TrimSuffix(l.Weight.Name, ".weight")
	return &lowRank{
		Product: l.Product, alpha: 0.5,
		a: own.Declare(name+".lora_A", Matrix, false, rank, l.Module.Cols), b: own.Declare(name+".lora_B", Matrix, true, l.Module.Rows, rank),
	}
}

func (p *lowRank) State(mk *Maker, rows int, training bool) State {
	s := &lowRankState{inner: p.Product.State(mk, rows, training), ax: mk.F32(rows, p.a.Shape[0])}
	if training {
		s.da = mk.F32(rows, p.a.Shape[0])
	}
	return s
}

func (p *lowRank) Forward(b backend.Backend, y, x *tensor.Dense, st State) error {
	s := st.(*lowRankState)
	return backend.First(
		p.Product.Forward(b, y, x, s.inner),
		b.MatMul(s.ax, x, p.a.Value, backend.MatMulArgs{TransB: true}),
		b.MatMul(y, s.ax, p.b.Value, backend.MatMulArgs{TransB: true, Alpha: p.alpha, Accumulate: true}),
	)
}

func (p *lowRank) Backward(b backend.Backend, dx, dy, x *tensor.Dense, st State, addDX bool) error {
	s := st.(*lowRankState)
	if err := backend.First(
		p.Product.Backward(b, dx, dy, x, s.inner, addDX),
		b.MatMul(p.b.Grad, dy, s.ax, backend.MatMulArgs{TransA: true, Alpha: p.alpha, Accumulate: true}),
		b.MatMul(s.da, dy, p.b.Value, backend.MatMulArgs{Alpha: p.alpha}),
		b.MatMul(p.a.Grad, s.da, x, backend.MatMulArgs{TransA: true, Accumulate: true}),
	); err != nil || dx == nil {
		return err
	}
	return b.MatMul(dx, s.da, p.a.Value, backend.MatMulArgs{Accumulate: true})
}

// An adapter on every linear layer of a frozen base: its gradients are those of the float64 oracle, the base has none, and
// with B = 0 the model computes the bits of the base.
func TestAdapters(t *testing.T) {
	for _, v := range some("edge", "gpt2", "llama", "qk-norm", "uneven layers", "ple") {
		b := openCPU(t, 2)
		m := buildModel(t, b, v.config(), Options{
			Grads: true, Trained: func(string) bool { return false },
			Product: func(l *Linear, own *Declarer) Product { return newLowRank(l, own, 3) },
		})
		if got, want := len(m.Params.Added), 2*countMatrices(m); got != want {
			t.Fatalf("%s: %d added parameters, want %d", v.name, got, want)
		}
		data := newBatch(m.Config, 2, 16)
		data.smoothing = v.smoothing
		_, _, grads := data.train(t, m, 2)
		if len(grads) != len(m.Params.Added) {
			t.Fatalf("%s: %d tensors are trained, want the %d that were added", v.name, len(grads), len(m.Params.Added))
		}
		o := oracleOf(t, m, data)
		o.alpha = 0.5
		compareGradients(t, v.name, o, m.Params.Added, grads)

		for _, p := range m.Params.Added {
			if strings.HasSuffix(p.Name, "lora_B") {
				check(t, b.Zero(p.Value))
			}
		}
		_, got, _ := data.train(t, m, 2)
		_, want, _ := data.train(t, newModel(t, b, v.config()), 2)
		if err := kerneltest.Bits(got, want); err != nil {
			t.Errorf("%s: an adapter of zeros: %v", v.name, err)
		}
	}
}

func countMatrices(m *Model) (n int) {
	for _, mod := range m.Config.Modules() {
		if mod.IsMatrix() && mod.Layer >= 0 && !mod.Part.Table() {
			n++
		}
	}
	return n
}

// oracleOf is the oracle of a model with what was added to it.
func oracleOf(t *testing.T, m *Model, data *batch) *oracle {
	host, err := m.Host()
	check(t, err)
	o := newOracle(host, data)
	for _, p := range m.Params.Added {
		v := make([]float32, p.Size())
		check(t, m.b.Download(v, p.Value))
		for _, x := range v {
			o.w[p.Name] = append(o.w[p.Name], float64(x))
		}
	}
	return o
}

// compareGradients compares sampled elements with central differences.
func compareGradients(t *testing.T, name string, o *oracle, params []*Param, grads map[string][]float32) {
	t.Helper()
	largest := 0.0
	want := map[string][]float64{}
	for _, p := range params {
		for _, i := range sample(p) {
			want[p.Name] = append(want[p.Name], o.difference(p.Name, i))
		}
		largest = max(largest, norm(want[p.Name]))
	}
	for _, p := range params {
		var got []float64
		for _, i := range sample(p) {
			got = append(got, float64(grads[p.Name][i]))
		}
		if d := distance(got, want[p.Name]); !(d <= gradTolerance*(norm(want[p.Name])+0.01*largest)) {
			t.Errorf("%s: %s: off by %.3g of %.3g", name, p.Name, d, norm(want[p.Name]))
		}
	}
}

// Freezing takes parameters out of the flat tensors and leaves the gradients of all others bitwise what they were.
func TestFrozen(t *testing.T) {
	for _, v := range variants {
		b := openCPU(t, 2)
		whole := newModel(t, b, v.config())
		data := newBatch(whole.Config, 2, 16)
		data.dropout, data.smoothing = v.dropout, v.smoothing
		_, _, want := data.train(t, whole, 2)
		for what, trained := range map[string]func(string) bool{
			"the last layer and the head": func(name string) bool {
				return !strings.Contains(name, "embed") && !strings.Contains(name, "layers.0.")
			},
			"norms":      func(name string) bool { return strings.Contains(name, "norm") },
			"one norm":   func(name string) bool { return strings.HasPrefix(name, "model.layers.1.post_attention_layernorm") },
			"an output":  func(name string) bool { return strings.HasPrefix(name, "model.layers.1.self_attn.o_proj") },
			"a value":    func(name string) bool { return strings.HasPrefix(name, "model.layers.1.self_attn.v_proj") },
			"q's norm":   func(name string) bool { return strings.HasPrefix(name, "model.layers.1.self_attn.q_norm") },
			"a product":  func(name string) bool { return strings.HasPrefix(name, "model.layers.0.mlp.down_proj") },
			"an upper":   func(name string) bool { return strings.HasPrefix(name, "model.layers.0.mlp.up_proj") },
			"the tables": func(name string) bool { return strings.Contains(name, "embed") || name == "lm_head.weight" },
			"a table":    func(name string) bool { return strings.HasPrefix(name, "model.layers.1.per_layer_embed") },
			"its gate":   func(name string) bool { return strings.HasPrefix(name, "model.layers.0.per_layer_gate") },
			"its output": func(name string) bool { return strings.HasPrefix(name, "model.layers.0.per_layer_projection") },
			"nothing":    func(string) bool { return false },
		} {
			m := buildModel(t, b, v.config(), Options{Grads: true, Trained: trained})
			if len(m.Params.Trained()) == 0 {
				if what == "nothing" && m.Params.Grad != nil {
					t.Errorf("%s, %s: there are gradients", v.name, what)
				}
				continue
			}
			_, _, got := data.train(t, m, 2)
			for _, p := range m.Params.List {
				if g, ok := got[p.Name]; ok != trained(p.Name) || p.Frozen == ok {
					t.Errorf("%s, %s: %s is trained: %v", v.name, what, p.Name, ok)
				} else if ok {
					if err := kerneltest.Bits(g, want[p.Name]); err != nil {
						t.Errorf("%s, %s: gradient of %s: %v", v.name, what, p.Name, err)
					}
				}
			}
			// What ships holds the frozen ones too.
			tensors, err := m.Tensors(m.Params.Value)
			check(t, err)
			all, err := whole.Tensors(whole.Params.Value)
			check(t, err)
			for i := range all {
				if tensors[i].Name != all[i].Name || !slices.Equal(tensors[i].Data, all[i].Data) {
					t.Errorf("%s, %s: %s ships differently", v.name, what, all[i].Name)
				}
			}
		}
	}
}

// counting is a backend that counts matrix products.
type counting struct {
	backend.Backend
	products int
}

func (b *counting) MatMul(c, x, y *tensor.Dense, args backend.MatMulArgs) error {
	b.products++
	return b.Backend.MatMul(c, x, y, args)
}

// A backward pass goes no deeper than there is something to train.
func TestBackwardEndsAtTheLowestTrained(t *testing.T) {
	b := &counting{Backend: openCPU(t, 1)}
	c := small()
	c.Layers = 4
	data := newBatch(c, 1, 8)
	products := func(trained string) int {
		m := buildModel(t, b, c, Options{Grads: true, Trained: func(name string) bool { return strings.Contains(name, trained) }})
		a, err := m.NewActivations(1, 8, true)
		check(t, err)
		defer a.Close()
		data.load(t, m, a, 0, 1)
		check(t, m.Forward(a))
		b.products = 0
		check(t, m.Backward(a))
		return b.products
	}
	// The head passes its gradient on; each layer has six matrices, of which one more product is the gradient of its own. In the
	// lowest layer nothing is computed that nobody reads: what is trained there is as far as the pass goes.
	const head, layer, own = 1, 6, 1
	for trained, want := range map[string]int{
		"model.norm": head, "layers.3.mlp.down": head + own, "layers.3.mlp.up": head + 1 + own, "layers.1.mlp.up": head + 2*layer + 1 + own,
		"layers.3.post_attention_layernorm": head + 2, "layers.3.self_attn.o_proj": head + 2 + own, "layers.3.self_attn.q_proj": head + 3 + own,
		"layers.3.input_layernorm": head + layer,
	} {
		if got := products(trained); got != want {
			t.Errorf("%s is trained: %d products in the backward pass, want %d", trained, got, want)
		}
	}
}

// A mask clears weights and gradients, keeps them clear in whatever has the layout of the parameters, and advances the epoch.
func TestMask(t *testing.T) {
	b := openCPU(t, 2)
	const name = "model.layers.1.mlp.up_proj.weight"
	m := buildModel(t, b, small(), Options{Grads: true, Masked: func(n string) bool { return n == name }})
	p := m.Params.Lookup(name)
	data := newBatch(m.Config, 2, 16)
	_, _, before := data.train(t, m, 2)
	_, _, plain := data.train(t, newModel(t, b, small()), 2)
	check(t, kerneltest.Bits(before[name], plain[name])) // a mask of ones hides nothing

	mask := make([]float32, p.Size())
	for i := range mask {
		mask[i] = float32(i % 3 % 2)
	}
	epoch := m.Epoch()
	check(t, m.SetMask(p, mask))
	if m.Epoch() == epoch {
		t.Error("a new mask has the old epoch")
	}
	average, err := b.NewSlab(int64(4 * m.Params.Length()))
	check(t, err)
	flat, err := average.New(backend.F32, m.Params.Length())
	check(t, err)
	check(t, b.Upload(flat, ones(m.Params.Length())))
	check(t, m.ApplyMasks(flat))
	_, _, grads := data.train(t, m, 2)
	values, masked := p.Value.Float32s(), flat.Float32s()[p.Offset():][:p.Size()]
	for i := range mask {
		if dead := mask[i] == 0; dead != (values[i] == 0) || dead != (masked[i] == 0) || dead && grads[name][i] != 0 {
			t.Fatalf("element %d with mask %v: weight %v, average %v, gradient %v", i, mask[i], values[i], masked[i], grads[name][i])
		}
	}
	if other := flat.Float32s()[0]; other != 1 {
		t.Errorf("the mask reaches another parameter: %v", other)
	}
	if err := m.SetMask(m.Params.List[0], nil); err == nil {
		t.Error("a mask on a parameter that has none")
	}
	check(t, average.Free())
}

// coded is a product of INT8 weights, dense or in blocks: QLinear or QSparseLinear on rows that are quantised as they come.
type coded struct {
	b          backend.Backend
	rows, cols int
	blocks     bool
	q, scale   *tensor.Dense
	packed     backend.BlockSparse
	bias       *Param
	host       []int8
}

type codedState struct{ xq, xscale *tensor.Dense }

func (p *coded) Allocate(mk *Maker) {
	p.scale = mk.F32(p.rows)
	if !p.blocks {
		p.q = mk.Make(backend.I8, p.rows, p.cols)
		return
	}
	n := p.rows / sparse.BlockRows * (p.cols / sparse.BlockCols) // all blocks, whatever they hold
	p.packed = backend.BlockSparse{
		M: p.rows, K: p.cols, Values: mk.Make(backend.I8, n, 32), Columns: mk.Make(backend.I32, n), RowPtr: mk.Make(backend.I32, p.rows/sparse.BlockRows+1),
	}
}

func (p *coded) Hold(b backend.Backend, weight []float32) error {
	scales := make([]float32, p.rows)
	p.host = make([]int8, len(weight))
	for r := range scales {
		scales[r] = vec.QuantizeRow(p.host[r*p.cols:][:p.cols], weight[r*p.cols:][:p.cols])
	}
	if err := b.Upload(p.scale, scales); err != nil || !p.blocks {
		return backend.First(err, b.Upload(p.q, p.host))
	}
	var values []int8
	var columns []int32
	starts := []int32{0}
	for r := 0; r < p.rows; r += sparse.BlockRows {
		for c := 0; c < p.cols; c += sparse.BlockCols {
			for i := range sparse.BlockRows {
				values = append(values, p.host[(r+i)*p.cols+c:][:sparse.BlockCols]...)
			}
			columns = append(columns, int32(c/sparse.BlockCols))
		}
		starts = append(starts, int32(len(columns)))
	}
	return backend.First(b.Upload(p.packed.Values, values), b.Upload(p.packed.Columns, columns), b.Upload(p.packed.RowPtr, starts))
}

func (p *coded) State(mk *Maker, rows int, _ bool) State {
	return &codedState{xq: mk.Make(backend.I8, rows, p.cols), xscale: mk.F32(rows)}
}

func (p *coded) Forward(b backend.Backend, y, x *tensor.Dense, st State) error {
	s := st.(*codedState)
	if err := b.QuantizeRows(s.xq, s.xscale, x); err != nil {
		return err
	}
	if p.blocks {
		return b.QSparseLinear(y, s.xq, s.xscale, p.packed, p.scale, value(p.bias))
	}
	return b.QLinear(y, s.xq, s.xscale, p.q, p.scale, value(p.bias))
}

func (p *coded) Backward(backend.Backend, *tensor.Dense, *tensor.Dense, *tensor.Dense, State, bool) error {
	return backend.ErrUnsupported
}

// INT8 weights, dense and in blocks, take the place of float32 ones without a layer knowing: the float32 parameter takes no
// memory, both forms compute the same bits, and those are near the float32 model's.
func TestHeldWeights(t *testing.T) {
	c := small()
	c.HiddenSize, c.IntermediateSize, c.HeadDim, c.KVHeads = 16, 32, 8, 4
	b := openCPU(t, 2)
	data := newBatch(c, 2, 16)
	logits := map[bool][]float32{}
	for _, blocks := range []bool{false, true} {
		m := buildModel(t, b, c, Options{Product: func(l *Linear, _ *Declarer) Product {
			return &coded{b: b, rows: l.Module.Rows, cols: l.Module.Cols, blocks: blocks, bias: l.Bias}
		}})
		if p := m.Params.Lookup("model.layers.0.mlp.up_proj.weight"); p.Value != nil {
			t.Error("the float32 weight takes memory")
		}
		a, err := m.NewActivations(2, 16, false)
		check(t, err)
		data.load(t, m, a, 0, 2)
		check(t, m.Forward(a))
		logits[blocks] = make([]float32, 2*16*c.VocabSize)
		check(t, b.Download(logits[blocks], a.Logits))
		check(t, a.Close())
	}
	check(t, kerneltest.Bits(logits[true], logits[false]))
	_, want, _ := data.train(t, newModel(t, b, c), 2)
	var off, size float64
	for i, v := range want {
		off += math.Pow(float64(v-logits[false][i]), 2)
		size += float64(v) * float64(v)
	}
	if ratio := math.Sqrt(off / size); ratio == 0 || ratio > 0.1 {
		t.Errorf("INT8 logits are off by %v of the float32 ones", ratio)
	}
}

// A name that is there already is refused, wherever it comes from.
func TestAddedNames(t *testing.T) {
	b := openCPU(t, 1)
	for _, name := range []string{"model.norm.weight", "mine"} {
		if _, err := Build(b, small(), Options{Product: func(_ *Linear, own *Declarer) Product {
			own.Declare(name, Vector, true, 1)
			return nil
		}}); err == nil {
			t.Errorf("%s was declared twice", name)
		}
	}
	m := buildModel(t, b, small(), Options{Grads: true})
	if got, want := len(m.Linears()), countMatrices(m)+1; got != want {
		t.Errorf("%d linear layers, want %d", got, want)
	}
	if m.Linears()[0].Module.Part != arch.Query {
		t.Errorf("the first is %v", m.Linears()[0].Module)
	}
}
