package cuda_test

import (
	"errors"
	"testing"

	"mito/backend"
	_ "mito/backend/cpu"
	_ "mito/backend/cuda"
)

// Where the backend is not built in, or the machine has no driver or GPU, opening it by name fails with the reason, and
// auto goes on to the CPU and tells the reason.
func TestWithoutGPU(t *testing.T) {
	b, _, err := backend.Open("cuda", backend.Options{})
	if err == nil {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
		t.Skip("this machine has a GPU")
	}
	if !errors.Is(err, backend.ErrNotBuilt) && !errors.Is(err, backend.ErrUnavailable) {
		t.Errorf("cuda: %v", err)
	}
	b, skipped, err := backend.Open("auto", backend.Options{Threads: 1})
	if err != nil {
		t.Fatalf("auto: %v", err)
	}
	defer func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}()
	if b.Info().Name != "cpu" || len(skipped) != 1 {
		t.Errorf("auto opened %s and skipped %v", b.Info().Name, skipped)
	}
}
