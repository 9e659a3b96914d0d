package student

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"math"
	"slices"

	"mito/engine/arch"
)

// DigestOptions say how the logits are computed, which must not change them.
type DigestOptions struct {
	Batch   int          // sequences of the stream decoded side by side; fewer than one means one
	Prefill int          // tokens of a sequence given at once before the rest comes one by one
	Check   func() error // asked after every token, such as a context's Err; its first error ends the digest; nil for none

	most int // tokens of the stream at most, for tests of what it runs through; 0 for all
}

// Digests are a student's digest and the three that it is made of, in hexadecimal: of the functions, of the logits over the
// stream, of the weights.
type Digests struct{ Digest, Functions, Stream, Weights string }

// join makes the digest of the three parts.
func join(functions, stream, weights [sha256.Size]byte) Digests {
	all := sha256.Sum256(slices.Concat(functions[:], stream[:], weights[:]))
	text := func(sum [sha256.Size]byte) string { return hex.EncodeToString(sum[:]) }
	return Digests{text(all), text(functions), text(stream), text(weights)}
}

// The stream's sequences are no longer than this but where positions are learned, and it has no fewer tokens.
const (
	MaxSequence = 1024
	minStream   = 4096
)

// peakFactor is what the factor of attention is multiplied by in every second sequence.
const peakFactor = 8

// DigestStream returns the sequences over which the digest is taken. They begin with every token of the vocabulary. In those of odd
// number attention's scale is Peaked.
func DigestStream(c arch.Config) [][]int32 {
	length := min(c.Context, MaxSequence)
	if c.Position == arch.PositionLearned {
		length = c.Context
	}
	tokens := make([]int32, max(minStream, c.VocabSize, 2*length))
	random := generator(2)
	for i := range tokens {
		if i < c.VocabSize {
			tokens[i] = int32(i)
		} else {
			tokens[i] = int32(random.next() % uint32(c.VocabSize))
		}
	}
	return slices.Collect(slices.Chunk(tokens, length))
}

// Peaked is the scale of attention in the digest's sequences of odd number.
func Peaked(scale float32) float32 { return scale * peakFactor }

// generator is the stated generator of random numbers.
type generator uint32

func (g *generator) next() uint32 {
	*g += 0x9e3779b9
	z := uint32(*g)
	z = (z ^ z>>16) * 0x85ebca6b
	z = (z ^ z>>13) * 0xc2b2ae35
	return z ^ z>>16
}

// unit is in [-1,1).
func (g *generator) unit() float32 { return float32(int32(g.next())>>8) * 0x1p-23 }

// ForDigest returns the weights with no longer a context than the digest's sequences: the same digest without the
// tables and the cache of positions that it never sees, a gigabyte and more with a context of a million. Learned positions
// are weights and stay.
func (w *Weights) ForDigest() *Weights {
	if w.Config.Position != arch.PositionRoPE || w.Config.Context <= MaxSequence {
		return w
	}
	short := *w
	short.Config.Context = MaxSequence
	return &short
}

// Digest returns the digest of SPEC.md, in hexadecimal. Errors: as of Prove.
func Digest(m *Model, o DigestOptions) (string, error) {
	d, err := Prove(m, o)
	return d.Digest, err
}

// Prove returns the digest and what it is made of. Errors: ErrNotFinite when a result is NaN or infinite, whose bits mean nothing,
// and those of Check.
func Prove(m *Model, o DigestOptions) (Digests, error) {
	functions, err := m.functions()
	if err != nil {
		return Digests{}, err
	}
	h := sha256.New()
	if err := m.stream(h, o); err != nil {
		return Digests{}, err
	}
	return join(functions, [sha256.Size]byte(h.Sum(nil)), m.weights), nil
}

// ProveStream is Prove of a program that has computed the stream's logits elsewhere: score calls visit with the logits after each
// token of a sequence of DigestStream. The functions are this processor's. Errors: as of Prove, those of New and of score.
func ProveStream(w *Weights, score func(number int, tokens []int32, visit func(logits []float32) error) error) (Digests, error) {
	m, err := New(w, Options{})
	if err != nil {
		return Digests{}, err
	}
	defer m.Close()
	functions, err := m.functions()
	if err != nil {
		return Digests{}, err
	}
	h := sha256.New()
	for number, tokens := range DigestStream(m.cfg) {
		if err := score(number, tokens, func(logits []float32) error { return putLogits(h, logits) }); err != nil {
			return Digests{}, err
		}
	}
	return join(functions, [sha256.Size]byte(h.Sum(nil)), m.weights), nil
}

// maxKept bounds the logits that are kept until their turn to be hashed, where sequences are decoded side by side.
const maxKept = 1 << 24

// stream hashes the logits over the stream.
func (m *Model) stream(h hash.Hash, o DigestOptions) error {
	all := DigestStream(m.cfg)
	for total := 0; o.most > 0 && len(all) > 0; all = all[:len(all)-1] {
		total = (len(all) - 1) * len(all[0])
		if total < o.most {
			last := &all[len(all)-1]
			*last = (*last)[:min(len(*last), o.most-total)]
			break
		}
	}
	batch := min(max(1, o.Batch), max(1, maxKept/(2*len(all[0])*m.cfg.VocabSize)), (len(all)+1)/2)
	var sessions [2]*Session
	for i, model := range []*Model{m, m.peaked()} {
		s, err := model.NewSession(batch)
		if err != nil {
			return err
		}
		sessions[i] = s
	}
	for group := range slices.Chunk(all, 2*batch) {
		logits := make([][]float32, len(group))
		for kind, s := range sessions {
			var mine [][]int32
			for i := kind; i < len(group); i += 2 {
				mine = append(mine, group[i])
			}
			err := s.restart(mine, o, func(i int, l []float32) { logits[2*i+kind] = append(logits[2*i+kind], l...) })
			if err != nil {
				return err
			}
		}
		for _, l := range logits {
			if err := putLogits(h, l); err != nil {
				return err
			}
		}
	}
	return nil
}

// peaked is the model with peaked attention.
func (m *Model) peaked() *Model {
	p := *m
	p.layers = slices.Clone(m.layers)
	for i := range p.layers {
		p.layers[i].shape.Scale = Peaked(p.layers[i].shape.Scale)
	}
	return &p
}

// restart empties the session and decodes sequences side by side, none longer than the first.
func (s *Session) restart(sequences [][]int32, o DigestOptions, visit func(i int, logits []float32)) error {
	for seq := range s.Batch() {
		if err := s.Truncate(seq, 0); err != nil {
			return err
		}
	}
	check := o.Check
	if check == nil {
		check = func() error { return nil }
	}
	for i, tokens := range sequences {
		err := s.Score(i, tokens[:min(max(0, o.Prefill), len(tokens))], func(_ int, l []float32) error {
			visit(i, l)
			return check()
		})
		if err != nil {
			return err
		}
	}
	step := make([]int32, s.Batch())
	for at := max(0, o.Prefill); len(sequences) > 0 && at < len(sequences[0]); at++ {
		for i := range step {
			step[i] = -1
			if i < len(sequences) && at < len(sequences[i]) {
				step[i] = sequences[i][at]
			}
		}
		logits, err := s.Step(step)
		if err != nil {
			return err
		}
		for i, l := range logits {
			if l != nil {
				visit(i, l)
				if err := check(); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// putLogits hashes logits. Errors: ErrNotFinite.
func putLogits(h hash.Hash, logits []float32) error {
	bytes := make([]byte, 0, 4*len(logits))
	for i, x := range logits {
		if !finite(x) {
			return fmt.Errorf("student: digest: logit %d is %v: %w", i, x, ErrNotFinite)
		}
		bytes = binary.LittleEndian.AppendUint32(bytes, math.Float32bits(x))
	}
	h.Write(bytes)
	return nil
}

// hash is the SHA-256 of the weights.
func (w *Weights) hash() [sha256.Size]byte {
	h := sha256.New()
	floats := func(v []float32) {
		for part := range slices.Chunk(v, 1024) {
			bytes := make([]byte, 0, 4096)
			for _, x := range part {
				bytes = binary.LittleEndian.AppendUint32(bytes, math.Float32bits(x))
			}
			h.Write(bytes)
		}
	}
	matrix := func(m *Matrix) {
		for part := range slices.Chunk(m.Q, 4096) {
			bytes := make([]byte, len(part))
			for i, q := range part {
				bytes[i] = byte(q)
			}
			h.Write(bytes)
		}
		floats(m.Scale)
		floats(m.Bias)
	}
	matrix(&w.Embedding)
	matrix(&w.Positions)
	for i := range w.Layers {
		l := &w.Layers[i]
		floats(l.Norm1)
		floats(l.Norm1Bias)
		matrix(&l.Query)
		matrix(&l.Key)
		matrix(&l.Value)
		floats(l.QueryNorm)
		floats(l.KeyNorm)
		matrix(&l.Output)
		floats(l.Norm2)
		floats(l.Norm2Bias)
		matrix(&l.Gate)
		matrix(&l.Up)
		matrix(&l.Down)
		matrix(&l.PLE.Table)
		matrix(&l.PLE.Gate)
		matrix(&l.PLE.Out)
	}
	floats(w.Norm)
	floats(w.NormBias)
	matrix(&w.Head)
	return [sha256.Size]byte(h.Sum(nil))
}
