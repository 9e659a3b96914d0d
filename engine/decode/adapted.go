package decode

// WithAdapter is a runtime whose sequences go through one of its adapters from the beginning, for whoever judges it. Nothing is
// loaded or copied. The texts of a Generator say themselves what they go through. Errors: session.ErrAdapter.
func WithAdapter(r Runtime, name string) (Runtime, error) {
	a := &adaptedRuntime{r, name}
	_, err := a.NewSession(1)
	return a, err
}

type adaptedRuntime struct {
	Runtime
	name string
}

// NewSession implements Runtime.
func (r *adaptedRuntime) NewSession(batch int) (Session, error) {
	s, err := r.Runtime.NewSession(batch)
	if err != nil {
		return nil, err
	}
	for i := range batch {
		if err := s.Adapt(i, r.name); err != nil {
			return nil, err
		}
	}
	return s, nil
}
