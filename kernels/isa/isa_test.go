package isa

import (
	"errors"
	"slices"
	"testing"
)

func TestDispatcher(t *testing.T) {
	d := New("test", Impl[int]{Generic, 1}, Impl[int]{"no such instruction set", 2})
	if got := d.Variants(); !slices.Equal(got, []string{Generic}) {
		t.Fatalf("variants %q", got)
	}
	if got := d.All(); !slices.Equal(got, []string{Generic, "no such instruction set"}) {
		t.Errorf("all variants %q", got)
	}
	if d.Variant() != Generic || *d.Funcs() != 1 {
		t.Errorf("chose %q, %d", d.Variant(), *d.Funcs())
	}
	if err := d.SetVariant("no such instruction set"); !errors.Is(err, ErrUnknownVariant) {
		t.Errorf("got %v", err)
	}
	if err := d.SetVariant(Generic); err != nil {
		t.Error(err)
	}
}

func TestLastUsableIsChosen(t *testing.T) {
	names := []string{AVX2, AVXVNNI, AVX512, AVX512VNNI, NEON, NEONSDOT}
	impls := []Impl[string]{{Generic, Generic}}
	want := Generic
	for _, n := range names {
		impls = append(impls, Impl[string]{n, n})
		if Usable(n) {
			want = n
		}
	}
	d := New("test", impls...)
	if d.Variant() != want || *d.Funcs() != want {
		t.Errorf("chose %q, want %q", d.Variant(), want)
	}
	for _, n := range d.Variants() {
		if err := d.SetVariant(n); err != nil || *d.Funcs() != n {
			t.Errorf("%s: %v, %q", n, err, *d.Funcs())
		}
	}
	if purego && len(d.Variants()) != 1 {
		t.Errorf("purego offers %q", d.Variants())
	}
}

func TestNewNeedsGeneric(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	New("test", Impl[int]{AVX2, 1})
}

func TestLimit(t *testing.T) {
	all := []Impl[string]{{Generic, Generic}}
	for _, n := range []string{AVX2, AVXVNNI, AVX512, AVX512VNNI, NEON, NEONSDOT} {
		all = append(all, Impl[string]{n, n})
	}
	full, plain := New("limit full", all...), New("limit plain", Impl[string]{Generic, Generic})
	seen := ""
	full.OnChoice(func(s *string) { seen = *s })
	for _, level := range Levels() {
		if err := Limit(level); err != nil {
			t.Fatal(err)
		}
		if full.Variant() != level || seen != level || plain.Variant() != Generic {
			t.Errorf("%s: chose %s (told %s) and %s", level, full.Variant(), seen, plain.Variant())
		}
	}
	for _, bad := range []string{"", "sse9"} {
		if err := Limit(bad); !errors.Is(err, ErrUnknownVariant) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	var names []string
	for _, s := range Kernels() {
		names = append(names, s.Package())
	}
	if !slices.IsSorted(names) || !slices.Contains(names, "limit full") || !slices.Contains(names, "limit plain") {
		t.Errorf("registered %q", names)
	}
}

// A choice reaches a package's copy whichever way it was made.
func TestOnChoice(t *testing.T) {
	d := New("onchoice-test", Impl[int]{Name: Generic, Funcs: 7})
	seen := 0
	d.OnChoice(func(v *int) { seen = *v })
	if err := d.SetVariant(Generic); err != nil || seen != 7 {
		t.Errorf("the copy did not hear of the choice: %d, %v", seen, err)
	}
}
