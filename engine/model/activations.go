package model

import (
	"fmt"

	"gorgonia.org/tensor"

	"mito/backend"
	"mito/engine/arch"
)

// Batch is the shape of what a pass sees, and where it begins and ends.
type Batch struct {
	Rows, Time int
	// Training keeps what the backward pass needs. Without it the layers share one set of activations and only Forward may
	// be called.
	Training bool
	// From is the layer that passes begin at; Hidden(From) is then an input, such as the cached output of a frozen prefix,
	// and the layers before it take no memory.
	From int
	// Middle has some layers see fewer tokens; nil has all see all.
	Middle *Middle
	// Taps are the layers whose input an objective reads and gives a gradient to, see Activations.DHidden. The number of
	// layers means the output of the last.
	Taps []int
}

// Middle says that layers From to To-1 see only Time tokens of each row, which Model.Keep picks. The others pass by on the
// residual stream; positions stay what they are, and windows count positions.
type Middle struct{ From, To, Time int }

// Activations holds everything of a forward and backward pass that depends on the batch. The exported tensors are
// the model's inputs and outputs.
type Activations struct {
	Batch, Time int

	Inputs    *tensor.Dense // [B,T] i32
	Positions *tensor.Dense // [B,T] i32
	Targets   *tensor.Dense // [B,T] i32
	Weights   *tensor.Dense // [B,T] f32, the loss mask
	Loss      *tensor.Dense // [B,T] f32, weighted nats
	Logits    *tensor.Dense // [B,T,V] f32
	DLogits   *tensor.Dense // [B,T,V] f32; nil without training

	// Those of the second head, nil without one. A gradient that the objective does not set is zero.
	AuxLogits, DAuxLogits *tensor.Dense // [B,T,classes]

	// Dropout is the rate during training. Seed and Row place the masks of this micro-batch; the seed in Step, where there
	// is one, is added (see backend.DropoutArgs).
	Dropout float32
	Seed    uint64
	Row     int64 // in tokens
	Step    *tensor.Dense

	slab   backend.Slab
	shape  Batch
	x      []*tensor.Dense     // residual stream before each layer and after the last [N,C]
	layers []*layerActivations // nil before shape.From
	middle *middleActivations  // nil without

	final      *tensor.Dense // [N,C]
	finalStats normStats
	headState  State
	placed     []Placer // of the layers' states

	// Gradients. All layers share their memory.
	dx    *tensor.Dense // [N,C]
	grads []*layerGradients
	taps  map[int]*tensor.Dense
}

// middleActivations are the streams at both ends of the layers that see fewer tokens.
type middleActivations struct {
	Middle
	kept         *tensor.Dense         // [B,T'] i32 the rows of the batch that these layers see, from 0 to B·T-1
	positions    *tensor.Dense         // [B,T'] i32
	others       *tensor.Dense         // [B,T] i32: 1 for the rows that pass by, 0 for those that are kept
	starts       map[int]*tensor.Dense // [B,T'] i32 by window: the first kept row of its sequence that each sees
	enter, leave *tensor.Dense         // [N',C]: the kept rows before the first of these layers and behind the last
	zeroOne      *tensor.Dense         // [2,C] zeros and ones
	passed       *tensor.Dense         // [N,C] the rows of zeroOne that others names
	dx           *tensor.Dense         // [N',C]
	ple          *tensor.Dense         // [N,E] per-layer embeddings of all tokens, nil without
}

// layerActivations is what one layer keeps for its backward pass. Streams and statistics are of float32, the rest of Model.act.
type layerActivations struct {
	batch, time          int
	positions            *tensor.Dense
	starts               *tensor.Dense // of attention in the middle with a window, else nil
	branch               *tensor.Dense // what a branch adds to the stream [N,C] where that is not added at once; all layers share its memory
	n1, n2               *tensor.Dense // [N,C]
	stats1, stats2       normStats
	qRaw, kRaw           *tensor.Dense // before QK-norm [N,H·D], [N,G·D]
	q, k, v              *tensor.Dense // as attention sees them
	qRawHeads, kRawHeads *tensor.Dense // one row per head
	qHeads, kHeads       *tensor.Dense
	qStats, kStats       normStats
	attn, lse            *tensor.Dense // [N,H·D], [N,H]
	exact                *tensor.Dense // [N,H·D] attention without rounding, beside attn with it; nil in a model that never rounds
	mid                  *tensor.Dense // residual stream between the branches [N,C]
	up, gate, hidden     *tensor.Dense // [N,F]; up is hidden where the activation is in place
	states               struct{ q, k, v, o, gate, up, down State }
	ple                  *perLayerState // nil without per-layer embeddings
}

// layerGradients are the gradients inside one layer.
type layerGradients struct {
	dn               *tensor.Dense // [N,C]
	dAttn            *tensor.Dense // [N,H·D]
	dq, dk, dv       *tensor.Dense // [N,H·D] and [N,G·D]
	dqHeads, dkHeads *tensor.Dense // the same, one row per head
	dHidden, dUp     *tensor.Dense // [N,F]
	ple              *perLayerGradients
}

// NewActivations reserves what a plain batch needs: all layers and all tokens.
func (m *Model) NewActivations(batch, time int, training bool) (*Activations, error) {
	return m.Activations(Batch{Rows: batch, Time: time, Training: training})
}

// Activations reserves what a batch of the given shape needs. Errors: backend.ErrOutOfMemory with what is needed, *BatchError.
func (m *Model) Activations(s Batch) (*Activations, error) {
	list, err := m.SharedActivations(s)
	if err != nil {
		return nil, err
	}
	return list[0], nil
}

// SharedActivations reserves what batches need of which one is in use at a time, from the upload of its inputs to the end of its
// backward pass: all lie in the memory of the largest. Gradients that an objective leaves out (Activations.DAuxLogits and DHidden)
// are zero in a batch of its own only. Errors: those of Activations.
func (m *Model) SharedActivations(shapes ...Batch) ([]*Activations, error) {
	var list []*Activations
	var largest Batch
	for _, s := range shapes {
		if err := m.checkBatch(s); err != nil {
			return nil, err
		}
		if s.Rows > largest.Rows {
			largest = s
		}
	}
	slab, bytes, err := reserve(m.b, func(mk *Maker) { list = m.buildShared(mk, shapes) })
	if err != nil {
		return nil, fmt.Errorf("model: a batch of %d sequences of %d tokens needs %d MiB, %d KiB a sequence: %w",
			largest.Rows, largest.Time, bytes>>20, bytes>>10/int64(largest.Rows), err)
	}
	list[0].slab = slab
	for _, a := range list {
		for _, l := range a.layers {
			a.placed = append(a.placed, l.placers()...)
		}
	}
	return list, nil
}

// ActivationBytes is the memory that NewActivations would reserve.
func (m *Model) ActivationBytes(batch, time int, training bool) (int64, error) {
	return m.SharedBytes(Batch{Rows: batch, Time: time, Training: training})
}

// SharedBytes is the memory that SharedActivations would reserve.
func (m *Model) SharedBytes(shapes ...Batch) (int64, error) {
	var size backend.Sizer
	mk := &Maker{b: m.b, alloc: &size}
	m.buildShared(mk, shapes)
	return size.Bytes(), mk.err
}

// buildShared cuts the tensors of batches of which one is in use at a time.
func (m *Model) buildShared(mk *Maker, shapes []Batch) []*Activations {
	list := make([]*Activations, len(shapes))
	if len(shapes) == 1 {
		list[0] = m.build(mk, shapes[0])
		return list
	}
	mk.overlaid(len(shapes), func(mk *Maker, i int) { list[i] = m.build(mk, shapes[i]) })
	return list
}

// BatchError reports a shape of a batch that the model cannot see.
type BatchError struct {
	Field     string
	Got, Want string
}

func (e *BatchError) Error() string {
	return fmt.Sprintf("model: batch: %s: %s, want %s", e.Field, e.Got, e.Want)
}

func (m *Model) checkBatch(s Batch) error {
	layers := m.Config.Layers
	if s.Rows < 1 || s.Time < 1 || s.Time > m.Config.Context {
		return &BatchError{"shape", fmt.Sprintf("%d sequences of %d tokens", s.Rows, s.Time),
			fmt.Sprintf("at least one of 1 to %d tokens (max_position_embeddings)", m.Config.Context)}
	}
	if s.From < 0 || s.From > layers {
		return &BatchError{"first layer", fmt.Sprint(s.From), fmt.Sprintf("0 to %d", layers)}
	}
	if d := s.Middle; d != nil && (d.From < s.From || d.To <= d.From || d.To > layers || d.Time < 1 || d.Time > s.Time) {
		return &BatchError{"middle", fmt.Sprintf("layers %d to %d with %d tokens", d.From, d.To-1, d.Time),
			fmt.Sprintf("layers from %d to %d with 1 to %d tokens", s.From, layers-1, s.Time)}
	}
	for _, i := range s.Taps {
		if i < s.From || i > layers || s.Middle != nil && i > s.Middle.From && i < s.Middle.To {
			return &BatchError{"tap", fmt.Sprint(i), "a layer that sees all tokens, or their number"}
		}
	}
	return nil
}

// Close frees the memory; of activations that share it, the first does.
func (a *Activations) Close() error {
	if a.slab == nil {
		return nil
	}
	return a.slab.Free()
}

// Hidden is the residual stream before layer i, behind the last for the number of layers [N,C]. It is nil inside the
// layers that see fewer tokens and before the first.
func (a *Activations) Hidden(i int) *tensor.Dense {
	if i < a.shape.From || a.middle != nil && i > a.middle.From && i < a.middle.To {
		return nil
	}
	return a.x[i]
}

// DHidden is what an objective adds to the gradient of Hidden(i) [N,C], for the layers that the batch taps, else nil.
func (a *Activations) DHidden(i int) *tensor.Dense { return a.taps[i] }

// dropout applies the mask of one place in the model. Without dropout it does nothing: the callers read the
// source where masked says so, or pass the same tensor twice.
func (a *Activations) dropout(b backend.Backend, dst, src *tensor.Dense, place int) error {
	if a.Dropout == 0 {
		return nil
	}
	rows, _ := backend.Rows(dst)
	return b.Dropout(dst, src, a.Mask(a.Dropout, uint64(place)*0x9e3779b97f4a7c15, rows))
}

// Mask places the dropout mask of a tensor of so many rows in the pass. seed tells places in the model apart.
func (a *Activations) Mask(rate float32, seed uint64, rows int) backend.DropoutArgs {
	return backend.DropoutArgs{Rate: rate, Seed: a.Seed + seed, Row: a.Row / int64(a.Time) * int64(rows/a.Batch), Step: a.Step}
}

// Masked says that a pass depends on Row: it drops something at random.
func (a *Activations) Masked() bool { return a.Dropout > 0 || len(a.placed) > 0 }

// placers lists the states that want to know where their rows are; l may be nil.
func (l *layerActivations) placers() (list []Placer) {
	if l == nil {
		return nil
	}
	s := &l.states
	for _, state := range append([]State{s.q, s.k, s.v, s.o, s.gate, s.up, s.down}, l.ple.list()...) {
		if p, ok := state.(Placer); ok {
			list = append(list, p)
		}
	}
	return list
}

// masked is the gradient of a branch's output: masked where there is dropout, else that of the stream itself.
func (a *Activations) masked(branch, dx *tensor.Dense) *tensor.Dense {
	if a.Dropout == 0 {
		return dx
	}
	return branch
}

// build cuts the tensors of a batch.
func (m *Model) build(mk *Maker, s Batch) *Activations {
	c, n := &m.Config, s.Rows*s.Time
	a := &Activations{
		Batch: s.Rows, Time: s.Time, shape: s,
		Inputs:    mk.Make(backend.I32, s.Rows, s.Time),
		Positions: mk.Make(backend.I32, s.Rows, s.Time),
		Targets:   mk.Make(backend.I32, s.Rows, s.Time),
		Weights:   mk.F32(s.Rows, s.Time),
		Loss:      mk.F32(s.Rows, s.Time),
		Logits:    mk.F32(s.Rows, s.Time, c.VocabSize),
		final:     mk.act(m, n, c.HiddenSize),
		x:         make([]*tensor.Dense, c.Layers+1),
		layers:    make([]*layerActivations, c.Layers),
	}
	a.finalStats = mk.stats(c, n)
	a.headState = m.head.Product.State(mk, n, s.Training)
	if c.AuxVocab > 0 {
		a.AuxLogits = mk.F32(s.Rows, s.Time, c.AuxVocab)
	}
	if s.Middle != nil {
		m.buildMiddle(mk, a, *s.Middle)
	}
	m.buildStream(mk, a)
	each := func(mk *Maker, from, to int) {
		for i := from; i < to; i++ {
			if !a.inMiddle(i) {
				a.layers[i] = m.buildLayer(mk, i, s.Rows, s.Time, s.Training)
				a.layers[i].positions = a.Positions
				continue
			}
			l := m.buildLayer(mk, i, s.Rows, s.Middle.Time, s.Training)
			l.positions, l.starts = a.middle.positions, a.middle.starts[m.blocks[i].shape.Window]
			a.layers[i] = l
		}
	}
	if s.Training {
		each(mk, s.From, c.Layers)
	} else {
		mk.overlaid(c.Layers-s.From, func(mk *Maker, i int) { each(mk, s.From+i, s.From+i+1) })
	}
	mk.overlaid(c.Layers-s.From, func(mk *Maker, i int) {
		l := a.layers[s.From+i]
		l.branch = mk.F32(l.batch*l.time, c.HiddenSize)
	})
	if s.Training {
		m.buildGradients(mk, a)
	}
	return a
}

// inMiddle says that layer i sees fewer tokens.
func (a *Activations) inMiddle(i int) bool {
	d := a.shape.Middle
	return d != nil && i >= d.From && i < d.To
}

func (m *Model) buildMiddle(mk *Maker, a *Activations, d Middle) {
	width, n := m.Config.HiddenSize, a.Batch*d.Time
	a.middle = &middleActivations{
		Middle: d, kept: mk.Make(backend.I32, a.Batch, d.Time), positions: mk.Make(backend.I32, a.Batch, d.Time),
		others: mk.Make(backend.I32, a.Batch, a.Time), starts: map[int]*tensor.Dense{}, enter: mk.F32(n, width), leave: mk.F32(n, width), zeroOne: mk.F32(2, width), passed: mk.F32(a.Batch*a.Time, width),
	}
	for i := d.From; i < d.To; i++ {
		if w := m.blocks[i].shape.Window; w > 0 && a.middle.starts[w] == nil {
			a.middle.starts[w] = mk.Make(backend.I32, a.Batch, d.Time)
		}
	}
	if e := m.Config.PLEDim; e > 0 {
		a.middle.ple = mk.F32(a.Batch*a.Time, e)
	}
	if a.shape.Training {
		a.middle.dx = mk.F32(n, width)
	}
}

// buildStream makes the residual streams. Without training one tensor is all of those that see every token.
func (m *Model) buildStream(mk *Maker, a *Activations) {
	s, width := a.shape, m.Config.HiddenSize
	for i := s.From; i < len(a.x); i++ {
		switch d := s.Middle; {
		case d != nil && i > d.From && i < d.To:
			a.x[i] = mk.F32(a.Batch*d.Time, width)
		case !s.Training && i > s.From:
			a.x[i] = a.x[s.From]
		default:
			a.x[i] = mk.F32(a.Batch*a.Time, width)
		}
	}
}

// inPlace says that the result of the MLP's activation takes the place of its argument: its slope follows from the result, but for
// a rounding, which float32 has not, so that a float32 model has the bits of its equation.
func (m *Model) inPlace() bool {
	c := &m.Config
	return m.act == backend.BF16 && (c.Activation == arch.ActReLU2 || c.Activation == arch.ActReLU)
}

func (m *Model) buildLayer(mk *Maker, i, batch, time int, training bool) *layerActivations {
	c, l, n := &m.Config, m.blocks[i], batch*time
	width, kv, mlp := l.shape.Heads*c.HeadDim, l.shape.KVHeads*c.HeadDim, l.shape.IntermediateSize
	s := &layerActivations{
		batch: batch, time: time,
		n1: mk.act(m, n, c.HiddenSize), n2: mk.act(m, n, c.HiddenSize),
		stats1: mk.stats(c, n), stats2: mk.stats(c, n),
		qRaw: mk.act(m, n, width), kRaw: mk.act(m, n, kv), v: mk.act(m, n, kv),
		attn: mk.act(m, n, width), lse: mk.F32(n, l.shape.Heads),
		mid:    mk.F32(n, c.HiddenSize),
		hidden: mk.act(m, n, mlp),
	}
	if s.up = s.hidden; !m.inPlace() {
		s.up = mk.act(m, n, mlp)
	}
	if m.rounding != nil {
		s.exact = mk.F32(n, width)
	}
	s.q, s.k = s.qRaw, s.kRaw
	if l.qNorm != nil {
		s.q, s.k = mk.act(m, n, width), mk.act(m, n, kv)
		s.qHeads, s.kHeads = mk.View(s.q, 0, n*l.shape.Heads, c.HeadDim), mk.View(s.k, 0, n*l.shape.KVHeads, c.HeadDim)
		s.qRawHeads, s.kRawHeads = mk.View(s.qRaw, 0, n*l.shape.Heads, c.HeadDim), mk.View(s.kRaw, 0, n*l.shape.KVHeads, c.HeadDim)
		s.qStats, s.kStats = normStats{rstd: mk.F32(n * l.shape.Heads)}, normStats{rstd: mk.F32(n * l.shape.KVHeads)}
	}
	state := func(l *Linear) State { return l.Product.State(mk, n, training) }
	s.states.q, s.states.k, s.states.v, s.states.o = state(&l.q), state(&l.k), state(&l.v), state(&l.o)
	if l.gate != nil {
		s.gate, s.states.gate = mk.act(m, n, mlp), state(l.gate)
	}
	s.states.up, s.states.down = state(&l.up), state(&l.down)
	s.ple = l.ple.build(mk, n, training)
	return s
}

func (m *Model) buildGradients(mk *Maker, a *Activations) {
	c := &m.Config
	a.DLogits = mk.F32(a.Batch, a.Time, c.VocabSize)
	if c.AuxVocab > 0 {
		a.DAuxLogits = mk.F32(a.Batch, a.Time, c.AuxVocab)
	}
	a.dx = mk.F32(a.Batch*a.Time, c.HiddenSize)
	a.taps = map[int]*tensor.Dense{}
	for _, i := range a.shape.Taps {
		a.taps[i] = mk.F32(a.Batch*a.Time, c.HiddenSize)
	}
	a.grads = make([]*layerGradients, c.Layers)
	mk.overlaid(c.Layers-a.shape.From, func(mk *Maker, i int) {
		i += a.shape.From
		shape, n := m.blocks[i].shape, a.layers[i].batch*a.layers[i].time
		width, kv, mlp := shape.Heads*c.HeadDim, shape.KVHeads*c.HeadDim, shape.IntermediateSize
		g := &layerGradients{
			dn: mk.act(m, n, c.HiddenSize), dAttn: mk.act(m, n, width), dq: mk.act(m, n, width), dk: mk.act(m, n, kv), dv: mk.act(m, n, kv),
			dHidden: mk.act(m, n, mlp),
		}
		g.dqHeads, g.dkHeads = mk.View(g.dq, 0, n*shape.Heads, c.HeadDim), mk.View(g.dk, 0, n*shape.KVHeads, c.HeadDim)
		if c.Activation == arch.ActSwiGLU {
			g.dUp = mk.act(m, n, mlp)
		}
		g.ple = m.blocks[i].ple.buildGradients(mk, n)
		a.grads[i] = g
	})
}
