package kerneltest

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// fake is a kernel package with two variants.
type fake struct{ chosen string }

func (*fake) Package() string                { return "no such kernels" }
func (*fake) All() []string                  { return []string{"generic", "best"} }
func (*fake) Variants() []string             { return []string{"generic", "best"} }
func (f *fake) Variant() string              { return f.chosen }
func (f *fake) SetVariant(name string) error { f.chosen = name; return nil }

func TestVariantsRestores(t *testing.T) {
	f := &fake{"best"}
	var seen []string
	t.Run("inner", func(t *testing.T) {
		Variants(t, f, func(*testing.T) { seen = append(seen, f.chosen) })
		f.chosen = "left behind"
	})
	if f.chosen != "best" || !slices.Equal(seen, []string{"generic", "best"}) {
		t.Errorf("chosen %q, seen %q", f.chosen, seen)
	}
}

// Only a variant whose test passed counts as run: one that failed or was skipped does not.
func TestVariantsLogWhatRan(t *testing.T) {
	if os.Getenv("KERNELTEST_VARIANTS") != "" {
		f := &fake{"best"}
		Variants(t, f, func(*testing.T) {})
		f.chosen = "best"
		for _, end := range []func(t *testing.T){(*testing.T).Fail, (*testing.T).FailNow, (*testing.T).SkipNow} {
			Variants(t, &other{f}, end)
		}
		return
	}
	out, err := runAgain(t, "KERNELTEST_VARIANTS=1")
	if err == nil {
		t.Errorf("the inner test did not fail\n%s", out)
	}
	var got []string
	for line := range strings.Lines(out) {
		if _, name, ok := strings.Cut(strings.TrimSpace(line), "kernel variant ran: "); ok {
			got = append(got, name)
		}
	}
	if want := []string{Line("no such kernels", "generic"), Line("no such kernels", "best")}; !slices.Equal(got, want) {
		t.Errorf("logged %q, want %q", got, want)
	}
}

type other struct{ *fake }

func (*other) Package() string { return "other kernels" }
