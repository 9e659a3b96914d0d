package verify

import (
	"context"
	"errors"

	"mito/backend"
	"mito/engine/student"
	"mito/engine/student/seam"
)

// Backends adds the digest through every backend that this program and this machine have: whole sequences through the
// operations that training uses, on a GPU where there is one. Errors: ctx's, those of package seam.
func (r *Report) Backends(ctx context.Context, w *student.Weights) error {
	w = w.ForDigest()
	for _, name := range backend.Names() {
		if err := ctx.Err(); err != nil {
			return err
		}
		b, _, err := backend.Open(name, backend.Options{})
		if errors.Is(err, backend.ErrUnavailable) {
			continue
		}
		if err != nil {
			return err
		}
		digest, err := seam.Prove(b, w)
		device := b.Info().Device
		if err := errors.Join(err, b.Close()); err != nil {
			return err
		}
		r.add("backend "+name+", "+device, digest)
	}
	return nil
}
