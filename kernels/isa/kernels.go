package isa

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// Switch is a kernel package's choice of a variant, as every Dispatcher offers it.
type Switch interface {
	Package() string
	All() []string      // of this build, usable here or not
	Variants() []string // usable here, slowest first
	Variant() string    // the chosen one
	SetVariant(name string) error
}

var registry struct {
	sync.Mutex
	switches []Switch
}

func register(s Switch) {
	registry.Lock()
	defer registry.Unlock()
	registry.switches = append(registry.switches, s)
}

// Kernels lists the dispatchers of the kernel packages in this program, by name.
func Kernels() []Switch {
	registry.Lock()
	defer registry.Unlock()
	return slices.SortedFunc(slices.Values(registry.switches), func(a, b Switch) int {
		return cmp.Compare(a.Package(), b.Package())
	})
}

// levels orders the names of each architecture by what they need from the processor.
var levels = []string{Generic, NEON, NEONSDOT, AVX2, AVXVNNI, AVX512, AVX512VNNI}

// Limit makes every kernel package choose its best variant that needs no more of the processor than the named one does,
// as a lesser processor would. It is for tests, verification and benchmarks. The error wraps ErrUnknownVariant where
// this processor cannot run the named variant.
func Limit(name string) error {
	most := slices.Index(levels, name)
	if most < 0 || !Usable(name) {
		return fmt.Errorf("%w: %q; usable: %s", ErrUnknownVariant, name, strings.Join(Levels(), ", "))
	}
	for _, s := range Kernels() {
		best := Generic
		for _, v := range s.Variants() {
			if slices.Index(levels, v) <= most {
				best = v
			}
		}
		if err := s.SetVariant(best); err != nil {
			return err
		}
	}
	return nil
}

// Levels lists the names that Limit takes here, least first.
func Levels() []string {
	return slices.DeleteFunc(slices.Clone(levels), func(name string) bool { return !Usable(name) })
}
