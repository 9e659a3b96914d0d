package student

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math"
	"math/rand/v2"
	"testing"

	"mito/engine/arch"
)

// This file is §6 of SPEC.md restated, and what its digest must notice.

type specRandom uint32

func (g *specRandom) next() uint32 {
	*g += 0x9e3779b9
	z := uint32(*g)
	z = (z ^ (z >> 16)) * 0x85ebca6b
	z = (z ^ (z >> 13)) * 0xc2b2ae35
	return z ^ (z >> 16)
}

func (g *specRandom) unit() float32 { return float32(int32(g.next())>>8) * 0x1p-23 }

// functions returns the bytes that the first part of the digest hashes.
func (s spec) functions(w *Weights) []byte {
	var out []byte
	c := &w.Config
	random := specRandom(1)
	float := func(x float32) { out = binary.LittleEndian.AppendUint32(out, math.Float32bits(x+0)) }
	put := func(r specRow) {
		for _, q := range r.q {
			out = append(out, byte(q))
		}
		float(r.scale)
	}
	row := func(n int, factor float32) []float32 {
		x := make([]float32, n)
		for i := range x {
			x[i] = random.unit() * factor
		}
		return x
	}
	pow := func(n int) float32 { return float32(math.Pow(2, float64(n))) }
	for j := range 24 {
		x := make([]float32, 32)
		a := (random.unit() + 3) * pow(4*j-64)
		x[0] = -a
		for i := 1; i < 32; i++ {
			k := random.next() % 127
			x[i] = float32(float32(2*k+1)*a) / 254
			if random.next()%2 == 1 {
				x[i] = -x[i]
			}
		}
		put(s.quantize(x))
	}
	eps := c.NormEps
	if s == "norm: other eps" {
		eps = 1e-6
	}
	for j := range 8 {
		put(s.quantize(s.norm(row(c.HiddenSize, pow(4*j-16)), w.Norm, w.NormBias, c.Norm == arch.NormLayer, eps)))
	}
	if c.QKNorm {
		for j := range 8 {
			put(s.quantize(s.norm(row(c.HeadDim, pow(4*j-16)), w.Layers[0].QueryNorm, nil, false, eps)))
		}
	}
	for j := range 8 {
		u, g := make([]float32, 16), make([]float32, 16)
		for i := range u {
			if c.Activation == arch.ActSwiGLU {
				g[i] = random.unit() * pow(j)
				u[i] = random.unit()
			} else {
				u[i] = random.unit() * pow(j)
			}
		}
		for i := range u {
			float(s.activation(c.Activation, u[i], g[i]))
		}
	}
	n := min(32, c.Context)
	for i := range c.Layers {
		if window := c.Layer(i).Window; window > 0 {
			n = min(n, window)
		}
	}
	if c.Position == arch.PositionRoPE {
		for p := range n {
			x := row(c.HeadDim, 1)
			s.rope(x, p, c.RoPETheta)
			put(s.quantize(x))
		}
	}
	scale := c.Layer(0).Scale
	if s == "score: other scale" {
		scale = math.Nextafter32(math.Nextafter32(scale, 2), 2)
	}
	for run := range 3 {
		var keys, values []specRow
		base := make([]float32, c.HeadDim)
		factors := [3]float32{1, 1, 1}
		switch run {
		case 1:
			factors[0] = 32
		case 2:
			base = row(c.HeadDim, 1)
			factors[1] = 0x1p-6
		}
		for p := range n {
			if run < 2 {
				factors[2] = pow(-(p % 4))
			}
			q, k := row(c.HeadDim, factors[0]), row(c.HeadDim, factors[1])
			for i, b := range base {
				q[i] = float32(b*64) + q[i]
				k[i] = b + k[i]
			}
			keys, values = append(keys, s.quantize(k)), append(values, s.quantize(row(c.HeadDim, factors[2])))
			put(s.quantize(s.attend(q, keys, values, 0, scale*octaves)))
		}
	}
	return out
}

// specStream returns the sequences.
func specStream(c *arch.Config) [][]int32 {
	length := min(c.Context, 1024)
	if c.Position == arch.PositionLearned {
		length = c.Context
	}
	random := specRandom(2)
	var all [][]int32
	for i := range max(4096, c.VocabSize, 2*length) {
		if i%length == 0 {
			all = append(all, nil)
		}
		tok := int32(i)
		if i >= c.VocabSize {
			tok = int32(random.next() % uint32(c.VocabSize))
		}
		all[i/length] = append(all[i/length], tok)
	}
	return all
}

// stream calls visit with the logits after every token, until it says false.
func (s spec) stream(w *Weights, seen map[*Matrix]map[int]bool, visit func(logits []float32) bool) {
	for number, tokens := range specStream(&w.Config) {
		factor := float32(1)
		if number%2 == 1 {
			factor = 8
		}
		q := s.begin(w, factor)
		q.seen = seen
		for _, tok := range tokens {
			if !visit(q.step(tok)) {
				return
			}
		}
	}
}

func littleEndian(out []byte, x []float32) []byte {
	for _, v := range x {
		out = binary.LittleEndian.AppendUint32(out, math.Float32bits(v))
	}
	return out
}

func specWeights(w *Weights) (out []byte) {
	matrix := func(m *Matrix) {
		for _, q := range m.Q {
			out = append(out, byte(q))
		}
		out = littleEndian(littleEndian(out, m.Scale), m.Bias)
	}
	floats := func(vs ...[]float32) {
		for _, v := range vs {
			out = littleEndian(out, v)
		}
	}
	matrix(&w.Embedding)
	matrix(&w.Positions)
	for _, l := range w.Layers {
		floats(l.Norm1, l.Norm1Bias)
		matrix(&l.Query)
		matrix(&l.Key)
		matrix(&l.Value)
		floats(l.QueryNorm, l.KeyNorm)
		matrix(&l.Output)
		floats(l.Norm2, l.Norm2Bias)
		matrix(&l.Gate)
		matrix(&l.Up)
		matrix(&l.Down)
		matrix(&l.PLE.Table)
		matrix(&l.PLE.Gate)
		matrix(&l.PLE.Out)
	}
	floats(w.Norm, w.NormBias)
	matrix(&w.Head)
	return out
}

// gameConfig is the student that mito ships for tic-tac-toe, in small.
func gameConfig() arch.Config { return arch.Edge(14, 12, 2, 32, 4, 2) }

func TestDigestIsTheSpec(t *testing.T) {
	if testing.Short() {
		t.Skip("slow under an emulator, and no instruction that a processor may lack takes part")
	}
	all := configs()
	all["game"] = gameConfig()
	for _, name := range []string{"game", "edge", "llama", "gpt2", "odd sizes", "uneven", "ple"} {
		w := randomWeights(all[name], 1)
		functions := sha256.Sum256(spec("").functions(w))
		h := sha256.New()
		spec("").stream(w, nil, func(logits []float32) bool {
			h.Write(littleEndian(nil, logits))
			return true
		})
		weights := sha256.Sum256(specWeights(w))
		sum := sha256.Sum256(append(h.Sum(functions[:]), weights[:]...))
		want := Digests{hex.EncodeToString(sum[:]), hex.EncodeToString(functions[:]), hex.EncodeToString(h.Sum(nil)), hex.EncodeToString(weights[:])}
		got, err := Prove(newModel(t, w, Options{}), DigestOptions{Prefill: MaxSequence, Batch: 2})
		if err != nil || got != want {
			t.Errorf("%s: %+v (%v), the specification says %+v", name, got, err, want)
		}
		if testing.Short() {
			return
		}
	}
}

// readings are ways to understand SPEC.md wrongly, with the configuration of the model that must show it where the game's cannot.
var readings = map[spec]string{
	"sum: neighbours first": "", "exp: one constant for ln 2": "gpt2", "exp: p*(r*r)": "gpt2", "rsqrt: 3 steps": "", "rsqrt: 5 steps": "",
	"quantize: no floor": "", "quantize: x/(a/127)": "", "quantize: (x*127)/a": "", "quantize: half to even": "", "norm: times 1/n": "odd sizes",
	"norm: x*(r*gain)": "", "norm: other eps": "", "layernorm: d*(r*gain)": "gpt2", "linear: (acc*s)*ws": "", "linear: no bias": "gpt2",
	"gate: no bias": "gate bias", "mulr: cut": "", "pow2: cut": "", "pow2: of a float": "", "pow2: 16 octaves": "",
	"score: (acc*ks)*c": "", "score: (acc*c)*ks": "", "score: rounded": "", "score: floor": "", "score: (qs*scale)*2048 log2 e": "",
	"score: other scale": "", "attention: best from 0": "", "attention: value scales rounded": "",
	"attention: weights cut": "", "attention: divided by Z": "", "attention: no shift": "long",
	"rope: neighbouring pairs": "", "rope: recurrence in f32": "", "QK-norm: after rope": "odd sizes", "window: one longer": "window",
	"heads: h mod G": "", "output: a scale for each head": "", "gelu: u*z*a + u*b": "gpt2", "swiglu: (g*u)/(1+e)": "llama",
	"ple: added before down": "ple", "ple: gate reads behind down": "ple", "ple: tables of other layers": "ple", "ple: (g*e)*ts": "ple",
}

// TestWrongReadings plants each and wants the digest to notice, by the functions alone where they are what is misread.
func TestWrongReadings(t *testing.T) {
	if testing.Short() {
		t.Skip("about five seconds, and the same on every machine")
	}
	all := configs()
	all[""] = gameConfig()
	long := arch.Edge(9, 600, 1, 8, 1, 1)
	all["long"] = long
	biased := all["llama"]
	biased.MLPBias = true
	all["gate bias"] = biased
	type right struct {
		w         *Weights
		functions []byte
		logits    [][]float32
	}
	of := map[string]*right{}
	byFunctions := 0
	for wrong, name := range readings {
		r := of[name]
		if r == nil {
			r = &right{w: randomWeights(all[name], 1)}
			r.functions = spec("").functions(r.w)
			spec("").stream(r.w, nil, func(logits []float32) bool {
				r.logits = append(r.logits, logits)
				return name != "long" || len(r.logits) < 600
			})
			of[name] = r
		}
		if !bytes.Equal(r.functions, wrong.functions(r.w)) {
			byFunctions++
			continue
		}
		i, noticed := 0, false
		wrong.stream(r.w, nil, func(logits []float32) bool {
			noticed = sameBits(logits, r.logits[i]) >= 0
			i++
			return !noticed && i < len(r.logits)
		})
		if !noticed {
			t.Errorf("%q is not noticed by the digest of %q", wrong, name)
		} else {
			t.Logf("%q: not by the functions, by token %d", wrong, i)
		}
	}
	t.Logf("%d readings, %d noticed by the functions", len(readings), byFunctions)
}

// TestEveryWeightCounts wants the stream to read every row of the embedding and to multiply every column of every matrix by more
// than 0, and the digest to change with one weight.
func TestEveryWeightCounts(t *testing.T) {
	if testing.Short() {
		t.Skip("slow under an emulator, and no instruction that a processor may lack takes part")
	}
	t.Run("game", func(t *testing.T) { everyWeightCounts(t, gameConfig()) })
	with := gameConfig()
	with.PLEDim = 8
	t.Run("ple", func(t *testing.T) { everyWeightCounts(t, with) })
}

func everyWeightCounts(t *testing.T, c arch.Config) {
	w := randomWeights(c, 1)
	seen := map[*Matrix]map[int]bool{}
	rows := map[int32]bool{}
	for _, tokens := range specStream(&w.Config) {
		for _, tok := range tokens {
			rows[tok] = true
		}
	}
	if len(rows) != w.Config.VocabSize {
		t.Errorf("%d of %d rows of the embedding are read", len(rows), w.Config.VocabSize)
	}
	n := 0
	spec("").stream(w, seen, func([]float32) bool { n++; return n < 4096 })
	for m, columns := range seen {
		if len(columns) != m.Cols {
			t.Errorf("a matrix [%d,%d]: %d columns count", m.Rows, m.Cols, len(columns))
		}
	}
	each := 6
	if c.PLEDim > 0 {
		each = 8
	}
	if want := each*c.Layers + 1; len(seen) != want {
		t.Errorf("%d matrices, want %d", len(seen), want)
	}

	prove := func() Digests {
		d, err := Prove(newModel(t, w, Options{}), DigestOptions{Prefill: MaxSequence})
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	right := prove()
	rng := rand.New(rand.NewPCG(3, 3))
	trials, streams := 30, 0
	if testing.Short() {
		trials = 3
	}
	for range trials {
		l := &w.Layers[rng.IntN(len(w.Layers))]
		list := []*Matrix{&w.Embedding, &l.Query, &l.Key, &l.Value, &l.Output, &l.Up, &l.Down}
		if c.PLEDim > 0 {
			list = append(list, &l.PLE.Table, &l.PLE.Gate, &l.PLE.Out)
		}
		m := list[rng.IntN(len(list))]
		i := rng.IntN(len(m.Q))
		old := m.Q[i]
		m.Q[i]++
		if old == 127 {
			m.Q[i] = 126
		}
		d := prove()
		if d.Digest == right.Digest || d.Weights == right.Weights {
			t.Errorf("weight %d of a matrix [%d,%d] from %d to %d is not noticed", i, m.Rows, m.Cols, old, m.Q[i])
		}
		if d.Stream != right.Stream {
			streams++
		}
		m.Q[i] = old
	}
	t.Logf("of %d weights changed by 1 the logits showed %d, the hash of the weights all", trials, streams)
}
