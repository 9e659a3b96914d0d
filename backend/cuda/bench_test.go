//go:build cuda && !cudaemu && linux && (amd64 || arm64)

package cuda_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	stdtime "time"

	"mito/backend"
	"mito/backend/backendtest"
	"mito/backend/cuda"
	"mito/engine/arch"
	"mito/engine/data"
	"mito/engine/distill"
	"mito/engine/model"
	"mito/engine/train"
)

// emulated: products of the size of a training step are quick here.
const emulated = false

// BenchmarkOps times every operation at the sizes of training a small model.
func BenchmarkOps(b *testing.B) {
	backendtest.Benchmark(b, func(t testing.TB) backend.Backend { return open(t, backend.BFloat16) })
}

// The sizes of bench/peers/pytorch_gpu.py.
const (
	benchVocab, benchContext, benchRows = 65, 256, 64
	benchWarmup                         = 4 // steps: modules are compiled and graphs recorded in them
)

func class7M() arch.Config   { return arch.Edge(benchVocab, benchContext, 4, 384, 6, 6) }
func class460K() arch.Config { return arch.Edge(benchVocab, benchContext, 4, 96, 4, 4) }

// BenchmarkTraining times whole steps: forward, backward, clipping, AdamW, batches from the host.
func BenchmarkTraining(b *testing.B) {
	for _, c := range []struct {
		name   string
		config arch.Config
	}{{"460K", class460K()}, {"7M", class7M()}} {
		for _, p := range []backend.Precision{backend.BFloat16, backend.CublasLt, backend.Float32} {
			b.Run(fmt.Sprintf("%s/%v", c.name, p), func(b *testing.B) { benchmarkSteps(b, c.config, nil, p) })
		}
	}
}

// BenchmarkDistillation times steps of a 460K student under a live 7M teacher.
func BenchmarkDistillation(b *testing.B) {
	teacher := class7M()
	b.Run("7M-460K/bf16", func(b *testing.B) { benchmarkSteps(b, class460K(), &teacher, backend.BFloat16) })
}

func benchmarkSteps(b *testing.B, config arch.Config, teacher *arch.Config, p backend.Precision) {
	bk := open(b, p)
	build := func(c arch.Config, grads bool) *model.Model {
		m, err := model.New(bk, c, grads)
		must(b, err)
		b.Cleanup(func() { must(b, m.Close()) })
		must(b, m.Initialize(1, model.DefaultInit()))
		return m
	}
	r := rand.New(rand.NewPCG(1, 2))
	tokens := make([]int32, 1<<20)
	for i := range tokens {
		tokens[i] = r.Int32N(benchVocab)
	}
	source, err := data.NewText(tokens, benchRows, benchContext, 1)
	must(b, err)
	o := train.Defaults()
	o.Steps, o.Schedule, o.Optimizer, o.LR = 1<<30, train.Constant, train.AdamW, 1e-4
	o.WeightDecay, o.ClipNorm = 0.1, 1
	m := build(config, true)
	var objective train.Objective
	if teacher != nil {
		d, err := distill.New(m, train.NewLabels(bk, source, o), []*model.Model{build(*teacher, false)}, nil, distill.Defaults())
		must(b, err)
		b.Cleanup(func() { must(b, d.Close()) })
		objective = d
	}
	tr, err := train.New(m, source, objective, o)
	must(b, err)
	b.Cleanup(func() { must(b, tr.Close()) })
	step := func() {
		if _, err := tr.Step(false); err != nil {
			b.Fatal(err)
		}
	}
	for range benchWarmup {
		step()
	}
	must(b, bk.Synchronize())

	// The share of the time in which the device runs steps, by events around what is replayed.
	const timed = 16
	stop := cuda.DeviceTime(bk)
	began := stdtime.Now()
	for range timed {
		step()
	}
	busy, err := stop()
	must(b, err)
	share := busy.Seconds() / stdtime.Since(began).Seconds()

	// The loop's own clock stops before the device is done.
	n := 0
	began = stdtime.Now()
	for b.Loop() {
		step()
		n++
	}
	must(b, bk.Synchronize())
	took := stdtime.Since(began).Seconds()
	b.ReportMetric(1e9*took/float64(n), "ns/op")
	b.ReportMetric(float64(n*benchRows*benchContext)/took, "tok/s")
	b.ReportMetric(100*share, "%device")
	for _, x := range bk.ProductTimes() {
		b.Logf("product %d×%d×%d, transposed %v %v, adding %v: mito %v, cuBLASLt %v", x.M, x.N, x.K, x.TransA, x.TransB, x.Accumulate, x.Own, x.Library)
	}
}
