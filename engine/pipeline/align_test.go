package pipeline

import (
	"fmt"
	"math"
	"path/filepath"
	"testing"

	"mito/engine/arch"
	"mito/engine/train"
)

// A is aligned with the gradient of the labels that the training has: all right moves of a position at once are not one of them, and each batch has its own.
func TestAlignedToSharedLabels(t *testing.T) {
	w := openTask(t, "tictactoe", tiny(t, "tictactoe"))
	base, err := OpenBase(t.Context(), fitTiny(t, w, FitOptions{Dir: filepath.Join(t.TempDir(), "base")}).Dir, false)
	if err != nil {
		t.Fatal(err)
	}
	hashes := map[string]bool{}
	for _, labels := range []string{train.Drawn, train.Shared} {
		o := adaptOptions(filepath.Join(t.TempDir(), labels))
		o.Train.Steps, o.Train.LR, o.Train.Labels, o.Start = 1, 1e-12, labels, AdaptStart{Align: 2} // A stays where it began
		a := adapt(t, w, base, o).Adapter
		for i, share := range heldShares(t, w, base, o, a) {
			if share < 0.3 {
				t.Errorf("%s labels, %s: A reads %.3f of the gradient", labels, a.Pairs[i].Module.Name, share)
			}
		}
		hashes[fmt.Sprint(a.Pairs[0].A)] = true
	}
	if len(hashes) != 2 {
		t.Error("drawn and shared labels align A alike")
	}
	var sums []float64 // of one batch and of two: the second is another one
	for _, batches := range []int{1, 2} {
		o := adaptOptions("")
		o.Train.Labels, o.Start = train.Shared, AdaptStart{Align: batches}
		sums = append(sums, gradientOf(t, w, base, o))
	}
	if math.Abs(sums[1]-4*sums[0]) < 1e-3*sums[0] {
		t.Errorf("Σg² is %v of one batch and %v of two: both are the first", sums[0], sums[1])
	}
}

// gradientOf is Σg² of the base's gradients.
func gradientOf(t *testing.T, w *Workload, base *Base, o AdaptOptions) (sum float64) {
	t.Helper()
	modules, err := o.Lora.Modules(base.Floats.Config)
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range gradientsOf(t, w, base, o, modules) {
		for _, v := range g {
			sum += v * v
		}
	}
	return sum
}

// gradientsOf are the base's gradients of modules, as alignment takes them.
func gradientsOf(t *testing.T, w *Workload, base *Base, o AdaptOptions, modules []arch.Module) [][]float64 {
	t.Helper()
	m, err := adapting(openBackend(t), base, &o, modules)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	source, err := o.source(w)
	if err != nil {
		t.Fatal(err)
	}
	gradients, err := o.baseGradients(t.Context(), m, base, modules, source)
	if err != nil {
		t.Fatal(err)
	}
	return gradients
}
