package seam

import (
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
	return student.DigestLogits(logits, w.Config.VocabSize)
}
