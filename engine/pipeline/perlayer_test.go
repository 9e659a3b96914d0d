package pipeline

import (
	"math"
	"path/filepath"
	"strings"
	"testing"

	"mito/engine/compress/lora"
)

// A model with per-layer embeddings trains, and carries adapters like others, on float and on INT8 weights: a kept prefix gives the
// adapter that computing it gives, and the runtime's loss is the training's.
func TestPerLayerEmbeddings(t *testing.T) {
	w := openText(t, strings.Repeat(fox, 60), TextOptions{Context: 16, HeldOut: 0.2})
	shape, err := ShapeOf("micro")
	if err != nil {
		t.Fatal(err)
	}
	c := shape.At(w.Tokenizer.VocabSize(), w.Context)
	c.PLEDim = 12
	trained := RecipeOf("tictactoe").Train
	trained.Steps = 20
	dir := fitTiny(t, w, FitOptions{Dir: filepath.Join(t.TempDir(), "base"), Config: c, Train: trained}).Dir
	for name, quantized := range map[string]bool{"float": false, "int8": true} {
		base, err := OpenBase(t.Context(), dir, quantized)
		if err != nil {
			t.Fatal(err)
		}
		if got := base.Floats.Config.PLEDim; got != c.PLEDim {
			t.Fatalf("%s: per-layer embeddings of %d, want %d", name, got, c.PLEDim)
		}
		run := func(prefix int64) *Adapted {
			o := adaptOptions(filepath.Join(t.TempDir(), "run"))
			o.Lora.Layers, o.Prefix = []int{c.Layers - 1}, prefix
			o.Lora.Targets = []string{"per_layer_gate", "per_layer_projection", "up_proj"}
			return adapt(t, w, base, o)
		}
		kept, computed := run(1<<20), run(1) // one byte has room for no row
		if fileHash(t, kept.Dir, lora.WeightsName) != fileHash(t, computed.Dir, lora.WeightsName) || kept.Prefix.Found == 0 {
			t.Errorf("%s: a kept prefix gives another adapter: %+v", name, kept.Prefix)
		}
		if !(kept.After.PerToken() < kept.Before.PerToken()) {
			t.Errorf("%s: loss %v before, %v after", name, kept.Before.PerToken(), kept.After.PerToken())
		}
		if quantized { // the runtime also rounds what the layers read
			continue
		}
		if got := runtimeLoss(t, w, dir, kept.Dir); math.Abs(got-kept.After.PerToken()) > 1e-5 {
			t.Errorf("%s: the runtime's loss is %v, the training's %v", name, got, kept.After.PerToken())
		}
	}
}
