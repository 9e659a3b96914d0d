package isa

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/cpu"
)

// Names of variants. The order of a kernel package's list, not of these, says which is faster.
const (
	Generic    = "generic"    // plain Go, every machine
	AVX2       = "avx2"       // amd64: AVX2, FMA3 and BMI2
	AVXVNNI    = "avxvnni"    // amd64: AVX2 and VEX-encoded VPDPBUSD
	AVX512     = "avx512"     // amd64: F, BW, DQ and VL
	AVX512VNNI = "avx512vnni" // amd64: AVX512 and VPDPBUSD
	NEON       = "neon"       // arm64 baseline
	NEONSDOT   = "neon-sdot"  // arm64 with FEAT_DotProd
)

// ErrUnknownVariant is wrapped by SetVariant when the name is not among Variants.
var ErrUnknownVariant = errors.New("isa: variant not available here")

// Usable reports whether this build may run the named variant on this processor. Under the build tag purego only
// Generic is usable.
func Usable(name string) bool {
	if name == Generic {
		return true
	}
	if purego {
		return false
	}
	x := &cpu.X86
	avx2 := x.HasAVX2 && x.HasFMA && x.HasBMI2
	avx512 := avx2 && x.HasAVX512F && x.HasAVX512BW && x.HasAVX512DQ && x.HasAVX512VL
	switch name {
	case AVX2:
		return avx2
	case AVXVNNI:
		return avx2 && x.HasAVXVNNI
	case AVX512:
		return avx512
	case AVX512VNNI:
		return avx512 && x.HasAVX512VNNI
	case NEON:
		return isARM64
	case NEONSDOT:
		return isARM64 && cpu.ARM64.HasASIMDDP
	}
	return false
}

// Impl is one variant of a package's kernels.
type Impl[T any] struct {
	Name  string
	Funcs T
}

// Dispatcher holds the variants of one kernel package and the chosen one. Reading is safe from every goroutine;
// SetVariant must not run while a kernel does, or one result could come from two variants.
type Dispatcher[T any] struct {
	pkg    string
	all    []string
	impls  []Impl[T]
	chosen atomic.Pointer[Impl[T]]
	chose  func(*T)
}

// New returns a dispatcher over those of impls that are usable here, in the given order: slowest first, best last. The
// last is chosen. It panics when impls does not begin with Generic: that is a mistake in the calling package.
func New[T any](pkg string, impls ...Impl[T]) *Dispatcher[T] {
	if len(impls) == 0 || impls[0].Name != Generic {
		panic("isa: " + pkg + ": the first variant must be " + Generic)
	}
	d := &Dispatcher[T]{pkg: pkg}
	for _, i := range impls {
		d.all = append(d.all, i.Name)
		if Usable(i.Name) {
			d.impls = append(d.impls, i)
		}
	}
	d.chosen.Store(&d.impls[len(d.impls)-1])
	register(d)
	return d
}

// OnChoice has f called after every SetVariant, for a package that keeps a copy of the choice. Call it while the
// package initialises.
func (d *Dispatcher[T]) OnChoice(f func(*T)) { d.chose = f }

// Package returns the name that New was given.
func (d *Dispatcher[T]) Package() string { return d.pkg }

// Funcs returns the kernels of the chosen variant.
func (d *Dispatcher[T]) Funcs() *T { return &d.chosen.Load().Funcs }

// Variant returns the name of the chosen variant.
func (d *Dispatcher[T]) Variant() string { return d.chosen.Load().Name }

// All returns the names of the variants that this build has, usable on this processor or not, slowest first.
func (d *Dispatcher[T]) All() []string { return slices.Clone(d.all) }

// Variants returns the names of the variants that this processor can run, slowest first.
func (d *Dispatcher[T]) Variants() []string {
	names := make([]string, len(d.impls))
	for i := range d.impls {
		names[i] = d.impls[i].Name
	}
	return names
}

// find returns the variant of a name.
func (d *Dispatcher[T]) find(name string) (*Impl[T], error) {
	i := slices.IndexFunc(d.impls, func(i Impl[T]) bool { return i.Name == name })
	if i < 0 {
		return nil, fmt.Errorf("%w: %s has %s, not %q", ErrUnknownVariant, d.pkg, strings.Join(d.Variants(), ", "), name)
	}
	return &d.impls[i], nil
}

// Lookup returns the kernels of a variant by name, without choosing it.
func (d *Dispatcher[T]) Lookup(name string) (*T, error) {
	i, err := d.find(name)
	if err != nil {
		return nil, err
	}
	return &i.Funcs, nil
}

// SetVariant chooses a variant by name. It is for tests, verification and benchmarks.
func (d *Dispatcher[T]) SetVariant(name string) error {
	i, err := d.find(name)
	if err != nil {
		return err
	}
	d.chosen.Store(i)
	if d.chose != nil {
		d.chose(&i.Funcs)
	}
	return nil
}
