package prune

import (
	"encoding/json"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"mito/backend"
	"mito/backend/cpu"
	"mito/engine/arch"
	"mito/engine/compress/quant"
	"mito/engine/data"
	"mito/engine/model"
	"mito/engine/train"
)

// configs are models of different layers, heads that share keys, gates, biases and tables.
func configs() map[string]arch.Config {
	edge := arch.Edge(13, 16, 2, 24, 4, 2)
	llama := arch.Edge(13, 16, 3, 24, 6, 3)
	llama.Activation, llama.TieEmbeddings, llama.QKNorm, llama.IntermediateSize = arch.ActSwiGLU, false, true, 44
	gpt := arch.Edge(13, 16, 2, 20, 5, 5)
	gpt.Norm, gpt.Position, gpt.Activation, gpt.AttentionBias, gpt.MLPBias = arch.NormLayer, arch.PositionLearned, arch.ActGELU, true, true
	uneven := edge.Clone()
	uneven.SetLayers([]arch.Layer{{Heads: 4, KVHeads: 2, IntermediateSize: 96, Scale: 0.3}, {Heads: 2, KVHeads: 1, IntermediateSize: 40, Window: 5}})
	ple := llama.Clone()
	ple.PLEDim = 20
	return map[string]arch.Config{"edge": edge, "llama": llama, "gpt": gpt, "uneven": uneven, "ple": ple}
}

func weights(c arch.Config, seed uint64) *model.Weights {
	r := rand.New(rand.NewPCG(seed, 1))
	w := &model.Weights{Config: c, Tensors: map[string][]float32{}}
	for _, t := range c.Tensors() {
		v := matrix(r, int(t.Size()))
		for i := range v {
			v[i] *= 0.3
		}
		w.Tensors[t.Name] = v
	}
	return w
}

// tokens draws sequences in which some targets at the end do not count.
func tokens(rows, time, vocab int) data.Batch {
	var b data.Batch
	b.Reset(rows, time)
	r := rand.New(rand.NewPCG(9, 9))
	for i := range b.Inputs {
		b.Inputs[i], b.Targets[i] = int32(r.IntN(vocab)), int32(r.IntN(vocab))
		if i%time < time-1-i/time%3 {
			b.Weights[i] = 1
		}
	}
	return b
}

func open(t testing.TB) backend.Backend {
	b := cpu.New(2)
	t.Cleanup(func() { b.Close() })
	return b
}

func zeros(x []float32) (n int) {
	for _, v := range x {
		if v == 0 {
			n++
		}
	}
	return n
}

// Every kind that masks, by every score, leaves just the zeros that it was asked for, in its pattern, and keeps what was dead
// before; the model it was given stays as it is.
func TestMask(t *testing.T) {
	b := open(t)
	for name, c := range configs() {
		cal := NewCalibration(tokens(9, 16, c.VocabSize))
		for _, kind := range []Kind{Unstructured, Block4x8, TwoFour} {
			for _, score := range Scores() {
				o := Options{Kind: kind, Score: score, Sparsity: 0.5}
				w := weights(c, 3)
				got, masks, err := Mask(t.Context(), b, w, nil, cal, o)
				if err != nil {
					t.Fatalf("%s, %s, %s: %v", name, kind, score, err)
				}
				if err := masks.Check(got.Tensors); err != nil {
					t.Error(err)
				}
				for _, m := range c.Modules() {
					tensor := m.Weight().Name
					was, is := w.Tensors[tensor], got.Tensors[tensor]
					if zeros(was) != 0 {
						t.Fatalf("%s: the model that was given has changed", tensor)
					}
					if !m.IsMatrix() || m.Part.Table() {
						if !slices.Equal(was, is) {
							t.Errorf("%s: %s has changed", name, tensor)
						}
						continue
					}
					checkPattern(t, strings.Join([]string{name, string(kind), string(score), tensor}, " "), o, masks[tensor], m)
					if score != OBC {
						for i := range is {
							if masks[tensor][i] == 1 && is[i] != was[i] {
								t.Fatalf("%s: element %d lives and has changed", tensor, i)
							}
						}
					}
				}
				// Once more, and further: what is dead stays so, even where less is asked for.
				for _, s := range []float64{0.75, 0.25} {
					if o.Sparsity = s; kind == TwoFour {
						continue
					}
					again, more, err := Mask(t.Context(), b, got, masks, cal, o)
					if err != nil {
						t.Fatal(err)
					}
					if err := masks.Check(again.Tensors); err != nil {
						t.Errorf("%s, %s, %s at %v: %v", name, kind, score, s, err)
					}
					if want := max(s, 0.5) - 0.08; more.Sparsity() < want {
						t.Errorf("%s, %s, %s at %v: %v of the weights are zero", name, kind, score, s, more.Sparsity())
					}
				}
			}
		}
	}
}

func checkPattern(t *testing.T, what string, o Options, mask []float32, m arch.Module) {
	t.Helper()
	switch {
	case o.Kind == TwoFour:
		for i := 0; i < len(mask); i += 4 {
			if zeros(mask[i:i+4]) != 2 {
				t.Fatalf("%s: %v at %d", what, mask[i:i+4], i)
			}
		}
	case o.Kind == Block4x8:
		dead := 0
		blocks := blocksOf(m.Rows, m.Cols)
		for _, at := range blocks {
			n := 0
			for _, i := range at {
				n += int(1 - mask[i])
			}
			if n != 0 && n != len(at) {
				t.Fatalf("%s: a block has %d of %d zeros", what, n, len(at))
			}
			dead += n / len(at)
		}
		if want := share(0.5, len(blocks)); dead != want {
			t.Errorf("%s: %d of %d blocks are zero, want %d", what, dead, len(blocks), want)
		}
	case o.Score == Wanda:
		for r := range m.Rows {
			if n := zeros(mask[r*m.Cols:][:m.Cols]); n != m.Cols/2 {
				t.Fatalf("%s: row %d has %d zeros", what, r, n)
			}
		}
	default:
		if n := zeros(mask); n != share(0.5, len(mask)) {
			t.Errorf("%s: %d of %d are zero", what, n, len(mask))
		}
	}
}

// Only the matrices that patterns name are pruned.
func TestModules(t *testing.T) {
	b, c := open(t), configs()["edge"]
	o := Options{Kind: Unstructured, Score: Magnitude, Sparsity: 0.3, Modules: []string{"mlp.*", "model.layers.1.self_attn.q_proj"}}
	got, masks, err := Mask(t.Context(), b, weights(c, 1), nil, nil, o)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range c.Modules() {
		want := strings.Contains(m.Name, "mlp") || m.Name == "model.layers.1.self_attn.q_proj"
		if name := m.Weight().Name; masks.Masked(name) != want || zeros(got.Tensors[name]) > 0 != want {
			t.Errorf("%s is pruned: %v", m.Name, !want)
		}
	}
	config, err := Records{{Options: o, Schedule: OneShot}}.AddTo(c)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	records, err := ReadRecords(text)
	if err != nil {
		t.Fatal(err)
	}
	back := MasksOf(records, got)
	if len(back) != len(masks) {
		t.Fatalf("%d masks came back, want %d", len(back), len(masks))
	}
	for name, mask := range masks {
		if !slices.Equal(mask, back[name]) {
			t.Errorf("the mask of %s came back different", name)
		}
	}
}

// Scores order weights as their papers say, by numbers computed otherwise.
func TestScores(t *testing.T) {
	b, c := open(t), configs()["llama"]
	w := weights(c, 5)
	cal := NewCalibration(tokens(4, 16, c.VocabSize))
	full, err := moments(t.Context(), b, w, cal, true, func(int) bool { return true })
	if err != nil {
		t.Fatal(err)
	}
	wanda, err := newScorer(t.Context(), b, w, cal, Wanda)
	if err != nil {
		t.Fatal(err)
	}
	taylor, err := newScorer(t.Context(), b, w, cal, Taylor)
	if err != nil {
		t.Fatal(err)
	}
	loss := func() (l float64) {
		err := run(t.Context(), b, w, cal, model.Options{}, func(data.Batch) {}, func(m *model.Model, a *model.Activations, part data.Batch) error {
			if err := b.CrossEntropy(a.Loss, nil, a.Logits, a.Targets, a.Weights, backend.CrossEntropyArgs{}); err != nil {
				return err
			}
			for _, v := range a.Loss.Float32s() {
				l += float64(v) / part.Weight()
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	for _, m := range c.Modules() {
		if !m.IsMatrix() || m.Layer < 0 {
			continue
		}
		name := m.Weight().Name
		h := full[place{m.Layer, m.Part.Input()}]
		for i, got := range wanda.tensor(m, name) {
			v := float64(w.Tensors[name][i])
			if want := v * v * h[i%m.Cols*(m.Cols+1)]; got < 0.999*want || got > 1.001*want {
				t.Fatalf("wanda of %s, element %d: %v, want %v", name, i, got, want)
			}
		}
		// One part: (g·w)² of its mean loss, by a central difference.
		i := len(w.Tensors[name]) / 3
		v, step := w.Tensors[name][i], float32(1e-2)
		w.Tensors[name][i] = v + step
		up := loss()
		w.Tensors[name][i] = v - step
		g := (up - loss()) / float64(2*step)
		w.Tensors[name][i] = v
		if got, want := taylor.tensor(m, name)[i], g*g*float64(v)*float64(v); got < 0.9*want-1e-9 || got > 1.1*want+1e-9 {
			t.Errorf("taylor of %s: %v, want %v", name, got, want)
		}
	}
}

// Filling behind the last target of a sequence counts in no score.
func TestFillingDoesNotCount(t *testing.T) {
	b, c := open(t), configs()["edge"]
	w, batch := weights(c, 5), tokens(5, 16, 13)
	want, err := moments(t.Context(), b, w, NewCalibration(batch), false, func(int) bool { return true })
	if err != nil {
		t.Fatal(err)
	}
	last := batch.Time - 1
	for batch.Weights[last] == 0 {
		last--
	}
	for i := last + 1; i < batch.Time; i++ {
		batch.Inputs[i] = (batch.Inputs[i] + 5) % 13
	}
	got, err := moments(t.Context(), b, w, NewCalibration(batch), false, func(int) bool { return true })
	if err != nil {
		t.Fatal(err)
	}
	for at := range want {
		if !slices.Equal(got[at], want[at]) {
			t.Errorf("layer %d, input %d changed with the filling", at.layer, at.input)
		}
	}
	batch.Inputs[0] = (batch.Inputs[0] + 5) % 13
	if got, err = moments(t.Context(), b, w, NewCalibration(batch), false, func(int) bool { return true }); err != nil {
		t.Fatal(err)
	}
	if at := (place{0, arch.NormedAttn}); slices.Equal(got[at], want[at]) {
		t.Error("a token that counts changes nothing")
	}
}

func TestRamp(t *testing.T) {
	for _, steps := range []int{1, 2, 7, 100, 1000} {
		r := NewRamp(0.2, 0.8, steps)
		last, updates := 0.2, 0
		for step := range steps {
			s, due := r.At(step)
			if !due {
				continue
			}
			updates++
			k := 1 - float64(updates)/float64(r.Updates)
			if want := 0.8 - 0.6*k*k*k; s <= last || s < want-1e-12 || s > want+1e-12 {
				t.Errorf("%d steps: update %d at step %d has sparsity %v, want %v", steps, updates, step, s, want)
			}
			last = s
		}
		if last != 0.8 || updates != r.Updates || steps > 10 && updates < 5 {
			t.Errorf("%d steps: %d updates end at %v", steps, updates, last)
		}
	}
}

func TestRefused(t *testing.T) {
	b := open(t)
	c := configs()["edge"]
	odd := c.Clone()
	odd.HiddenSize = 22
	for _, f := range []struct {
		field string
		c     arch.Config
		o     Options
	}{
		{"kind", c, Options{Kind: "cubes", Score: Magnitude, Sparsity: 0.5}},
		{"score", c, Options{Kind: Block4x8, Score: "luck", Sparsity: 0.5}},
		{"sparsity", c, Options{Kind: Block4x8, Score: Magnitude}},
		{"sparsity", c, Options{Kind: Block4x8, Score: Magnitude, Sparsity: 1}},
		{"sparsity", c, Options{Kind: Block4x8, Score: Magnitude, Sparsity: -0.1}},
		{"sparsity", c, Options{Kind: TwoFour, Score: Magnitude, Sparsity: 0.4}},
		{"kind", odd, Options{Kind: TwoFour, Score: Magnitude, Sparsity: 0.5}},
		{"modules", c, Options{Kind: Block4x8, Score: Magnitude, Sparsity: 0.5, Modules: []string{"mlp.*", "conv.*"}}},
		{"modules", c, Options{Kind: Block4x8, Score: Magnitude, Sparsity: 0.5, Modules: []string{"[a"}}},
		{"modules", c, Options{Kind: Heads, Score: Magnitude, Sparsity: 0.5, Modules: []string{"mlp.*"}}},
		{"keep", c, Options{Kind: Block4x8, Score: Magnitude, Sparsity: 0.5, Keep: 3}},
		{"keep", c, Options{Kind: Neurons, Score: Magnitude, Sparsity: 0.5, Keep: 3}},
		{"keep", c, Options{Kind: Neurons, Score: Magnitude, Keep: 97}},
		{"keep", c, Options{Kind: Heads, Score: Magnitude, Keep: 3}},
		{"keep", c, Options{Kind: Heads, Score: Magnitude, Keep: -1}},
		{"keep", c, Options{Kind: Layers, Score: Magnitude, Keep: 3}},
		{"keep", c, Options{Kind: Width, Score: Magnitude, Keep: 25}},
		{"score", c, Options{Kind: Width, Score: OBC, Keep: 8}},
	} {
		var err error
		if f.o.Kind.Masks() {
			_, _, err = Mask(t.Context(), b, weights(f.c, 1), nil, nil, f.o)
		} else {
			_, err = Structured(t.Context(), b, weights(f.c, 1), nil, f.o)
		}
		var option *train.OptionError
		if !errors.As(err, &option) || option.Field != f.field {
			t.Errorf("%+v: %v, want an error about %s", f.o, err, f.field)
		}
	}
	for _, score := range []Score{Wanda, Taylor, OBC} {
		o := Options{Kind: Unstructured, Score: score, Sparsity: 0.5}
		if _, _, err := Mask(t.Context(), b, weights(c, 1), nil, nil, o); !errors.Is(err, ErrNoCalibration) {
			t.Errorf("%s without data: %v", score, err)
		}
	}
	cal, seen := NewCalibration(tokens(4, 16, 13)), &quant.Samples{}
	if _, err := cal.Record(seen); err != nil {
		t.Error(err)
	}
	seen.Add(cal.Batch.Inputs[16:32])
	if _, err := cal.Record(seen); !errors.Is(err, quant.ErrOverlap) {
		t.Errorf("data that judges: %v", err)
	}
	for _, masks := range []Masks{{"model.layers.0.mlp.up_proj.weight": make([]float32, 5)}, {"model.layers.7.mlp.up_proj.weight": make([]float32, 5)}} {
		if err := masks.Check(weights(c, 1).Tensors); !errors.Is(err, ErrOtherModel) {
			t.Errorf("a mask of another model: %v", err)
		}
		m, err := model.Build(b, c, model.Options{Masked: masks.Masked})
		if err != nil {
			t.Fatal(err)
		}
		if err := Load(m, weights(c, 1), masks); !errors.Is(err, ErrOtherModel) {
			t.Errorf("a mask of another model is loaded: %v", err)
		}
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}
}

// What a merge revives is seen, and can be taken out.
func TestRevived(t *testing.T) {
	c := configs()["edge"]
	w := weights(c, 1)
	const name = "model.layers.1.mlp.up_proj.weight"
	mask := alive(w.Tensors[name])
	mask[7] = 0
	masks := Masks{name: mask}
	var revived *RevivedError
	if err := masks.Check(w.Tensors); !errors.As(err, &revived) || revived.Tensor != name || revived.Index != 7 {
		t.Errorf("got %v", err)
	}
	if err := errors.Join(masks.Apply(w.Tensors), masks.Check(w.Tensors)); err != nil || zeros(w.Tensors[name]) != 1 {
		t.Errorf("%v, %d zeros", err, zeros(w.Tensors[name]))
	}
	if got, want := masks.Live(c.Params()), c.Params()-1; got != want {
		t.Errorf("%d live, want %d", got, want)
	}
}
