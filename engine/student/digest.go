package student

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"

	"mito/engine/arch"
)

// DigestOptions say how the logits are computed, which must not change them.
type DigestOptions struct {
	Batch   int          // copies of the stream decoded side by side; fewer than one means one
	Prefill int          // tokens given at once before the rest comes one by one
	Check   func() error // asked after every token, such as a context's Err; its first error ends the digest; nil for none
}

// MaxDigestTokens bounds the length of the digest's stream.
const MaxDigestTokens = 256

// DigestTokens returns the stream over which the digest is taken: min(Context, 256) tokens x mod V, where x runs through the
// 32-bit xorshift generator (13, 17, 5) started at 2463534242 and stepped before each token.
func DigestTokens(c arch.Config) []int32 {
	tokens := make([]int32, min(c.Context, MaxDigestTokens))
	x := uint32(2463534242)
	for i := range tokens {
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
		tokens[i] = int32(x % uint32(c.VocabSize))
	}
	return tokens
}

// ForDigest returns the weights with no longer a context than the digest's stream has tokens: the same digest without the
// tables and the cache of positions that it never sees, a gigabyte and more with a context of a million. Learned positions
// are weights and stay.
func (w *Weights) ForDigest() *Weights {
	if w.Config.Position != arch.PositionRoPE || w.Config.Context <= MaxDigestTokens {
		return w
	}
	short := *w
	short.Config.Context = MaxDigestTokens
	return &short
}

// Digest returns the SHA-256, in hexadecimal, of the logits after every token of DigestTokens: V float32 each, as
// little-endian bits. Errors: ErrNotFinite when a logit is NaN or infinite, whose bits mean nothing; an error when two
// sequences of the batch differ.
func Digest(m *Model, o DigestOptions) (string, error) {
	s, err := m.NewSession(max(1, o.Batch))
	if err != nil {
		return "", err
	}
	tokens, v := DigestTokens(m.cfg), m.cfg.VocabSize
	check := o.Check
	if check == nil {
		check = func() error { return nil }
	}
	first := make([]float32, 0, v*len(tokens))
	visit := func(seq, i int, logits []float32) error {
		if err := check(); err != nil {
			return err
		}
		if seq == 0 {
			first = append(first, logits...)
			return nil
		}
		for j, x := range logits {
			y := first[i*v+j]
			if math.Float32bits(x) != math.Float32bits(y) && (x == x || y == y) { // two NaN are refused below
				return fmt.Errorf("student: digest: sequence %d of the batch differs at token %d", seq, i)
			}
		}
		return nil
	}
	n := min(max(0, o.Prefill), len(tokens))
	for seq := range s.Batch() {
		if err := s.Score(seq, tokens[:n], func(i int, l []float32) error { return visit(seq, i, l) }); err != nil {
			return "", err
		}
	}
	step := make([]int32, s.Batch())
	for i := n; i < len(tokens); i++ {
		for j := range step {
			step[j] = tokens[i]
		}
		logits, err := s.Step(step)
		if err != nil {
			return "", err
		}
		for seq, l := range logits {
			if err := visit(seq, i, l); err != nil {
				return "", err
			}
		}
	}
	return DigestLogits(first, v)
}

// DigestLogits returns the SHA-256, in hexadecimal, of the logits [tokens,V] as little-endian bits. Errors: ErrNotFinite.
func DigestLogits(logits []float32, vocab int) (string, error) {
	bytes := make([]byte, 0, 4*len(logits))
	for i, x := range logits {
		if !finite(x) {
			return "", fmt.Errorf("student: digest: logit %d after token %d is %v: %w", i%vocab, i/vocab, x, ErrNotFinite)
		}
		bytes = binary.LittleEndian.AppendUint32(bytes, math.Float32bits(x))
	}
	sum := sha256.Sum256(bytes)
	return hex.EncodeToString(sum[:]), nil
}
