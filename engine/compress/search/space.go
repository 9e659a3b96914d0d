package search

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"mito/engine/arch"
	"mito/engine/checkpoint"
	"mito/engine/compress/quant"
	"mito/engine/decode"
	"mito/engine/student"
)

// Space is what a search chooses from.
type Space struct {
	Layers, Heads, Neurons []int
	Bits                   []string  // of the weights of students without zero blocks, as quant.ParseRules reads them
	Spreads                []float64 // of the sparsity over matrices
	Fills                  []float64 // shares of the budget of flash that students take
	Sparsities             []float64 // without such a budget
}

// blockRows and blockCols are those of the blocks.
const (
	blockRows = 4
	blockCols = 8
	// mostSparse bounds the sparsity of a trial.
	mostSparse = 0.95
	// lane is what neurons are a multiple of.
	lane = 32
	// Whole are the bits of weights that are no codes of fewer.
	Whole = "8"
	// leastFill is the share of the budget of flash that a student of fewer bits takes at least: a smaller one has a better relative.
	leastFill = 0.5
)

// mixed are precisions that differ between the parts of a layer, or from the tables: which part can do with fewer bits is what trials
// find out.
var mixed = []string{"mlp.*=6", "attn.*=4", "mlp.*=4", "mlp.*=4,attn.*=6", "mlp.*=3,attn.*=4"}

// perLayer are those of models with per-layer embeddings, whose tables may be most of the weights.
var perLayer = []string{"ple.table=4", "ple.table=4,mlp.*=4"}

// alike are precisions that are the same everywhere, the most bits first.
var alike = []string{"7", "6", "5", "4", "3"}

// SpaceOf is the space round a parent: it, three quarters and half of its layers, heads and neurons.
func SpaceOf(c arch.Config) Space {
	s := Space{Bits: slices.Concat(alike, mixed), Spreads: []float64{0, 0.15, 0.3}, Fills: []float64{1, 0.75, 0.5}, Sparsities: []float64{0, 0.5, 0.75}}
	if c.PLEDim > 0 {
		s.Bits = append(s.Bits, perLayer...)
	}
	least := func(get func(arch.Layer) int) int {
		n := get(c.Layer(0))
		for i := range c.Layers {
			n = min(n, get(c.Layer(i)))
		}
		return n
	}
	heads, neurons := least(func(l arch.Layer) int { return l.Heads }), least(func(l arch.Layer) int { return l.IntermediateSize })
	share := 1 // query heads that share a key/value head
	for i := range c.Layers {
		share = max(share, c.Layer(i).Heads/c.Layer(i).KVHeads)
	}
	for _, q := range []int{4, 3, 2} {
		s.Layers = add(s.Layers, c.Layers*q/4, 1)
		s.Heads = add(s.Heads, heads*q/4, share)
		s.Neurons = add(s.Neurons, neurons*q/4, min(lane, neurons))
	}
	return s
}

// Whole is the shape of the parent.
func (s Space) Whole() Shape { return Shape{s.Layers[0], s.Heads[0], s.Neurons[0]} }

// add adds a positive multiple of unit once.
func add(list []int, n, unit int) []int {
	if n = max(unit, n/unit*unit); !slices.Contains(list, n) {
		list = append(list, n)
	}
	return list
}

// Config is the configuration of a shape of the parent.
func (s Shape) Config(c arch.Config) arch.Config {
	out := c.Clone()
	var layers []arch.Layer
	for i := range s.Layers {
		l := arch.Layer{Heads: c.Heads, KVHeads: c.KVHeads, IntermediateSize: c.IntermediateSize, Window: c.Window, Scale: c.Scale}
		if c.LayerShapes != nil {
			l = c.LayerShapes[i]
		}
		share := l.Heads / l.KVHeads
		l.Heads, l.KVHeads, l.IntermediateSize = s.Heads, s.Heads/share, s.Neurons
		layers = append(layers, l)
	}
	out.SetLayers(layers)
	return out
}

// Dummy is an INT8 student of a configuration with so many zero blocks in every matrix inside the layers, spread evenly. Its weights are
// codes of 3 bits and more.
func Dummy(c arch.Config, sparsity float64) (*student.Weights, error) {
	w, err := student.NewWeights(c)
	if err != nil {
		return nil, err
	}
	most := checkpoint.MaxCode(3)
	inside := map[string]bool{}
	for _, m := range w.Config.Modules() {
		inside[m.Name] = !m.Part.Table()
	}
	r := rand.New(rand.NewPCG(1, 2))
	return w, w.Visit(func(name string, m *student.Matrix, v *[]float32) error {
		switch {
		case m == nil:
			for i := range *v {
				(*v)[i] = 1
			}
			return nil
		case inside[name]:
			down, across := (m.Rows+blockRows-1)/blockRows, (m.Cols+blockCols-1)/blockCols
			dead := int(sparsity * float64(down*across))
			for i, b := range r.Perm(down * across) {
				if i >= dead {
					m.Q[b/across*blockRows*m.Cols+b%across*blockCols] = int8(i%most + 1)
				}
			}
		default:
			for i := range m.Q {
				m.Q[i] = int8(i%most + 1)
			}
		}
		for i := range m.Scale {
			m.Scale[i] = 1e-3
		}
		return nil
	})
}

// Coarse are the bits of the matrices that bits, as quant.ParseRules reads them, leave fewer than 8, by the names of their modules.
func Coarse(c arch.Config, bits string) (map[string]int, error) {
	rules, err := quant.ParseRules(bits)
	if err != nil {
		return nil, err
	}
	each, err := quant.BitsOf(c, rules)
	maps.DeleteFunc(each, func(_ string, n int) bool { return n == checkpoint.WholeBits })
	return each, err
}

// Flash is the size of the file of a student of a configuration with so many zero blocks, its weights of so many bits.
func Flash(c arch.Config, sparsity float64, bits string) (int64, error) {
	w, err := Dummy(c, sparsity)
	if err != nil {
		return 0, err
	}
	coarse, err := Coarse(c, bits)
	if err != nil {
		return 0, err
	}
	report := quant.Report{Blocks: sparsity > 0}
	for name, n := range coarse {
		report.Matrices = append(report.Matrices, quant.MatrixError{Name: name, Bits: n})
	}
	return int64(quant.FileSize(w, &report)), nil
}

// RAM is the memory that decoding one sequence takes beside the weights: keys and values of a whole context as INT8 with a scale for
// each head, and the rows of a token on its way through a layer.
func RAM(c arch.Config) int64 {
	var cache, row int64
	for i := range c.Layers {
		l := c.Layer(i)
		cache += int64(c.Context) * 2 * int64(l.KVHeads) * int64(c.HeadDim+4)
		qkv := (l.Heads + 2*l.KVHeads) * c.HeadDim
		wide := max(qkv, l.IntermediateSize)
		// Sums and activations of the widest product in four bytes, the widest input in one, and a row of per-layer embeddings.
		row = max(row, int64(8*wide+max(wide, c.PLEDim)+4*c.PLEDim))
	}
	return cache + row + int64(4*(c.HiddenSize+c.VocabSize))
}

// Cost predicts the flash and the RAM that a student of a configuration takes with so many zero blocks, its weights of so many bits.
type Cost func(c arch.Config, sparsity float64, bits string) (flash, ram int64, err error)

// OfFile is the Cost without a device: Flash and RAM.
func OfFile(c arch.Config, sparsity float64, bits string) (flash, ram int64, err error) {
	flash, err = Flash(c, sparsity, bits)
	return flash, RAM(c), err
}

// Speed measures the tokens a second of one sequence of a student of such a shape, on one thread: the best of some contexts.
func Speed(c arch.Config, sparsity float64) (float64, error) {
	w, err := Dummy(c, sparsity)
	if err != nil {
		return 0, err
	}
	return SpeedOf(w)
}

// SpeedOf is Speed of a student.
func SpeedOf(w *student.Weights) (rate float64, err error) {
	r, err := decode.NewInt8(w, nil, decode.Options{})
	if err != nil {
		return 0, err
	}
	defer r.Close()
	s, err := r.NewSession(1)
	if err != nil {
		return 0, err
	}
	const trials, tokens = 5, 128
	n := min(tokens, r.Context())
	for range trials {
		s.Reset()
		began := time.Now()
		for i := range n {
			if _, err := s.Step([]int32{int32(i % r.VocabSize())}); err != nil {
				return 0, err
			}
		}
		rate = max(rate, float64(n)/time.Since(began).Seconds())
	}
	return rate, nil
}

// Candidate is what a trial costs, before it is trained.
type Candidate struct {
	Shape
	Sparsity, Spread float64
	Bits             string // Whole, or fewer where Sparsity is 0
	Uniform          bool
}

// Candidates lists what fits the budget: first, where they fit, the whole parent with the same sparsity everywhere, and with the same
// bits, as many as fit; then others in an order drawn by the seed, n in all at most. cost is what b limits, speed is Speed, or nil where it does not matter. Errors: *BudgetError that says the
// smallest budget that can be kept, ctx's.
func (s Space) Candidates(ctx context.Context, c arch.Config, b Budget, n int, seed uint64, cost Cost, speed func(arch.Config, float64) (float64, error)) ([]Candidate, error) {
	var list []Candidate
	var least Budget
	for _, layers := range s.Layers {
		for _, heads := range s.Heads {
			for _, neurons := range s.Neurons {
				shape := Shape{layers, heads, neurons}
				if err := ctx.Err(); err != nil {
					return nil, err
				}
				found, err := s.fitting(shape, c, b, &least, cost, speed)
				if err != nil {
					return nil, err
				}
				list = append(list, found...)
			}
		}
	}
	if len(list) == 0 {
		return nil, tooSmall(b, least)
	}
	whole := s.Whole()
	plain := func(c Candidate) bool { return c.Shape == whole && c.Bits == Whole && c.Spread == 0 }
	coarse := func(c Candidate) bool { return c.Shape == whole && slices.Contains(alike, c.Bits) }
	first := 0
	for _, is := range []func(Candidate) bool{plain, coarse} {
		// Of several the first takes most of the budget.
		if i := slices.IndexFunc(list, is); i >= 0 {
			c := list[i]
			c.Uniform = true
			list = slices.Insert(slices.Delete(list, i, i+1), first, c)
			first++
		}
	}
	rest := list[first:]
	rand.New(rand.NewPCG(seed, 3)).Shuffle(len(rest), func(i, j int) { rest[i], rest[j] = rest[j], rest[i] })
	return list[:min(n, len(list))], nil
}

// fitting lists the candidates of a shape, and notes in least what the smallest student takes.
func (s Space) fitting(shape Shape, parent arch.Config, b Budget, least *Budget, cost Cost, speed func(arch.Config, float64) (float64, error)) ([]Candidate, error) {
	c := shape.Config(parent)
	sizes, rams := map[string]int64{}, map[string]int64{}
	smallest, sparse, err := cost(c, mostSparse, Whole)
	if err != nil {
		return nil, err
	}
	_, dense, err := cost(c, 0, Whole)
	if err != nil {
		return nil, err
	}
	ram := min(sparse, dense)
	for _, bits := range s.Bits {
		if sizes[bits], rams[bits], err = cost(c, 0, bits); err != nil {
			return nil, err
		}
		smallest, ram = min(smallest, sizes[bits]), min(ram, rams[bits])
	}
	note := func(to *int64, n int64) {
		if *to == 0 || n < *to {
			*to = n
		}
	}
	note(&least.Flash, smallest)
	note(&least.RAM, ram)
	if b.RAM != 0 && ram > b.RAM || b.Flash != 0 && smallest > b.Flash {
		return nil, nil
	}
	sparsities := s.Sparsities
	if b.Flash != 0 {
		sparsities = nil
		for _, fill := range s.Fills {
			p, err := sparsityFor(c, int64(fill*float64(b.Flash)), cost)
			if err != nil {
				return nil, err
			}
			if p >= 0 && !slices.Contains(sparsities, p) {
				sparsities = append(sparsities, p)
			}
		}
	}
	slow := func(sparsity float64) (bool, error) {
		if b.TokS == 0 {
			return false, nil
		}
		rate, err := speed(c, sparsity)
		least.TokS = max(least.TokS, rate)
		return rate < b.TokS, err
	}
	var list []Candidate
	roomy := func(ram int64) bool { return b.RAM == 0 || ram <= b.RAM }
	for _, p := range sparsities {
		if p == 0 && !roomy(dense) || p > 0 && !roomy(sparse) {
			continue
		}
		if no, err := slow(p); no || err != nil {
			if err != nil {
				return nil, err
			}
			continue
		}
		for _, spread := range s.Spreads {
			if p == 0 && spread > 0 {
				continue
			}
			list = append(list, Candidate{Shape: shape, Sparsity: p, Spread: spread, Bits: Whole})
		}
	}
	fits := func(bits string) bool {
		return roomy(rams[bits]) && (b.Flash == 0 || sizes[bits] <= b.Flash && sizes[bits] >= int64(leastFill*float64(b.Flash)))
	}
	if !slices.ContainsFunc(s.Bits, fits) {
		return list, nil
	}
	// Codes become INT8 weights when they are loaded, so that their bits do not change the speed.
	if no, err := slow(0); no || err != nil {
		return list, err
	}
	for _, bits := range s.Bits {
		if fits(bits) {
			list = append(list, Candidate{Shape: shape, Bits: bits})
		}
	}
	return list, nil
}

// sparsityFor finds the least sparsity, in steps of a two-hundredth, at which a student takes no more than flash; -1 for none.
func sparsityFor(c arch.Config, flash int64, cost Cost) (float64, error) {
	const parts = 200
	small, _, err := cost(c, mostSparse, Whole)
	if err != nil || small > flash {
		return -1, err
	}
	if whole, _, err := cost(c, 0, Whole); err != nil || whole <= flash {
		return 0, err
	}
	// The blocks that there is room for, and where that is too many by what an index rounds, a little fewer.
	blocks := 0
	for _, m := range c.Modules() {
		if m.IsMatrix() && !m.Part.Table() {
			blocks += (m.Rows + blockRows - 1) / blockRows * ((m.Cols + blockCols - 1) / blockCols)
		}
	}
	room := float64(flash-small) / (blockRows*blockCols + 1)
	for i := max(1, int(parts*(mostSparse-room/float64(blocks)))-1); i < int(parts*mostSparse); i++ {
		if n, _, err := cost(c, float64(i)/parts, Whole); err != nil || n <= flash {
			return float64(i) / parts, err
		}
	}
	return mostSparse, nil
}

// tooSmall says what the smallest student of a space takes.
func tooSmall(b, least Budget) error {
	switch {
	case b.Flash != 0 && least.Flash > b.Flash:
		return &BudgetError{fmt.Sprintf("flash=%d", b.Flash), fmt.Sprintf("flash=%d or more: the smallest student of this parent takes that", least.Flash)}
	case b.RAM != 0 && least.RAM > b.RAM:
		return &BudgetError{fmt.Sprintf("ram=%d", b.RAM), fmt.Sprintf("ram=%d or more: the smallest student of this parent takes that; a shorter context takes less", least.RAM)}
	case b.TokS != 0 && least.TokS > 0 && least.TokS < b.TokS:
		return &BudgetError{fmt.Sprintf("tok_s=%.0f", b.TokS), fmt.Sprintf("tok_s=%.0f or less: the fastest student that fits the rest ran at that here", least.TokS)}
	}
	return &BudgetError{fmt.Sprintf("flash=%d, ram=%d and tok_s=%.0f together", b.Flash, b.RAM, b.TokS), "less of one: each can be kept by itself"}
}
