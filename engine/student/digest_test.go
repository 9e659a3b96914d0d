package student

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"

	"mito/engine/arch"
	"mito/engine/internal/imports"
	"mito/kernels/edge"
	"mito/kernels/kv"
	"mito/kernels/qgemm"
	"mito/kernels/sparse"
	"mito/kernels/vec"
)

// goldenDigest is the digest of randomWeights(edgeConfig(), 1). It changes only when the specification does.
const goldenDigest = "1951576cf974a1616e64b131c59312ae76f51a7186db7ca57df15cea575617e5"

// someTokens of the stream are enough where only differences between two ways to compute it matter.
const someTokens = 300

func TestDigestIsTheSameEverywhere(t *testing.T) {
	eachConfig(t, func(t *testing.T, c arch.Config) {
		w := randomWeights(c, 1)
		want := ""
		for _, o := range []struct {
			Options
			DigestOptions
		}{
			{},
			{Options{Threads: 2}, DigestOptions{Batch: 8}},
			{Options{Threads: 2, PageSize: 16}, DigestOptions{Batch: 3, Prefill: 1000}},
			{Options{PageSize: 1}, DigestOptions{Prefill: 7}},
			{Options{PageSize: 3}, DigestOptions{Batch: 2, Prefill: 20}},
		} {
			o.most = someTokens
			got, err := Digest(newModel(t, w, o.Options), o.DigestOptions)
			if err != nil {
				t.Fatal(err)
			}
			if want == "" {
				want = got
			}
			if got != want {
				t.Errorf("%+v: %s, want %s", o, got, want)
			}
		}
		if !c.Equal(edgeConfig()) {
			return
		}
		whole, err := Digest(newModel(t, w, Options{}), DigestOptions{Batch: 4, Prefill: 30})
		if err != nil || whole != goldenDigest {
			t.Errorf("digest %s (%v), golden %s", whole, err, goldenDigest)
		}
	})
}

type variantPackage struct {
	name     string
	variants []string
	set      func(string) error
}

// variantPackages are the kernel packages that the runtime uses.
func variantPackages() []variantPackage {
	return []variantPackage{
		{"qgemm", qgemm.Variants(), qgemm.SetVariant}, {"vec", vec.Variants(), vec.SetVariant},
		{"edge", edge.Variants(), edge.SetVariant}, {"attn decode", kv.Variants(), kv.SetVariant},
	}
}

// TestDigestInEveryVariant turns every kernel package through its variants.
func TestDigestInEveryVariant(t *testing.T) {
	pkgs := variantPackages()
	eachConfig(t, func(t *testing.T, c arch.Config) {
		m := newModel(t, randomWeights(c, 1), Options{PageSize: 16})
		want, err := Digest(m, DigestOptions{most: someTokens})
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range pkgs {
			for _, v := range p.variants {
				if err := p.set(v); err != nil {
					t.Fatal(err)
				}
				got, err := Digest(m, DigestOptions{Batch: 2, Prefill: 5, most: someTokens})
				if err != nil {
					t.Fatal(err)
				}
				if got != want {
					t.Errorf("%s %s: %s, want %s", p.name, v, got, want)
				}
			}
			if err := p.set(p.variants[len(p.variants)-1]); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// TestSparseDigest prunes blocks and compares the block-sparse model with the dense one, in every variant.
func TestSparseDigest(t *testing.T) {
	for _, name := range []string{"edge", "llama", "odd sizes", "class 460K"} {
		w := randomWeights(configs()[name], 1)
		rng := rand.New(rand.NewPCG(1, 2))
		for i := range w.Layers {
			l := &w.Layers[i]
			for _, m := range []*Matrix{&l.Query, &l.Key, &l.Value, &l.Output, &l.Gate, &l.Up, &l.Down} {
				pruneBlocks(rng, m, 0.7)
			}
		}
		dense := newModel(t, w, Options{Blocks: BlocksNever})
		want, err := Digest(dense, DigestOptions{most: someTokens})
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range sparse.Variants() {
			if err := sparse.SetVariant(v); err != nil {
				t.Fatal(err)
			}
			m := newModel(t, w, Options{Blocks: BlocksAlways, Threads: 2})
			got, err := Digest(m, DigestOptions{Batch: 2, Prefill: 9, most: someTokens})
			if err != nil {
				t.Fatal(err)
			}
			if got != want {
				t.Errorf("%s, %s: %s, dense %s", name, v, got, want)
			}
			if name == "class 460K" && float64(m.Bytes()) > 0.45*float64(dense.Bytes()) {
				t.Errorf("%d bytes with 70%% zero blocks, dense %d", m.Bytes(), dense.Bytes())
			}
		}
	}
}

func pruneBlocks(rng *rand.Rand, m *Matrix, share float64) {
	for r := 0; r < m.Rows; r += sparse.BlockRows {
		for c := 0; c < m.Cols; c += sparse.BlockCols {
			if rng.Float64() >= share {
				continue
			}
			for i := r; i < min(m.Rows, r+sparse.BlockRows); i++ {
				clear(m.Q[i*m.Cols+c : i*m.Cols+min(m.Cols, c+sparse.BlockCols)])
			}
		}
	}
}

func TestDigestRefusesNaN(t *testing.T) {
	w := randomWeights(edgeConfig(), 1)
	for i := range w.Embedding.Scale {
		w.Embedding.Scale[i] = 3e38 // finite, but the residual stream overflows
	}
	if _, err := Digest(newModel(t, w, Options{}), DigestOptions{}); !errors.Is(err, ErrNotFinite) {
		t.Errorf("got %v", err)
	}
}

func TestNewRefuses(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	for name, tc := range map[string]struct {
		change func(w *Weights)
		want   error // nil: a *arch.FieldError or *ShapeError is enough
	}{
		"-128 in a layer":         {func(w *Weights) { w.Layers[1].Up.Q[5] = -128 }, ErrMinus128},
		"-128 in the embedding":   {func(w *Weights) { w.Embedding.Q[0] = -128 }, ErrMinus128},
		"NaN scale":               {func(w *Weights) { w.Layers[0].Query.Scale[3] = nan }, ErrNotFinite},
		"infinite gain":           {func(w *Weights) { w.Norm[0] = inf }, ErrNotFinite},
		"denormal scale":          {func(w *Weights) { w.Embedding.Scale[0] = 1e-40 }, nil},
		"tiny gain":               {func(w *Weights) { w.Layers[0].Norm1[0] = -1e-20 }, nil},
		"negative scale":          {func(w *Weights) { w.Embedding.Scale[0] = -1 }, nil},
		"missing layer":           {func(w *Weights) { w.Layers = w.Layers[:1] }, nil},
		"short weights":           {func(w *Weights) { w.Layers[0].Down.Q = w.Layers[0].Down.Q[1:] }, nil},
		"wrong rows":              {func(w *Weights) { w.Layers[0].Output.Rows++ }, nil},
		"heads do not divide":     {func(w *Weights) { w.Config.KVHeads = 3 }, nil},
		"odd head with rope":      {func(w *Weights) { w.Config.HeadDim = 7 }, nil},
		"unknown activation":      {func(w *Weights) { w.Config.Activation = "tanh" }, nil},
		"no width":                {func(w *Weights) { w.Config.HiddenSize = 0 }, nil},
		"too wide":                {func(w *Weights) { w.Config.IntermediateSize = math.MaxInt }, nil},
		"bias without biases":     {func(w *Weights) { w.Layers[0].Up.Bias = make([]float32, 64) }, nil},
		"missing bias":            {func(w *Weights) { w.Config.AttentionBias = true }, nil},
		"missing norm bias":       {func(w *Weights) { w.Config.Norm = arch.NormLayer }, nil},
		"missing QK-norm":         {func(w *Weights) { w.Config.QKNorm = true }, nil},
		"head although tied":      {func(w *Weights) { w.Head = w.Embedding }, nil},
		"no head although untied": {func(w *Weights) { w.Config.TieEmbeddings = false }, nil},
		"NaN eps":                 {func(w *Weights) { w.Config.NormEps = nan }, nil},
		"negative window":         {func(w *Weights) { w.Config.Window = -1 }, nil},
	} {
		w := randomWeights(edgeConfig(), 1)
		tc.change(w)
		m, err := New(w, Options{})
		if m != nil || err == nil {
			t.Errorf("%s: accepted", name)
			continue
		}
		var ce *arch.FieldError
		var we *WeightError
		if !errors.As(err, &ce) && !errors.As(err, &we) {
			t.Errorf("%s: %T is no typed error", name, err)
		}
		if tc.want != nil && !errors.Is(err, tc.want) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// Weights that the configuration has no module for are refused by their own name.
func TestAbsent(t *testing.T) {
	for name, change := range map[string]func(l *Layer, m Matrix){
		"model.layers.1.per_layer_embed.weight":      func(l *Layer, m Matrix) { l.PLE.Table = m },
		"model.layers.1.per_layer_gate.weight":       func(l *Layer, m Matrix) { l.PLE.Gate = m },
		"model.layers.1.per_layer_projection.weight": func(l *Layer, m Matrix) { l.PLE.Out = m },
		"model.layers.1.self_attn.q_norm.weight":     func(l *Layer, m Matrix) { l.QueryNorm = m.Scale },
	} {
		w := randomWeights(edgeConfig(), 1)
		change(&w.Layers[1], w.Layers[0].Up)
		var e *WeightError
		if err := w.Validate(); !errors.As(err, &e) || e.Tensor != name {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// pruneHeads leaves three query heads, one key head and 20 neurons of a layer.
func pruneHeads(w *Weights, layer int) {
	l, headDim := &w.Layers[layer], w.Config.HeadDim
	cut := func(m *Matrix, rows int) {
		m.Rows, m.Q, m.Scale = rows, m.Q[:rows*m.Cols], m.Scale[:rows]
	}
	narrow := func(m *Matrix, cols int) {
		q := make([]int8, 0, m.Rows*cols)
		for r := range m.Rows {
			q = append(q, m.Q[r*m.Cols:][:cols]...)
		}
		m.Cols, m.Q = cols, q
	}
	cut(&l.Query, 3*headDim)
	cut(&l.Key, headDim)
	cut(&l.Value, headDim)
	narrow(&l.Output, 3*headDim)
	cut(&l.Up, 20)
	narrow(&l.Down, 20)
	shapes := make([]arch.Layer, w.Config.Layers)
	for i := range shapes {
		shapes[i] = w.Config.Layer(i)
	}
	shapes[layer].Heads, shapes[layer].KVHeads, shapes[layer].IntermediateSize = 3, 1, 20
	w.Config.SetLayers(shapes)
}

// TestPrunedShapes runs layers that differ in heads and MLP width, the narrower one first or last, through every variant of
// attention.
func TestPrunedShapes(t *testing.T) {
	defer func() {
		if err := kv.SetVariant(kv.Variants()[len(kv.Variants())-1]); err != nil {
			t.Error(err)
		}
	}()
	c := edgeConfig()
	tokens := DigestStream(c)[0]
	for pruned := range c.Layers {
		w := randomWeights(c, 9)
		pruneHeads(w, pruned)
		want := specForward(w, tokens)
		for _, v := range kv.Variants() {
			if err := kv.SetVariant(v); err != nil {
				t.Fatal(err)
			}
			got, err := newSession(t, newModel(t, w, Options{}), 1).Prefill(0, tokens)
			if err != nil {
				t.Fatal(err)
			}
			if at := sameBits(got, want[len(want)-1]); at >= 0 {
				t.Errorf("layer %d pruned, %s: logit %d differs", pruned, v, at)
			}
		}
	}
}

func TestRopeTablesAreAccurate(t *testing.T) {
	for _, theta := range []float64{1.5, 10000, 1e6} {
		const n, d = 2048, 64
		cos, sin := ropeTables(n, d, theta)
		for p := range n {
			for i := range d / 2 {
				s, c := math.Sincos(float64(p) * math.Pow(theta, -2*float64(i)/d))
				// The frequency is good to about 1e-13, which the position multiplies; the rest is the last rounding.
				if math.Abs(float64(cos[p*d/2+i])-c) > 1e-7 || math.Abs(float64(sin[p*d/2+i])-s) > 1e-7 {
					t.Fatalf("theta %g, position %d, pair %d: %v %v, want %v %v", theta, p, i, cos[p*d/2+i], sin[p*d/2+i], c, s)
				}
			}
		}
	}
}

// TestImports keeps what ships small. Of the kernels, the training products and training attention are not among it.
func TestImports(t *testing.T) {
	kernels := []string{"edge", "isa", "kv", "parallel", "qgemm", "sentinel", "sparse", "vec"}
	allowed := []string{"mito/engine/arch", "mito/engine/session", "mito/engine/session/adapters", "golang.org/x/sys/cpu"}
	for _, k := range kernels {
		allowed = append(allowed, "mito/kernels/"+k)
	}
	imports.Closure(t, allowed...)
}

// What the digest does not see may be left out.
func TestForDigest(t *testing.T) {
	if testing.Short() {
		t.Skip("slow under an emulator, and no instruction that a processor may lack takes part")
	}
	eachConfig(t, func(t *testing.T, c arch.Config) {
		c.Context = MaxSequence + 44
		w := randomWeights(c, 1)
		short := w.ForDigest()
		if rope := c.Position == arch.PositionRoPE; rope != (short.Config.Context == MaxSequence) || w.Config.Context != c.Context {
			t.Errorf("context %d of %d", short.Config.Context, w.Config.Context)
		}
		want, err := Digest(newModel(t, w, Options{}), DigestOptions{most: MaxSequence + 50, Prefill: MaxSequence})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := Digest(newModel(t, short, Options{}), DigestOptions{most: MaxSequence + 50, Prefill: MaxSequence}); err != nil || got != want {
			t.Errorf("digest %s (%v), of the whole model %s", got, err, want)
		}
	})
}

// A check ends a digest.
func TestDigestCheck(t *testing.T) {
	enough := errors.New("enough")
	for _, o := range []DigestOptions{{}, {Prefill: 20}} {
		asked := 0
		o.Check = func() error {
			if asked++; asked == 3 {
				return enough
			}
			return nil
		}
		if _, err := Digest(newModel(t, randomWeights(edgeConfig(), 1), Options{}), o); !errors.Is(err, enough) || asked != 3 {
			t.Errorf("%+v: error %v after %d tokens", o, err, asked)
		}
	}
}
