package dist

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"gorgonia.org/tensor"

	"mito/backend"
	"mito/backend/cpu"
	"mito/engine/arch"
	"mito/engine/checkpoint"
	"mito/engine/data"
	"mito/engine/internal/imports"
	"mito/engine/model"
	"mito/engine/train"
)

const testVocab, testTime, testRows = 13, 16, 9

func testSource(t testing.TB) train.Source {
	t.Helper()
	tokens, x := make([]int32, 2000), uint32(1)
	for i := range tokens {
		x = x*1664525 + 1013904223
		tokens[i] = int32(x>>28) % testVocab
	}
	text, err := data.NewText(tokens, testRows, testTime, 7)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func testOptions(steps, micro int) train.Options {
	o := train.Defaults()
	o.Steps, o.MicroBatches, o.LogEvery, o.ClipNorm, o.Dropout, o.EMA = steps, micro, 1, 1, 0.1, 0.9
	return o
}

// gpt is a model with everything that has a gradient of another kind: biases, LayerNorm, positions, a head of its own.
func gpt() arch.Config {
	c := arch.Edge(testVocab, testTime, 2, 32, 4, 2)
	c.Norm, c.Position, c.Activation, c.TieEmbeddings = arch.NormLayer, arch.PositionLearned, arch.ActGELU, false
	c.AttentionBias, c.MLPBias = true, true
	return c
}

func edge() arch.Config {
	c := arch.Edge(testVocab, testTime, 2, 32, 4, 2)
	c.QKNorm, c.Activation = true, arch.ActSwiGLU
	return c
}

// one is a rank of a training, or the whole of it where ranks is nil.
type one struct {
	trainer *train.Trainer
	losses  []float64
	close   func() error
}

func begin(t testing.TB, ranks *Ranks, engine *local, c arch.Config, o train.Options) (*one, error) {
	base := backend.Backend(cpu.New(1))
	if engine != nil {
		engine.b = base
	}
	b, group := base, train.Group(nil)
	if ranks != nil {
		b, group = ranks.Backend(base), ranks
	}
	m, err := model.New(b, c, true)
	if err != nil {
		return nil, err
	}
	if err := m.Initialize(3, model.DefaultInit()); err != nil {
		return nil, err
	}
	if ranks != nil {
		ranks.Train(m.Gradients())
	}
	tr, err := train.NewIn(group, m, testSource(t), nil, o)
	if err != nil {
		return nil, err
	}
	return &one{trainer: tr, close: func() error { return errors.Join(tr.Close(), m.Close(), base.Close()) }}, nil
}

func (x *one) run(until int) error {
	for x.trainer.Steps() < until {
		r, err := x.trainer.Step(true)
		if err != nil {
			return err
		}
		x.losses = append(x.losses, r.Loss, r.GradNorm)
	}
	return nil
}

// state is everything that a run is, as one hash, and as it is saved.
func (x *one) state() (string, *checkpoint.State, error) {
	s, err := x.trainer.State()
	if err != nil {
		return "", nil, err
	}
	h := sha256.New()
	for _, tensor := range s.Tensors {
		fmt.Fprintln(h, tensor.Name)
		h.Write(tensor.Data)
	}
	fmt.Fprint(h, x.losses)
	return hex.EncodeToString(h.Sum(nil)), s, nil
}

// alone trains in one process.
func alone(t *testing.T, c arch.Config, o train.Options, steps int) string {
	t.Helper()
	x, err := begin(t, nil, nil, c, o)
	if err != nil {
		t.Fatal(err)
	}
	defer x.close()
	if err := x.run(steps); err != nil {
		t.Fatal(err)
	}
	hash, _, err := x.state()
	if err != nil {
		t.Fatal(err)
	}
	return hash
}

// inRanks trains on several ranks and gives what each came to.
func inRanks(t *testing.T, size int, mode string, c arch.Config, o train.Options, late bool, f func(rank int, x *one) error) error {
	t.Helper()
	net, hub := newNetwork(size), hubs(t, size, nil)
	return together(size, func(rank int) error {
		engine := &local{network: net, rank: rank, late: late}
		ranks, err := Join(engine, hub[rank], mode)
		if err != nil {
			return err
		}
		x, err := begin(t, ranks, engine, c, o)
		if err != nil {
			return err
		}
		return errors.Join(f(rank, x), x.close())
	})
}

// The weights, the moments, the losses and the norms of gradients are bitwise those of one process, for any number of ranks and of
// micro-batches, whether sums arrive early or late.
func TestBitsOfOneProcess(t *testing.T) {
	const steps = 4
	for name, c := range map[string]arch.Config{"edge": edge(), "gpt": gpt()} {
		want := alone(t, c, testOptions(steps, 1), steps)
		for _, size := range []int{2, 3} {
			for _, micro := range []int{1, 2, 3} {
				for _, late := range []bool{false, true} {
					err := inRanks(t, size, Ordered, c, testOptions(steps, micro), late, func(_ int, x *one) error {
						if err := x.run(steps); err != nil {
							return err
						}
						got, _, err := x.state()
						if err == nil && got != want {
							err = errors.New("other bits than one process")
						}
						return err
					})
					if err != nil {
						t.Errorf("%s, %d ranks of %d micro-batches, late %v: %v", name, size, micro, late, err)
					}
				}
			}
		}
	}
}

// With the engine's own reduction the ranks agree with each other, and about with one process.
func TestFast(t *testing.T) {
	const steps = 4
	x, err := begin(t, nil, nil, edge(), testOptions(steps, 1))
	if err != nil {
		t.Fatal(err)
	}
	defer x.close()
	if err := x.run(steps); err != nil {
		t.Fatal(err)
	}
	hashes := make([]string, 3)
	losses := make([][]float64, 3)
	if err := inRanks(t, 3, Fast, edge(), testOptions(steps, 2), false, func(rank int, y *one) (err error) {
		if err := y.run(steps); err != nil {
			return err
		}
		losses[rank] = y.losses
		hashes[rank], _, err = y.state()
		return err
	}); err != nil {
		t.Fatal(err)
	}
	for rank := range hashes {
		if hashes[rank] != hashes[0] {
			t.Errorf("rank %d has other weights than rank 0", rank)
		}
		for i, l := range losses[rank] {
			if d := l - x.losses[i]; d > 1e-3 || d < -1e-3 {
				t.Errorf("rank %d: loss or norm %d is %v, in one process %v", rank, i, l, x.losses[i])
			}
		}
	}
}

// A run that two ranks began goes on in one process, in three ranks, and to the same bits.
func TestResumeWithOtherRanks(t *testing.T) {
	const steps, half = 6, 3
	o := testOptions(steps, 1)
	want, losses := "", []float64(nil)
	x, err := begin(t, nil, nil, edge(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer x.close()
	if err := x.run(half); err != nil {
		t.Fatal(err)
	}
	losses = x.losses
	if err := x.run(steps); err != nil {
		t.Fatal(err)
	}
	if want, _, err = x.state(); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir() + "/last"
	if err := inRanks(t, 2, Ordered, edge(), o, false, func(rank int, x *one) error {
		if err := x.run(half); err != nil {
			return err
		}
		_, s, err := x.state()
		if err != nil || rank != 0 {
			return err
		}
		weights, err := x.trainer.Weights()
		if err != nil {
			return err
		}
		return checkpoint.Save(dir, &checkpoint.Contents{Config: json.RawMessage(`{"model_type":"mito"}`), Tensors: weights, State: s})
	}); err != nil {
		t.Fatal(err)
	}
	resume := func(x *one) error {
		f, err := checkpoint.Open(dir)
		if err != nil {
			return err
		}
		s, err := f.State()
		if err != nil {
			return err
		}
		return x.trainer.Resume(s)
	}
	finish := func(x *one) error {
		x.losses = append([]float64(nil), losses...)
		if err := x.run(steps); err != nil {
			return err
		}
		got, _, err := x.state()
		if err == nil && got != want {
			err = errors.New("other bits than a run without a break")
		}
		return err
	}
	y, err := begin(t, nil, nil, edge(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer y.close()
	if err := errors.Join(resume(y), finish(y)); err != nil {
		t.Errorf("one process: %v", err)
	}
	if err := inRanks(t, 3, Ordered, edge(), o, false, func(rank int, x *one) error {
		if rank == 0 { // the others have no folder
			if err := resume(x); err != nil {
				return err
			}
		}
		if err := x.trainer.Share(); err != nil {
			return err
		}
		return finish(x)
	}); err != nil {
		t.Errorf("three ranks: %v", err)
	}
}

// Where one rank is told to stop, all stop at the same step and say so, when the one that saves is done.
func TestStopTogether(t *testing.T) {
	o := testOptions(1000, 1)
	saved := make([]int, 2)
	var written atomic.Bool
	err := inRanks(t, 2, Ordered, edge(), o, false, func(rank int, x *one) error {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		err := x.trainer.Run(ctx, train.Hooks{
			Step: func(r train.StepResult) error {
				if rank == 1 && r.Step == 3 {
					cancel()
				}
				return nil
			},
			Save: func(bool) error {
				saved[rank] = x.trainer.Steps()
				_, err := x.trainer.State()
				if rank == 0 {
					time.Sleep(300 * time.Millisecond) // a slow disk
					written.Store(true)
				}
				return err
			},
		})
		if !errors.Is(err, context.Canceled) || !errors.As(err, new(*train.StoppedError)) || errors.Is(err, train.ErrStopped) != (rank == 0) {
			return fmt.Errorf("ended with %w", err)
		}
		if !written.Load() {
			return errors.New("it left before rank 0 had saved")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if saved[0] != 3 || saved[1] != 3 {
		t.Errorf("saved at steps %v, want 3 and 3", saved)
	}
}

// A run that could not be saved says so on every rank, and never that it goes on.
func TestStopUnsaved(t *testing.T) {
	err := inRanks(t, 2, Ordered, edge(), testOptions(1000, 1), false, func(rank int, x *one) error {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		err := x.trainer.Run(ctx, train.Hooks{Save: func(bool) error {
			if rank == 0 {
				return errors.New("the disk is full")
			}
			return nil
		}})
		if err == nil || errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "not saved") {
			return fmt.Errorf("ended with %w", err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// More micro-batches than there are sequences for all ranks are refused in words.
func TestTooFewRows(t *testing.T) {
	err := inRanks(t, 2, Ordered, edge(), testOptions(1, 5), false, func(int, *one) error { return nil })
	var option *train.OptionError
	if !errors.As(err, &option) || option.Field != "micro-batches" {
		t.Errorf("%v", err)
	}
}

// An engine whose sends wait takes one micro-batch a rank: with more, ranks would wait for each other for ever.
func TestBlockingEngine(t *testing.T) {
	net, hub := newNetwork(2), hubs(t, 2, nil)
	for micro, want := range map[int]string{1: "", 2: "one micro-batch a rank only, not 2"} {
		for rank := range 2 {
			r, err := Join(&local{network: net, rank: rank, slow: true}, hub[rank], Ordered)
			if err != nil {
				t.Fatal(err)
			}
			r.Backend(nil)
			if err := r.Begin(rank, 2*micro); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
				t.Errorf("%d micro-batches: %v", micro, err)
			}
		}
	}
}

// A gradient that is added to twice in a pass is refused, not lost.
func TestTwiceInAPass(t *testing.T) {
	b := cpu.New(1)
	defer b.Close()
	slab, err := b.NewSlab(1 << 12)
	if err != nil {
		t.Fatal(err)
	}
	tensorOf := func(shape ...int) *tensor.Dense {
		x, err := slab.New(backend.F32, shape...)
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	grad, x := tensorOf(4), tensorOf(2, 4)
	c := NewChain(b, &local{network: newNetwork(2), b: b})
	c.Watch([]*tensor.Dense{grad})
	c.begin(0, 2)
	if err := c.SumRows(grad, x); err != nil {
		t.Fatal(err)
	}
	if err := c.SumRows(grad, x); err == nil {
		t.Error("added twice")
	}
}

// TestImports holds what doc.go says of imports.
func TestImports(t *testing.T) {
	imports.Direct(t, "gorgonia.org/tensor", "mito/backend", "mito/engine/train")
}
