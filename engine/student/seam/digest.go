package seam

import (
	"errors"

	"mito/backend"
	"mito/engine/student"
)

// Prove is student.Prove with the logits of the stream from a backend; the functions are computed by this processor. Errors: those
// of New and Logits, and student.ErrNotFinite.
func Prove(b backend.Backend, w *student.Weights) (d student.Digests, err error) {
	sequences := student.DigestStream(w.Config)
	runners := map[int]*Runner{}
	defer func() {
		for _, r := range runners {
			err = errors.Join(err, r.Close())
		}
	}()
	vocab := w.Config.VocabSize
	logits := make([]float32, len(sequences[0])*vocab)
	return student.ProveStream(w, func(number int, tokens []int32, visit func([]float32) error) error {
		r := runners[len(tokens)]
		if r == nil {
			if r, err = New(b, w, 1, len(tokens)); err != nil {
				return err
			}
			runners[len(tokens)] = r
		}
		out := logits[:len(tokens)*vocab]
		r.peak(number%2 == 1)
		if err := r.Logits(out, tokens); err != nil {
			return err
		}
		return visit(out)
	})
}

// peak turns the digest's peaked attention on or off.
func (r *Runner) peak(on bool) {
	for i := range r.layers {
		l := &r.layers[i]
		l.args.Scale = r.config.Layer(i).Scale
		if on {
			l.args.Scale = student.Peaked(l.args.Scale)
		}
	}
}
