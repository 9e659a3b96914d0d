//go:build cuda && cudaemu && linux && (amd64 || arm64)

package cuda_test

import (
	"errors"
	"regexp"
	"strconv"
	"testing"

	"mito/backend"
	"mito/backend/cuda/cudaemu"
	"mito/engine/data"
	"mito/engine/train"
)

// A batch too large for the device is refused before anything runs, with the sizes and the number of micro-batches that
// fits; that number then works.
func TestBatchThatFits(t *testing.T) {
	cudaemu.SetMemory(12 << 20)
	defer cudaemu.SetMemory(4 << 30)
	b := open(t, backend.Float32)
	m := newModel(t, b, edge(), 1)
	source, err := data.NewText(stream(2000, vocab), 256, time, 7)
	must(t, err)
	o := train.Defaults()
	o.Optimizer = train.AdamW
	_, err = train.New(m, source, nil, o)
	if !errors.Is(err, backend.ErrOutOfMemory) {
		t.Fatalf("a batch that does not fit: %v", err)
	}
	found := regexp.MustCompile(`use (\d+) micro-batches`).FindStringSubmatch(err.Error())
	if found == nil || !regexp.MustCompile(`\d+ MiB asked for, \d+ MiB are free of the GPU's 12 MiB`).MatchString(err.Error()) {
		t.Fatalf("the error says too little: %v", err)
	}
	if o.MicroBatches, err = strconv.Atoi(found[1]); err != nil || o.MicroBatches < 2 {
		t.Fatalf("%v: %d micro-batches, %v", found, o.MicroBatches, err)
	}
	tr, err := train.New(m, source, nil, o)
	if err != nil {
		t.Fatalf("with %d micro-batches: %v", o.MicroBatches, err)
	}
	must(t, tr.Close())
	o.MicroBatches--
	if _, err := train.New(m, source, nil, o); err == nil {
		t.Errorf("one micro-batch less fits as well")
	}
}
