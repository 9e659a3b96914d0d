package data

import (
	"math"

	"mito/engine/tokenizer"
)

// Loss accumulates a loss over batches as sums, so that batches of different
// weight need no averaging of averages.
type Loss struct {
	Nats   float64 // Σ weight · −ln p(target)
	Weight float64 // Σ weight
	Bytes  float64 // of the original UTF-8 that the targets stand for, weighted as they are
}

// Add adds the sums of o.
func (l *Loss) Add(o Loss) {
	l.Nats += o.Nats
	l.Weight += o.Weight
	l.Bytes += o.Bytes
}

// PerToken is the mean in nats per token, NaN where nothing was scored. It
// compares only models of one tokenizer.
func (l Loss) PerToken() float64 { return l.Nats / l.Weight }

// BitsPerByte compares models of any tokenizers. It is NaN where no byte was scored.
func (l Loss) BitsPerByte() float64 { return BitsPerByte(l.Nats, l.Bytes) }

// BitsPerByte is nats / (ln 2 · bytes): the size of the scored text under the
// model's code relative to its size in UTF-8, in bits per byte. nats is the sum
// over the text, not a mean.
func BitsPerByte(nats, bytes float64) float64 {
	if bytes == 0 {
		return math.NaN()
	}
	return nats / (math.Ln2 * bytes)
}

// TokenBytes is how many bytes ids decode to. As a tokenizer round-trips, that
// is the number of bytes of the UTF-8 that was encoded, whatever the
// vocabulary. It fails with *tokenizer.IDError.
func TokenBytes(tok tokenizer.Tokenizer, ids []int32) (int64, error) {
	sizes := make([]int32, tok.VocabSize())
	var buf []byte
	var err error
	for id := range sizes {
		if buf, err = tok.AppendToken(buf[:0], int32(id)); err != nil {
			return 0, err
		}
		sizes[id] = int32(len(buf))
	}
	var n int64
	for _, id := range ids {
		if id < 0 || int(id) >= len(sizes) {
			return 0, &tokenizer.IDError{ID: id, VocabSize: len(sizes)}
		}
		n += int64(sizes[id])
	}
	return n, nil
}
