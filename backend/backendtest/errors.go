package backendtest

import (
	"errors"
	"slices"
	"testing"

	"gorgonia.org/tensor"

	"mito/backend"
)

// typed tells whether an error is one of those that the seam has for wrong arguments.
func typed(err error) bool {
	var (
		s *backend.ShapeError
		d *backend.DTypeError
		a *backend.ArgError
	)
	return errors.As(err, &s) || errors.As(err, &d) || errors.As(err, &a) || isOwner(err)
}

func isOwner(err error) bool {
	var o *backend.OwnerError
	return errors.As(err, &o)
}

// testArguments checks that every operation refuses what does not fit with a typed error that names it: every tensor
// argument spoilt in every way (missing, of another backend, of another dtype, of another size, transposed), and the
// calls that its cases list (scalars outside their range, aliases that are not allowed and, where the backend can see
// them, values of ids and weights).
func testArguments(t *testing.T, b backend.Backend, o Options) {
	spoiltOps := map[string]bool{}
	for _, c := range argumentCases(b) {
		t.Run(c.Name(), func(t *testing.T) {
			e := newEnv(t, b, c.Name())
			tr := c.build(e)
			e.reset(tr.outs())
			if err := tr.run(); err != nil {
				t.Fatalf("good arguments: %v", err)
			}
			for i, a := range tr.args {
				if a.t == nil {
					continue
				}
				for _, s := range spoilt(e, a) {
					bad := slices.Clone(tr.tensors)
					bad[i] = s.t
					if err := tr.op(bad); !s.want(err) || !names(err, c.Op) {
						t.Errorf("%s %s: got error %v", a.name, s.how, err)
					}
					spoiltOps[c.Op] = true
				}
			}
			for _, r := range tr.refused {
				if r.values && !o.ChecksValues {
					continue
				}
				var a *backend.ArgError
				if err := r.call(); !errors.As(err, &a) || !names(err, c.Op) || !errors.Is(err, backend.ErrArgument) {
					t.Errorf("%s: got error %v, want an *ArgError of %s", r.what, err, c.Op)
				}
			}
		})
	}
	for _, op := range Ops() {
		if !spoiltOps[op] {
			t.Errorf("no arguments of %s were spoilt", op)
		}
	}
}

type spoiling struct {
	how  string
	t    *tensor.Dense
	want func(error) bool
}

func spoilt(e *env, a arg) []spoiling {
	isShape := func(err error) bool {
		var s *backend.ShapeError
		return errors.As(err, &s)
	}
	isDType := func(err error) bool {
		var d *backend.DTypeError
		return errors.As(err, &d)
	}
	shape := a.t.Shape().Clone()
	s := []spoiling{
		{"of another backend", tensor.New(tensor.WithShape(shape...), tensor.Of(a.t.Dtype())), isOwner},
		{"of another dtype", e.make(otherDType(a.t.Dtype()), shape...), isDType},
	}
	if !a.optional {
		s = append(s, spoiling{"missing", nil, isOwner})
	}
	if !a.any {
		longer := append([]int(nil), shape...)
		longer[0]++
		s = append(s, spoiling{"with a row more", e.make(a.t.Dtype(), longer...), isShape})
		if len(shape) > 1 {
			wider := append([]int(nil), shape...)
			wider[len(wider)-1]++
			s = append(s, spoiling{"with a column more", e.make(a.t.Dtype(), wider...), isShape})
		}
	}
	if len(shape) == 2 && shape[0] > 1 && shape[1] > 1 {
		turned := e.make(a.t.Dtype(), shape[1], shape[0])
		if err := turned.T(); err == nil {
			s = append(s, spoiling{"transposed in place", turned, typed})
		}
	}
	return s
}

func otherDType(dt tensor.Dtype) tensor.Dtype {
	if dt == backend.F32 || dt == backend.BF16 {
		return backend.I32
	}
	return backend.F32
}

// names tells whether a typed error names the operation.
func names(err error, op string) bool {
	var (
		s *backend.ShapeError
		d *backend.DTypeError
		a *backend.ArgError
		o *backend.OwnerError
	)
	switch {
	case errors.As(err, &s):
		return s.Op == op
	case errors.As(err, &d):
		return d.Op == op
	case errors.As(err, &a):
		return a.Op == op
	case errors.As(err, &o):
		return o.Op == op
	}
	return false
}
