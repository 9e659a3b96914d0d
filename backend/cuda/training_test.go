//go:build cuda && linux && (amd64 || arm64)

package cuda_test

import (
	"errors"
	"flag"
	"fmt"
	"math"
	"path/filepath"
	"testing"

	"mito/backend"
	"mito/backend/cpu"
	"mito/backend/cuda"
	"mito/engine/arch"
	"mito/engine/data"
	"mito/engine/distill"
	"mito/engine/model"
	"mito/engine/tokenizer"
	"mito/engine/train"
)

// stream is text with something to learn: the next token depends on the one before.
func stream(n, vocab int) []int32 {
	tokens, x := make([]int32, n), uint32(1)
	for i := range tokens {
		x = x*1664525 + 1013904223
		prev := int32(0)
		if i > 0 {
			prev = tokens[i-1]
		}
		tokens[i] = (prev*5 + int32(x>>30)) % int32(vocab)
	}
	return tokens
}

const vocab, time, rows = 29, 24, 8

// On a GPU, where a step takes no time, a longer run says more.
var stepsFlag = flag.Int("steps", 20, "steps of the training runs that are compared with the CPU")

// run is one training run: model, options and, for a distillation, a teacher.
type run struct {
	config  func() arch.Config
	options func(o *train.Options)
	teacher bool
	cache   bool // of what the teacher says
	shared  bool // labels: several right tokens of a target, all at once
	ragged  bool // weights of the tokens, so that every batch has another weight
}

func edge() arch.Config { return arch.Edge(vocab, time, 2, 32, 4, 2) }

var runs = map[string]run{
	"edge": {config: edge},
	"llama, muon, micro-batches": {
		config: func() arch.Config {
			c := edge()
			c.Activation, c.TieEmbeddings, c.QKNorm, c.Window = arch.ActSwiGLU, false, true, 9
			return c
		},
		options: func(o *train.Options) { o.Optimizer, o.MicroBatches = train.Muon, 3 },
	},
	"gpt2, dropout, average": {
		config: func() arch.Config {
			c := edge()
			c.Norm, c.Position, c.Activation, c.KVHeads = arch.NormLayer, arch.PositionLearned, arch.ActGELU, 4
			c.AttentionBias, c.MLPBias = true, true
			return c
		},
		options: func(o *train.Options) { o.Dropout, o.EMA, o.Smoothing = 0.1, 0.99, 0.05 },
	},
	"dropout, micro-batches": {config: edge, options: func(o *train.Options) { o.Dropout, o.MicroBatches = 0.1, 2 }},
	"distillation":           {config: edge, teacher: true},
	"distillation, cache":    {config: edge, teacher: true, cache: true},
	"shared labels":          {config: edge, shared: true, options: func(o *train.Options) { o.Labels = train.Shared }},
	"ragged":                 {config: edge, ragged: true},
}

// source gives the batches of a run.
func (r run) source(t *testing.T) data.Source {
	t.Helper()
	if r.shared {
		tok, err := tokenizer.NewChars("abcdefghijklmnopqrstuvwxyz=")
		must(t, err)
		var examples []data.Example
		for i := range 40 {
			prompt := fmt.Sprintf("%c%c=", 'a'+i%26, 'a'+i*7%26)
			examples = append(examples, data.Example{Prompt: prompt, Answers: []string{string(rune('a' + i%5)), string(rune('f' + i%7))}[:1+i%2]})
		}
		source, err := data.NewExamples(tok, examples, rows, 7, data.ExampleOptions{Time: time})
		must(t, err)
		return source
	}
	source, err := data.NewText(stream(2000, vocab), rows, time, 7)
	must(t, err)
	if !r.ragged {
		return source
	}
	weights := make([]float32, 2000)
	for i := range weights {
		weights[i] = float32(i%5) / 4
	}
	weighted, err := source.Weighted(weights)
	must(t, err)
	return weighted
}

// losses trains on a backend and returns the loss of every step.
func losses(t *testing.T, b backend.Backend, r run, steps int) []float64 {
	t.Helper()
	o := train.Defaults()
	o.Optimizer, o.LR, o.Beta2, o.WeightDecay, o.ClipNorm = train.AdamW, 2e-3, 0.99, 0.1, 1
	o.Schedule, o.Warmup, o.Decay, o.MinLR = train.Cosine, 3, 0.3, 0.1
	o.Steps = steps
	if r.options != nil {
		r.options(&o)
	}
	source := r.source(t)
	m := newModel(t, b, r.config(), 3)
	var objective train.Objective
	if r.teacher {
		c := edge()
		c.HiddenSize, c.HeadDim, c.IntermediateSize, c.Layers = 48, 12, 96, 1
		teacher := newModel(t, b, c, 5)
		var cache *distill.Cache
		if r.cache {
			var err error
			cache, err = distill.OpenCache(filepath.Join(t.TempDir(), "teacher.cache"), distill.Key{Source: source.Hash(), Tokens: rows * time, TopK: 16, Temperature: 2})
			must(t, err)
			defer func() { must(t, cache.Close()) }()
		}
		d, err := distill.New(m, train.NewLabels(b, source, o), []*model.Model{teacher}, cache, distill.Defaults())
		must(t, err)
		defer func() { must(t, d.Close()) }()
		objective = d
	}
	tr, err := train.New(m, source, objective, o)
	must(t, err)
	defer func() { must(t, tr.Close()) }()
	var all []float64
	for range steps {
		s, err := tr.Step(true)
		must(t, err)
		all = append(all, s.Loss)
	}
	return all
}

func newModel(t *testing.T, b backend.Backend, c arch.Config, seed uint64) *model.Model {
	t.Helper()
	m, err := model.New(b, c, true)
	must(t, err)
	t.Cleanup(func() {
		if err := m.Close(); err != nil && !errors.Is(err, backend.ErrUnavailable) {
			t.Error(err)
		}
	})
	must(t, m.Initialize(seed, model.DefaultInit()))
	return m
}

// The first twenty steps on the GPU follow those on the CPU to a ten-thousandth of the loss in float32 and to a
// hundredth with factors of bfloat16; later ones, where rounding has grown with the run, to two hundredths.
func TestTrainingFollowsCPU(t *testing.T) {
	const early, late = 20, 2e-2
	steps := *stepsFlag
	for name, r := range runs {
		t.Run(name, func(t *testing.T) {
			reference := cpu.New(2)
			defer func() { must(t, reference.Close()) }()
			want := losses(t, reference, r, steps)
			if want[steps-1] >= want[0] {
				t.Errorf("the loss does not fall on the CPU: %v", want)
			}
			for _, p := range []struct {
				precision backend.Precision
				limit     float64
			}{{backend.Float32, 1e-4}, {backend.BFloat16, 1e-2}} {
				b := open(t, p.precision)
				got := losses(t, b, r, steps)
				for i := range want {
					limit := p.limit
					if i >= early {
						limit = late
					}
					if rel := math.Abs(got[i]-want[i]) / want[i]; !(rel < limit) {
						t.Errorf("%v step %d: loss %.7g, CPU %.7g: off by %.2g, allowed %.2g", p.precision, i+1, got[i], want[i], rel, limit)
						break
					}
				}
				t.Logf("%v: loss %.6f → %.6f, CPU → %.6f", p.precision, got[0], got[steps-1], want[steps-1])
				// All but the first two steps are replays: one of the pass of each micro-batch that comes again, one of
				// the update. Nothing that changes from step to step is outside a tensor.
				if s := b.Stats(); s.Replays < int64(2*(steps-1)) {
					t.Errorf("%v: %+v", p.precision, s)
				}
			}
		})
	}
}

// What goes to a card on paper is what goes to the device: as many launches and replays. Without a GPU that is the emulator,
// whose number of processors the card has.
func TestPaperSendsTheSame(t *testing.T) {
	const steps = 3
	for _, optimizer := range []string{train.AdamW, train.Muon} {
		r := run{config: edge, options: func(o *train.Options) { o.Optimizer, o.Dropout = optimizer, 0.1 }}
		for _, p := range precisions {
			b := open(t, p.precision)
			losses(t, b, r, steps)
			on, _, err := cuda.OpenPaper(cuda.CardOf(b), backend.Options{Precision: p.precision})
			must(t, err)
			losses(t, on, r, steps)
			if got, want := on.Stats(), b.Stats(); got != want {
				t.Errorf("%s, %v: paper got %+v, the device %+v", optimizer, p.precision, got, want)
			}
			must(t, on.Close())
		}
	}
}
