package files

import (
	"errors"
	"math"
	"slices"
	"strings"
)

// Ranges checks the fields of a configuration and keeps every complaint, so that a user sees all of them at once.
// The zero value is ready.
type Ranges struct{ errs []error }

// Int wants lo <= v <= hi.
func (r *Ranges) Int(field string, v, lo, hi int64) {
	if v < lo || v > hi {
		r.errs = append(r.errs, Errorf(ErrRange, field, "is %d, expected %d to %d", v, lo, hi))
	}
}

// Float wants a finite v with lo <= v <= hi.
func (r *Ranges) Float(field string, v, lo, hi float64) {
	if !(v >= lo && v <= hi) || math.IsInf(v, 0) {
		r.errs = append(r.errs, Errorf(ErrRange, field, "is %v, expected %v to %v", v, lo, hi))
	}
}

// OneOf wants v among the allowed words.
func (r *Ranges) OneOf(field, v string, allowed ...string) {
	if !slices.Contains(allowed, v) {
		r.errs = append(r.errs, Errorf(ErrRange, field, "is %q, expected one of %s", v, strings.Join(allowed, ", ")))
	}
}

// Err returns all complaints, or nil.
func (r *Ranges) Err() error { return errors.Join(r.errs...) }

// ErrIn is Err with the file's path in each complaint.
func (r *Ranges) ErrIn(path string) error {
	named := make([]error, len(r.errs))
	for i, e := range r.errs {
		named[i] = WithPath(e, path)
	}
	return errors.Join(named...)
}
