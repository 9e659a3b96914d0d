package backendtest

import (
	"errors"
	"fmt"
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

// call is an operation with good arguments, of which one at a time is spoilt.
type call struct {
	op   string
	args []arg
	run  func(t []*tensor.Dense) error
}

type arg struct {
	name     string
	t        *tensor.Dense
	optional bool // nil is good
	any      bool // any size is good
}

// testTensorErrors spoils every tensor argument of every operation in every way: missing, of another backend, of
// another dtype, of another size, transposed. Each is a typed error that names the operation, and the outputs stay
// as they were.
func testTensorErrors(t *testing.T, b backend.Backend) {
	e := newEnv(t, b, "tensors")
	seen := map[string]bool{}
	for _, c := range calls(e) {
		seen[c.op] = true
		t.Run(c.op, func(t *testing.T) {
			good := make([]*tensor.Dense, len(c.args))
			for i, a := range c.args {
				good[i] = a.t
			}
			if err := c.run(good); err != nil {
				t.Fatalf("good arguments: %v", err)
			}
			for i, a := range c.args {
				for _, s := range spoilt(e, a) {
					bad := append([]*tensor.Dense(nil), good...)
					bad[i] = s.t
					err := c.run(bad)
					if !s.want(err) || !names(err, c.op) {
						t.Errorf("%s %s: got error %v", a.name, s.how, err)
					}
				}
			}
		})
	}
	for _, op := range Ops() {
		if !seen[op] {
			t.Errorf("no call of %s", op)
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
	if dt == backend.F32 {
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

// testArgErrors checks scalar arguments outside their range, aliases that are not allowed and, where the backend
// can see them, values of ids and weights.
func testArgErrors(t *testing.T, b backend.Backend, o Options) {
	e := newEnv(t, b, "arguments")
	for _, c := range badArgs(e, o) {
		err := c.run()
		var a *backend.ArgError
		if !errors.As(err, &a) || a.Op != c.op {
			t.Errorf("%s with %s: got error %v, want an *ArgError of it", c.op, c.what, err)
		}
		if a != nil && fmt.Sprint(a) == "" {
			t.Errorf("%s: empty message", c.op)
		}
	}
}
