package train

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mito/backend"
	"mito/kernels/isa"
)

func TestArithmetic(t *testing.T) {
	cpu := func(attn, gemm, vec string) backend.Info {
		return backend.Info{Name: "cpu", Kernels: map[string]string{"attn": attn, "gemm": gemm, "vec": vec, "qgemm": "generic"}}
	}
	for _, c := range []struct {
		info backend.Info
		want string
	}{
		{cpu(isa.AVX2, isa.AVX512, isa.AVX2), "AVX"},
		{cpu(isa.NEON, isa.NEON, isa.NEON), "NEON"},
		{cpu(isa.Generic, isa.Generic, isa.Generic), "generic"},
		{cpu(isa.Generic, isa.NEON, isa.NEON), "attn generic, gemm NEON, vec NEON"},
		{backend.Info{Name: "cuda", Kernels: map[string]string{"ptx": "compute_80", "precision": "bf16"}}, "cuda, precision bf16, ptx compute_80"},
	} {
		if got := Arithmetic(c.info); got != c.want {
			t.Errorf("%v: %q, want %q", c.info, got, c.want)
		}
	}
}

// Kernels of another family round otherwise: a run is not continued with them.
func TestResumeRefusesOtherKernels(t *testing.T) {
	o := testOptions(5)
	tr := newTrainer(t, 1, o)
	steps(t, tr, 2)
	saved := saveTrainer(t, tr, filepath.Join(t.TempDir(), "last"))
	levels := isa.Levels()
	best := levels[len(levels)-1]
	if best == isa.Generic {
		t.Skip("this build has the kernels in plain Go only")
	}
	if err := isa.Limit(isa.Generic); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := isa.Limit(best); err != nil {
			t.Error(err)
		}
	}()
	again := newTrainer(t, 1, o)
	if err := again.Resume(saved); err == nil || !strings.Contains(err.Error(), `here it is "generic"`) || !strings.Contains(err.Error(), "--from") {
		t.Errorf("got %v, want a refusal that names the arithmetic and says what to do", err)
	}
	if again.Steps() != 0 {
		t.Error("the refused state was loaded")
	}
}

func TestResumeRefusesAnotherOrigin(t *testing.T) {
	o := testOptions(5)
	tr := newTrainer(t, 1, o)
	tr.Origin = Origin{Judge: "held-out text", From: "a model"}
	saved := saveTrainer(t, tr, filepath.Join(t.TempDir(), "last"))
	for _, c := range []struct {
		origin Origin
		says   string // "" for success
	}{
		{tr.Origin, ""},
		{Origin{Judge: "another", From: "a model"}, "other held-out data (held-out tex…"},
		{Origin{Judge: "held-out text"}, "began with the weights a model…, this one with fresh weights"},
		{Origin{Judge: "held-out text", From: "another"}, "this one with the weights another…"},
	} {
		again := newTrainer(t, 1, o)
		again.Origin = c.origin
		if err := again.Resume(saved); (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%+v: got %v, want %q", c.origin, err, c.says)
		}
	}

	fresh := newTrainer(t, 1, o)
	saved = saveTrainer(t, fresh, filepath.Join(t.TempDir(), "last"))
	again := newTrainer(t, 1, o)
	again.Origin.From = "a model"
	if err := again.Resume(saved); err == nil || !strings.Contains(err.Error(), "began with fresh weights, this one with the weights a model…") {
		t.Errorf("fresh weights: got %v", err)
	}
}

// A run whose rate has not fallen yet becomes, with more steps, bitwise the run that had them from the start. One whose
// rate follows the number of steps from the start does not, and both say in their state what was done.
func TestExtend(t *testing.T) {
	const cut, few, many = 5, 10, 16 // with a decay of 0.4 the rate falls from step 6 of 10 and 10 of 16
	for schedule, same := range map[string]bool{WSD: true, Constant: true, Cosine: false} {
		o := testOptions(many)
		o.Schedule, o.Decay = schedule, 0.4
		whole := newTrainer(t, 1, o)
		steps(t, whole, many)

		o.Steps = few
		part := newTrainer(t, 1, o)
		steps(t, part, cut)
		saved := saveTrainer(t, part, filepath.Join(t.TempDir(), "last"))

		o.Steps = many
		again := newTrainer(t, 1, o)
		if err := again.Resume(saved); err == nil || !strings.Contains(err.Error(), "steps 10, now 16") {
			t.Errorf("%s: more steps without being asked to extend: %v", schedule, err)
		}
		if err := again.Extend(saved); err != nil {
			t.Fatal(err)
		}
		last := steps(t, again, many-cut)
		if want := o.LR * o.Rate(many-1); last.LR != want {
			t.Errorf("%s: the last rate is %g, want %g", schedule, last.LR, want)
		}
		if got := fingerprint(t, again) == fingerprint(t, whole); got != same {
			t.Errorf("%s: the weights of the longer run: %v, want %v", schedule, got, same)
		}
		state, err := again.State()
		if err != nil {
			t.Fatal(err)
		}
		run := state.Scalars.(savedRun)
		if !slices.Equal(run.Extended, []Extension{{Step: cut, Steps: few}}) || run.Options.Steps != many {
			t.Errorf("%s: the state says %+v of %d steps", schedule, run.Extended, run.Options.Steps)
		}

		// What was extended is resumed like any run, and cannot be made shorter.
		longer := saveTrainer(t, again, filepath.Join(t.TempDir(), "last"))
		once := newTrainer(t, 1, o)
		if err := once.Extend(longer); err != nil || !slices.Equal(once.extended, run.Extended) {
			t.Errorf("%s: resumed with the same steps: %v, %+v", schedule, err, once.extended)
		}
		o.Steps = many - 1
		if err := newTrainer(t, 1, o).Extend(longer); err == nil || !strings.Contains(err.Error(), "steps 16, now 15") {
			t.Errorf("%s: fewer steps: %v", schedule, err)
		}
	}
}

// The state's JSON has the origin beside the other fields, where another program looks for it.
func TestStateNamesTheOrigin(t *testing.T) {
	tr := newTrainer(t, 1, testOptions(2))
	tr.Origin = Origin{Judge: "j", From: "f"}
	state, err := tr.State()
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(state.Scalars)
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if got["judge"] != "j" || got["from"] != "f" || got["arithmetic"] != Arithmetic(tr.b.Info()) {
		t.Errorf("%s", text)
	}
}
