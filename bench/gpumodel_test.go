package bench

import (
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"

	"mito/backend"
	"mito/engine/train"
)

func modelled(t *testing.T, o GPUModelOptions) *GPUModel {
	t.Helper()
	m, err := ModelGPU(o)
	if errors.Is(err, backend.ErrUnsupported) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// The model of a 7M step counts the products and pairs of attention that the class has, and its sums are those of its rows.
func TestGPUModel(t *testing.T) {
	m := modelled(t, GPUModelOptions{"h100", "7M", train.AdamW, backend.BFloat16})
	launches, copies, gb, millis, tensor := 0, 0, 0.0, 0.0, 0.0
	for _, k := range m.Kinds {
		if k.Kernel == "copy" {
			copies += k.Count
		} else {
			launches += k.Count
		}
		if strings.Contains(k.Kernel, "bf16") {
			tensor += k.GFLOP
		}
		gb, millis = gb+k.MB/1e3, millis+k.Micros/1e3
	}
	if launches != m.Launches || copies != m.Copies || math.Abs(gb-m.GB) > 1e-9 || math.Abs(millis-m.Millis) > 1e-9 {
		t.Errorf("sums of the rows: %d launches, %d copies, %v GB, %v ms; %s", launches, copies, gb, millis, m.Totals())
	}
	// Three products of each matrix; attention has two forward, and in its backward passes seven of which two are recomputed.
	c := class{config: gpuClass("7M")}
	attention := 9 * c.config.Layers * c.config.Heads * c.config.HeadDim * (gpuContext + 1) / 2
	if want := 2e-9 * float64(m.Tokens) * float64(3*c.macs()+attention); tensor < want || tensor > want*(1+1e-4) { // parts of products are added up by the same kernels
		t.Errorf("%v GFLOP on tensor cores, want %v", tensor, want)
	}
	// The update of 7 M parameters alone moves seven tensors of 28 MB.
	if m.GB < 7*4*7.1e6/1e9 || m.Millis < 1e3*m.GB*1e9/3.35e12*0.99 || m.Calls > 10 {
		t.Error(m.Totals())
	}
	raw, err := json.Marshal(m)
	if err != nil || !strings.HasPrefix(string(raw), `{"modelled":true,`) {
		t.Errorf("%.60s, %v", raw, err)
	}
}

// A step of four layers takes so many launches and moves so many bytes at most: fused calls, products that share launches and
// Muon in batches are there. Times of real launches are another matter.
func TestGPULaunches(t *testing.T) {
	for _, c := range []struct {
		optimizer string
		launches  int
		gb        float64
	}{{train.AdamW, 120, 6.3}, {train.Muon, 143, 7.1}} {
		if m := modelled(t, GPUModelOptions{"h100", "7M", c.optimizer, backend.BFloat16}); m.Launches > c.launches || m.GB > c.gb {
			t.Errorf("%s: want at most %d launches and %v GB; %s", c.optimizer, c.launches, c.gb, m.Totals())
		}
	}
}

// Cards and precisions differ in time, not in arithmetic.
func TestGPUModelOfCards(t *testing.T) {
	fast := modelled(t, GPUModelOptions{"h200", "460K", train.AdamW, backend.BFloat16})
	slow := modelled(t, GPUModelOptions{"rtx4090", "460K", train.AdamW, backend.BFloat16})
	if slow.Millis < 2*fast.Millis || math.Abs(slow.GFLOP/fast.GFLOP-1) > 1e-2 {
		t.Errorf("%s\n%s", slow.Totals(), fast.Totals())
	}
	exact := modelled(t, GPUModelOptions{"h200", "460K", train.AdamW, backend.Float32})
	for _, k := range exact.Kinds {
		if strings.Contains(k.Kernel, "bf16") {
			t.Errorf("float32 launches %s", k.Kernel)
		}
	}
	for _, o := range []GPUModelOptions{{"voodoo", "7M", train.AdamW, 0}, {"h100", "7B", train.AdamW, 0}, {"h100", "7M", "sgd", 0}} {
		var unknown *UnknownCardError
		if _, err := ModelGPU(o); !errors.As(err, &unknown) || !strings.Contains(err.Error(), unknown.Known[0]) {
			t.Errorf("%+v: %v", o, err)
		}
	}
}

// Every heading says that what follows is modelled, and a file holds one section of each step and card.
func TestGPUModelMarkdown(t *testing.T) {
	m := &GPUModel{Step: "7M", Optimizer: "adamw", Precision: "bf16", Card: "A card", Kinds: []GPULaunch{{Op: "Add", Kernel: "add_f32", Count: 2}}}
	file := UpdateGPUModel("", m)
	other := *m
	other.Card = "Another"
	file = UpdateGPUModel(UpdateGPUModel(file, &other), m)
	for _, line := range strings.Split(file, "\n") {
		if strings.HasPrefix(line, "#") && !strings.Contains(line, "odelled") {
			t.Error(line)
		}
	}
	if strings.Count(file, "## Modelled: 7M, adamw, bf16 on A card\n") != 1 || strings.Count(file, "| Add | add_f32 |  | 2 |") != 2 {
		t.Error(file)
	}
}
