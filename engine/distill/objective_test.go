package distill

import (
	"errors"
	"math"
	"path/filepath"
	"slices"
	"testing"

	"mito/backend"
	"mito/backend/cpu"
	"mito/engine/arch"
	"mito/engine/data"
	"mito/engine/model"
	"mito/engine/train"
)

const vocab, tokens, rows = 11, 12, 6

func newModel(t *testing.T, b backend.Backend, width int, grads bool) *model.Model {
	t.Helper()
	m, err := model.New(b, arch.Edge(vocab, tokens, 2, width, 4, 2), grads)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Initialize(uint64(width), model.Init{Std: 0.3}); err != nil {
		t.Fatal(err)
	}
	return m
}

func source(t *testing.T) *data.Text {
	t.Helper()
	stream := make([]int32, 500)
	for i := range stream {
		stream[i] = int32(i * i % vocab)
	}
	s, err := data.NewText(stream, rows, tokens, 1)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// pass runs forward and objective over a step's batch and returns loss and gradient of the logits.
func pass(t *testing.T, student *model.Model, d train.Objective, step int64) (loss, dlogits []float32) {
	t.Helper()
	b := student.Backend()
	a, err := student.NewActivations(rows, tokens, true)
	if err != nil {
		t.Fatal(err)
	}
	var batch data.Batch
	if err := source(t).Fill(&batch, step); err != nil {
		t.Fatal(err)
	}
	batch.Weights[3] = 0
	if err := errors.Join(
		b.Upload(a.Inputs, batch.Inputs), b.Upload(a.Targets, batch.Targets),
		b.Upload(a.Weights, batch.Weights), b.Upload(a.Positions, batch.Positions),
		d.Prepare(a, train.Micro{Step: step, Rows: rows, Scale: 1}), student.Forward(a),
		d.Apply(a, train.Micro{Step: step, Rows: rows, Scale: 1}),
	); err != nil {
		t.Fatal(err)
	}
	return slices.Clone(a.Loss.Float32s()), slices.Clone(a.DLogits.Float32s())
}

func objective(t *testing.T, student *model.Model, teachers []*model.Model, cache *Cache, o Options) *Objective {
	t.Helper()
	labels := train.NewLabels(student.Backend(), source(t), train.Defaults())
	d, err := New(student, labels, teachers, cache, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// A student that is its own teacher has nothing to learn: without labels, loss and gradient are zero, whatever the
// temperature.
func TestSelfDistillationIsZero(t *testing.T) {
	b := cpu.New(2)
	m := newModel(t, b, 32, true)
	for _, temperature := range []float64{1, 2, 5} {
		d := objective(t, m, []*model.Model{m}, nil, Options{Temperature: temperature, Alpha: 0, TopK: 4})
		loss, dlogits := pass(t, m, d, 0)
		for i, l := range loss {
			if math.Abs(float64(l)) > 1e-5 {
				t.Fatalf("temperature %v: loss %g at target %d", temperature, l, i)
			}
		}
		for i, g := range dlogits {
			if g != 0 {
				t.Fatalf("temperature %v: gradient %g at logit %d", temperature, g, i)
			}
		}
	}
}

// The loss is α·CE + (1-α)·τ²·KL(teacher ‖ student) and its gradient the derivative of that.
func TestLossAndGradientInFloat64(t *testing.T) {
	b := cpu.New(1)
	student, teacher := newModel(t, b, 32, true), newModel(t, b, 64, false)
	const temperature, alpha = 2.5, 0.3
	d := objective(t, student, []*model.Model{teacher}, nil, Options{Temperature: temperature, Alpha: alpha, TopK: 4})
	loss, dlogits := pass(t, student, d, 1)

	z, p := logits(t, student), logits(t, teacher)
	var batch data.Batch
	if err := source(t).Fill(&batch, 1); err != nil {
		t.Fatal(err)
	}
	for i := range rows * tokens {
		hard, soft := softmax(z[i*vocab:][:vocab], 1), softmax(z[i*vocab:][:vocab], temperature)
		q := softmax(p[i*vocab:][:vocab], temperature)
		y := int(batch.Targets[i])
		want := alpha * -math.Log(hard[y])
		for j := range q {
			want += (1 - alpha) * temperature * temperature * q[j] * math.Log(q[j]/soft[j])
			g := alpha*(hard[j]-indicator(j == y)) + (1-alpha)*temperature*(soft[j]-q[j])
			if i == 3 {
				g = 0
			}
			if got := float64(dlogits[i*vocab+j]); math.Abs(got-g) > 2e-5 {
				t.Fatalf("target %d: gradient of logit %d is %g, want %g", i, j, got, g)
			}
		}
		if i == 3 {
			want = 0
		}
		if math.Abs(float64(loss[i])-want) > 2e-5 {
			t.Fatalf("target %d: loss %g, want %g", i, loss[i], want)
		}
	}
}

func indicator(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func softmax(z []float32, temperature float64) []float64 {
	p, sum := make([]float64, len(z)), 0.0
	for i, v := range z {
		p[i] = math.Exp(float64(v) / temperature)
		sum += p[i]
	}
	for i := range p {
		p[i] /= sum
	}
	return p
}

// logits runs a model over the batch of step 1.
func logits(t *testing.T, m *model.Model) []float32 {
	t.Helper()
	a, err := m.NewActivations(rows, tokens, false)
	if err != nil {
		t.Fatal(err)
	}
	var batch data.Batch
	if err := errors.Join(
		source(t).Fill(&batch, 1),
		m.Backend().Upload(a.Inputs, batch.Inputs), m.Backend().Upload(a.Positions, batch.Positions),
		m.Forward(a),
	); err != nil {
		t.Fatal(err)
	}
	return slices.Clone(a.Logits.Float32s())
}

// Several teachers teach the mean of their probabilities; the same teacher twice is that teacher.
func TestSeveralTeachers(t *testing.T) {
	b := cpu.New(1)
	student, one, two := newModel(t, b, 32, true), newModel(t, b, 64, false), newModel(t, b, 48, false)
	o := Options{Temperature: 2, Alpha: 0, TopK: 4}
	_, single := pass(t, student, objective(t, student, []*model.Model{one}, nil, o), 0)
	_, twice := pass(t, student, objective(t, student, []*model.Model{one, one}, nil, o), 0)
	_, other := pass(t, student, objective(t, student, []*model.Model{two}, nil, o), 0)
	_, mean := pass(t, student, objective(t, student, []*model.Model{one, two}, nil, o), 0)
	for i := range single {
		if math.Abs(float64(single[i]-twice[i])) > 1e-6 {
			t.Fatalf("the same teacher twice: gradient %g, once: %g", twice[i], single[i])
		}
		// The gradient is linear in the teachers' probabilities.
		if want := (single[i] + other[i]) / 2; math.Abs(float64(mean[i]-want)) > 1e-5 {
			t.Fatalf("mean of two teachers: gradient %g, want %g", mean[i], want)
		}
	}
}

func TestRefusals(t *testing.T) {
	b := cpu.New(1)
	student := newModel(t, b, 32, true)
	var tok *TokenizerError
	if err := CheckTokenizers("a", "b"); !errors.As(err, &tok) {
		t.Errorf("different tokenizers: %v", err)
	}
	other, err := model.New(b, arch.Edge(vocab+1, tokens, 1, 32, 4, 2), false)
	if err != nil {
		t.Fatal(err)
	}
	labels := train.NewLabels(b, source(t), train.Defaults())
	if _, err := New(student, labels, []*model.Model{other}, nil, Defaults()); err == nil {
		t.Error("a teacher with another vocabulary was accepted")
	}
	if _, err := New(student, labels, nil, nil, Defaults()); err == nil {
		t.Error("no teacher was accepted")
	}
	for _, o := range []Options{{Temperature: 0, Alpha: 0.5, TopK: 1}, {Temperature: 1, Alpha: 1.5, TopK: 1}, {Temperature: 1, Alpha: 0.5}} {
		var bad *train.OptionError
		if err := o.Validate(); !errors.As(err, &bad) {
			t.Errorf("%+v: %v", o, err)
		}
	}
}

// The teacher is not in training mode: where the student drops activations, it does not.
func TestTeacherDropsNothing(t *testing.T) {
	b := cpu.New(1)
	student, teacher := newModel(t, b, 32, true), newModel(t, b, 64, false)
	d := objective(t, student, []*model.Model{teacher}, nil, Options{Temperature: 2, Alpha: 0, TopK: 4})
	a, err := student.NewActivations(rows, tokens, true)
	if err != nil {
		t.Fatal(err)
	}
	a.Dropout, a.Seed = 0.5, 3
	var batch data.Batch
	if err := errors.Join(
		source(t).Fill(&batch, 1),
		b.Upload(a.Inputs, batch.Inputs), b.Upload(a.Targets, batch.Targets),
		b.Upload(a.Weights, batch.Weights), b.Upload(a.Positions, batch.Positions),
		d.Prepare(a, train.Micro{Step: 1, Rows: rows, Scale: 1}), student.Forward(a),
		d.Apply(a, train.Micro{Step: 1, Rows: rows, Scale: 1}),
	); err != nil {
		t.Fatal(err)
	}
	if slices.Equal(a.Logits.Float32s(), logits(t, student)) {
		t.Fatal("the student drops nothing: the test tests nothing")
	}
	want, got := logits(t, teacher), d.sets[rows].probs.Float32s()
	for i := range rows * tokens {
		for j, q := range softmax(want[i*vocab:][:vocab], 2) {
			if math.Abs(float64(got[i*vocab+j])-q) > 1e-6 {
				t.Fatalf("target %d: the teacher gives token %d %g, undisturbed %g", i, j, got[i*vocab+j], q)
			}
		}
	}
}

// A distillation in micro-batches of any size gives bitwise the weights of one in whole batches, with the teacher beside it
// and with a cache, which micro-batches of one size write and those of another read.
func TestMicroBatches(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cache")
	key := Key{Teachers: []string{"t"}, Source: source(t).Hash(), Tokens: rows * tokens, TopK: 3, Temperature: 2}
	for _, cached := range []bool{false, true} {
		var want []float32
		for _, micro := range []int{2, 1, 5} {
			b := cpu.New(2)
			student, teacher := newModel(t, b, 32, true), newModel(t, b, 64, false)
			var cache *Cache
			if cached {
				var err error
				if cache, err = OpenCache(path, key); err != nil {
					t.Fatal(err)
				}
			}
			o := train.Defaults()
			o.Optimizer, o.Steps, o.MicroBatches = train.AdamW, 4, micro
			d := objective(t, student, []*model.Model{teacher}, cache, Options{Temperature: 2, Alpha: 0.4, TopK: 3})
			tr, err := train.New(student, source(t), d, o)
			if err != nil {
				t.Fatal(err)
			}
			for range o.Steps {
				if _, err := tr.Step(true); err != nil {
					t.Fatal(err)
				}
			}
			got := student.Params.Value.Float32s()
			if want == nil {
				want = slices.Clone(got)
			}
			if !slices.Equal(got, want) {
				t.Errorf("cached %v: %d micro-batches give other weights than 2", cached, micro)
			}
			if err := tr.Close(); err != nil {
				t.Fatal(err)
			}
			if cached {
				if err := cache.Close(); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}

// A step reports cross-entropy and divergence apart, however the batch is cut, and the loss is their weighted sum.
func TestParts(t *testing.T) {
	const alpha = 0.3
	var first map[string]float64
	for _, micro := range []int{1, 4} {
		b := cpu.New(1)
		student, teacher := newModel(t, b, 32, true), newModel(t, b, 64, false)
		o := train.Defaults()
		o.Optimizer, o.MicroBatches = train.AdamW, micro
		d := objective(t, student, []*model.Model{teacher}, nil, Options{Temperature: 2, Alpha: alpha, TopK: 4})
		tr, err := train.New(student, source(t), d, o)
		if err != nil {
			t.Fatal(err)
		}
		labels := objective(t, student, []*model.Model{teacher}, nil, Options{Temperature: 2, Alpha: 1, TopK: 4})
		want := alone(t, student, labels)
		r, err := tr.Step(true)
		if err != nil {
			t.Fatal(err)
		}
		if ce := r.Parts["ce"]; math.Abs(ce-want) > 1e-6*want {
			t.Errorf("%d micro-batches: ce %.9f, the labels alone have %.9f", micro, ce, want)
		}
		if sum := alpha*r.Parts["ce"] + (1-alpha)*r.Parts["kd"]; math.Abs(sum-r.Loss) > 1e-6*r.Loss || !(r.Parts["kd"] > 0) || len(r.Parts) != 2 {
			t.Errorf("%d micro-batches: parts %v, loss %.9f", micro, r.Parts, r.Loss)
		}
		if first == nil {
			first = r.Parts
		}
		if r.Parts["ce"] != first["ce"] || r.Parts["kd"] != first["kd"] {
			t.Errorf("%d micro-batches: parts %v, with one %v", micro, r.Parts, first)
		}
		if quiet, err := tr.Step(false); err != nil || quiet.Parts != nil {
			t.Errorf("a step that is not read: %v, %v", quiet, err)
		}
		if err := tr.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// alone is the mean loss of an objective on the first batch, all of whose targets count.
func alone(t *testing.T, student *model.Model, d train.Objective) float64 {
	t.Helper()
	b := student.Backend()
	a, err := student.NewActivations(rows, tokens, true)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	var batch data.Batch
	if err := source(t).Fill(&batch, 0); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(
		b.Upload(a.Inputs, batch.Inputs), b.Upload(a.Targets, batch.Targets),
		b.Upload(a.Weights, batch.Weights), b.Upload(a.Positions, batch.Positions),
		d.Prepare(a, train.Micro{Rows: rows, Scale: 1}), student.Forward(a), d.Apply(a, train.Micro{Rows: rows, Scale: 1}),
	); err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for _, l := range a.Loss.Float32s() {
		sum += float64(l)
	}
	return sum / float64(rows*tokens)
}

// Whatever changes what is learnt changes the hash, by which a resumed run knows its own.
func TestHash(t *testing.T) {
	b := cpu.New(1)
	student, one, two := newModel(t, b, 32, true), newModel(t, b, 64, false), newModel(t, b, 64, false)
	o := Options{Temperature: 2, Alpha: 0.5, TopK: 4}
	hash := func(o Options, cache *Cache, teachers ...*model.Model) string {
		return objective(t, student, teachers, cache, o).Hash()
	}
	first := hash(o, nil, one)
	if again := hash(o, nil, two); again != first {
		t.Error("equal teachers have different hashes")
	}
	if more := hash(Options{Temperature: 2, Alpha: 0.5, TopK: 5}, nil, one); more != first {
		t.Error("without a cache the number of kept probabilities means nothing")
	}
	two.Params.Value.Float32s()[3]++
	cache := new(Cache)
	hashes := []string{
		first, hash(o, nil, two), hash(o, nil, one, two), hash(o, nil, two, one), hash(o, cache, one),
		hash(Options{Temperature: 3, Alpha: 0.5, TopK: 4}, nil, one), hash(Options{Temperature: 2, Alpha: 0.4, TopK: 4}, nil, one),
		hash(Options{Temperature: 2, Alpha: 0.5, TopK: 5}, cache, one),
	}
	for i, h := range hashes {
		if j := slices.Index(hashes, h); j != i {
			t.Errorf("objectives %d and %d have one hash", j, i)
		}
	}
}

// The teachers' losses on the targets are those of their cross-entropy, whatever the temperature; asking for them changes neither
// loss nor gradient of the pass that follows, and asks no teacher twice.
func TestLosses(t *testing.T) {
	b := cpu.New(1)
	student := newModel(t, b, 32, true)
	teachers := []*model.Model{newModel(t, b, 64, false), newModel(t, b, 48, false)}
	d := objective(t, student, teachers, nil, Options{Temperature: 3, Alpha: 0.4, TopK: 4})
	wantLoss, wantGrad := pass(t, student, d, 0)
	asked := &asking{Objective: d, dst: make([]float32, rows*tokens)}
	loss, grad := pass(t, student, asked, 0)
	if !slices.Equal(loss, wantLoss) || !slices.Equal(grad, wantGrad) {
		t.Error("asking for the losses changes the pass")
	}
	want := make([]float64, rows*tokens)
	for _, teacher := range teachers {
		alone := train.NewLabels(b, source(t), train.Defaults())
		own := newTrained(t, b, teacher)
		l, _ := pass(t, own, alone, 0)
		for i, v := range l {
			want[i] += float64(v) / 2
		}
	}
	for i, v := range asked.dst {
		if math.Abs(float64(v)-want[i]) > 1e-5*(1+want[i]) {
			t.Fatalf("target %d: the teachers lose %v, want %v", i, v, want[i])
		}
	}
	cached, err := OpenCache(filepath.Join(t.TempDir(), "cache"), Key{Teachers: []string{"t"}, Source: source(t).Hash(), Tokens: rows * tokens, TopK: 3, Temperature: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer cached.Close()
	var option *train.OptionError
	if err := objective(t, student, teachers[:1], cached, Options{Temperature: 2, Alpha: 0.4, TopK: 3}).Losses(nil, nil); !errors.As(err, &option) {
		t.Errorf("with a cache: %v", err)
	}
}

// asking asks for the losses before a pass.
type asking struct {
	*Objective
	dst []float32
}

func (a *asking) Apply(acts *model.Activations, m train.Micro) error {
	if err := a.Losses(a.dst, acts); err != nil {
		return err
	}
	if !a.sets[acts.Batch].taught {
		return errors.New("the teachers are asked again")
	}
	return a.Objective.Apply(acts, m)
}

// newTrained is a copy of a model that has gradients.
func newTrained(t *testing.T, b backend.Backend, of *model.Model) *model.Model {
	t.Helper()
	w, err := of.Host()
	if err != nil {
		t.Fatal(err)
	}
	m, err := model.New(b, of.Config, true)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Load(w); err != nil {
		t.Fatal(err)
	}
	return m
}

// A distillation that learns from the targets of largest excess over its teachers is the same for any micro-batches.
func TestExcessOverTeachers(t *testing.T) {
	var want []float32
	for _, micro := range []int{2, 1, 5} {
		b := cpu.New(2)
		student, teacher := newModel(t, b, 32, true), newModel(t, b, 64, false)
		o := train.Defaults()
		o.Optimizer, o.Steps, o.MicroBatches, o.LossTokens, o.LossShare = train.AdamW, 3, micro, train.Excess, 0.5
		d := objective(t, student, []*model.Model{teacher}, nil, Options{Temperature: 2, Alpha: 0.4, TopK: 3})
		c, err := train.NewChoice(b, d, d, o)
		if err != nil {
			t.Fatal(err)
		}
		tr, err := train.New(student, source(t), c, o)
		if err != nil {
			t.Fatal(err)
		}
		for range o.Steps {
			r, err := tr.Step(true)
			if err != nil {
				t.Fatal(err)
			}
			if !(r.Parts["ce"] > 0 && r.Parts["kd"] > 0) {
				t.Errorf("parts %v", r.Parts)
			}
		}
		got := student.Params.Value.Float32s()
		if want == nil {
			want = slices.Clone(got)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%d micro-batches give other weights than 2", micro)
		}
		if err := tr.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
