package seam

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"

	"mito/backend"
	"mito/engine/student"
)

// Digest is student.Digest through a backend: the SHA-256, in hexadecimal, of the logits after every token of
// student.DigestTokens. Errors: those of New and Logits, and student.ErrNotFinite.
func Digest(b backend.Backend, w *student.Weights) (digest string, err error) {
	tokens := student.DigestTokens(w.Config)
	r, err := New(b, w, 1, len(tokens))
	if err != nil {
		return "", err
	}
	defer func() {
		if freeErr := r.Close(); err == nil {
			err = freeErr
		}
	}()
	logits := make([]float32, len(tokens)*w.Config.VocabSize)
	if err := r.Logits(logits, tokens); err != nil {
		return "", err
	}
	bytes := make([]byte, 0, 4*len(logits))
	for i, v := range logits {
		if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
			return "", fmt.Errorf("student: digest: logit %d after token %d is %v: %w",
				i%w.Config.VocabSize, i/w.Config.VocabSize, v, student.ErrNotFinite)
		}
		bytes = binary.LittleEndian.AppendUint32(bytes, math.Float32bits(v))
	}
	sum := sha256.Sum256(bytes)
	return hex.EncodeToString(sum[:]), nil
}
