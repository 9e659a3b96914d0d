package train

import (
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"

	"mito/backend"
	"mito/backend/cpu"
	"mito/engine/data"
	"mito/engine/model"
)

// The gradient is that of the mean over the weights of all targets of the batch, however ragged they are and however it is
// cut; the step reports that, the rate of the step and the tokens seen.
func TestGradientOfRaggedBatch(t *testing.T) {
	o := testOptions(3)
	o.Dropout, o.Smoothing, o.ClipNorm = 0, 0, 0
	source := testSource(t)
	for _, micro := range []int{1, 3} {
		o.MicroBatches = micro
		tr := trainerOf(t, 2, testConfig(), source, nil, o)
		for step := range 3 {
			loss, norm := meanGradient(t, tr, source, int64(step))
			r := steps(t, tr, 1)
			if math.Abs(r.GradNorm-norm) > 1e-5*norm || math.Abs(r.Loss-loss) > 1e-6*loss {
				t.Errorf("%d micro-batches, step %d: loss %v, norm %v; want %v, %v", micro, step, r.Loss, r.GradNorm, loss, norm)
			}
			if r.LR != o.LR*o.Rate(step) || r.Tokens != int64((step+1)*testRows*testTime) || r.Step != step+1 {
				t.Errorf("step %d reports %+v", step, r)
			}
		}
	}
}

// meanGradient computes loss and norm of the gradient of a step's batch in one piece, with its own scale.
func meanGradient(t *testing.T, tr *Trainer, source Source, step int64) (loss, norm float64) {
	t.Helper()
	m, b := tr.Model, tr.Model.Backend()
	var batch data.Batch
	if err := source.Fill(&batch, step); err != nil {
		t.Fatal(err)
	}
	a, err := m.NewActivations(testRows, testTime, true)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	weight := 0.0
	for _, w := range batch.Weights {
		weight += float64(w)
	}
	if weight == testRows*testTime {
		t.Fatal("every target counts: the test tests nothing")
	}
	if err := errors.Join(
		b.Upload(a.Inputs, batch.Inputs), b.Upload(a.Targets, batch.Targets),
		b.Upload(a.Weights, batch.Weights), b.Upload(a.Positions, batch.Positions),
		m.ZeroGrad(), m.Forward(a),
		b.CrossEntropy(a.Loss, a.DLogits, a.Logits, a.Targets, a.Weights, backend.CrossEntropyArgs{Scale: float32(1 / weight)}),
		m.Backward(a), m.FinishGrad(),
	); err != nil {
		t.Fatal(err)
	}
	for _, l := range a.Loss.Float32s() {
		loss += float64(l) / weight
	}
	for _, g := range m.Params.Grad.Float32s() {
		norm += float64(g) * float64(g)
	}
	return loss, math.Sqrt(norm)
}

// A mask holds through every step of either optimiser: in the weights, in their average, and after a resumption.
func TestMaskHolds(t *testing.T) {
	for _, optimizer := range []string{AdamW, Muon} {
		o := testOptions(6)
		o.Optimizer = optimizer
		b := cpu.New(2)
		const name = "model.layers.1.mlp.up_proj.weight"
		m, err := model.Build(b, testConfig(), model.Options{Grads: true, Masked: func(n string) bool { return n == name }})
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Initialize(3, model.DefaultInit()); err != nil {
			t.Fatal(err)
		}
		p := m.Params.Lookup(name)
		mask := make([]float32, p.Size())
		for i := range mask {
			mask[i] = float32(i % 2)
		}
		tr, err := New(m, testSource(t), nil, o)
		if err != nil {
			t.Fatal(err)
		}
		steps(t, tr, 1)
		if err := m.SetMask(p, mask); err != nil {
			t.Fatal(err)
		}
		for range 5 {
			steps(t, tr, 1)
			average := tr.opt.ema.Float32s()[p.Offset():][:p.Size()]
			for i, w := range p.Value.Float32s() {
				if dead := mask[i] == 0; dead != (w == 0) || dead != (average[i] == 0) {
					t.Fatalf("%s: element %d with mask %v is %v, its average %v", optimizer, i, mask[i], w, average[i])
				}
			}
		}
		if err := errors.Join(tr.Close(), m.Close(), b.Close()); err != nil {
			t.Error(err)
		}
	}
}

// What is frozen stays as it is, takes no part in the state of the run, and still ships.
func TestFrozenRun(t *testing.T) {
	b := cpu.New(2)
	m, err := model.Build(b, testConfig(), model.Options{Grads: true, Trained: func(n string) bool { return strings.Contains(n, "layers.1.") }})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Initialize(3, model.DefaultInit()); err != nil {
		t.Fatal(err)
	}
	before, err := m.Host()
	if err != nil {
		t.Fatal(err)
	}
	tr, err := New(m, testSource(t), nil, testOptions(3))
	if err != nil {
		t.Fatal(err)
	}
	steps(t, tr, 3)
	after, err := m.Host()
	if err != nil {
		t.Fatal(err)
	}
	for name, w := range before.Tensors {
		if same := reflect.DeepEqual(w, after.Tensors[name]); same != !strings.Contains(name, "layers.1.") {
			t.Errorf("%s is unchanged: %v", name, same)
		}
	}
	state, err := tr.State()
	if err != nil {
		t.Fatal(err)
	}
	if got, want := len(state.Tensors), 4*len(m.Params.Trained()); got != want {
		t.Errorf("the state has %d tensors, want %d", got, want)
	}
	ships, err := tr.Weights()
	if err != nil || len(ships) != len(m.Params.List) {
		t.Errorf("%d tensors ship, %v; the model has %d", len(ships), err, len(m.Params.List))
	}
	if err := tr.Close(); err != nil {
		t.Error(err)
	}
	all, err := model.Build(b, testConfig(), model.Options{Grads: true, Trained: func(string) bool { return false }})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := New(all, testSource(t), nil, testOptions(1)); !errors.Is(err, ErrNothingToTrain) {
		t.Errorf("a model that is frozen whole: %v", err)
	}
}

// A resumed run may change how often it looks and saves, and the number of micro-batches; every other option is the run.
func TestLastingOptions(t *testing.T) {
	free := map[string]bool{"EvalEvery": true, "SaveEvery": true, "LogEvery": true, "MicroBatches": true}
	base := testOptions(3)
	fields := reflect.TypeOf(base)
	for i := range fields.NumField() {
		o := base
		switch v := reflect.ValueOf(&o).Elem().Field(i); v.Kind() {
		case reflect.Int:
			v.SetInt(v.Int() + 1)
		case reflect.Uint64:
			v.SetUint(v.Uint() + 1)
		case reflect.Float64:
			v.SetFloat(v.Float() + 0.5)
		case reflect.String:
			v.SetString(v.String() + "x")
		case reflect.Bool:
			v.SetBool(!v.Bool())
		}
		name := fields.Field(i).Name
		if same := reflect.DeepEqual(o.lasting(), base.lasting()); same != free[name] {
			t.Errorf("a change of %s may be resumed: %v", name, same)
		}
	}
}

// The message of a batch that does not fit names the number that does, without trying.
func TestOutOfMemoryNamesWhatFits(t *testing.T) {
	b := cpu.New(1)
	m, err := model.New(b, testConfig(), true)
	if err != nil {
		t.Fatal(err)
	}
	const fits = 37
	size, err := m.ActivationBytes(fits, testTime, true)
	if err != nil {
		t.Fatal(err)
	}
	cause := &backend.MemoryError{Asked: 1 << 50, Free: size + size/50, Of: "the test"}
	err = outOfMemory(cause, m, 1000, testTime)
	if !errors.Is(err, backend.ErrOutOfMemory) || !strings.Contains(err.Error(), "37 of the batch's 1000 sequences fit") ||
		!strings.Contains(err.Error(), "use 28 micro-batches") {
		t.Error(err)
	}
	cause.Free = 10
	if err := outOfMemory(cause, m, 1000, testTime); !strings.Contains(err.Error(), "not even one sequence of 16 tokens fits") {
		t.Error(err)
	}
	if err := outOfMemory(errors.New("else"), m, 1000, testTime); errors.Is(err, backend.ErrOutOfMemory) {
		t.Error(err)
	}
	if err := errors.Join(m.Close(), b.Close()); err != nil {
		t.Error(err)
	}
}
