package pipeline

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"mito/backend"
	"mito/engine/arch"
	"mito/engine/checkpoint"
	"mito/engine/compress/prune"
	"mito/engine/compress/quant"
	"mito/engine/compress/search"
	"mito/engine/data"
	"mito/engine/decode"
	"mito/engine/eval"
	"mito/engine/files"
	"mito/engine/runs"
	"mito/engine/student"
	"mito/engine/task"
	"mito/engine/train"
)

// SearchOptions describe a search for a student under a budget.
type SearchOptions struct {
	Healing // of a trial of the last round; Dir is the parent, Out the folder of the search, Seed that of all draws

	Budget search.Budget
	Trials int // in the first round
	Rows   int // training sequences that scores are computed from

	// Device says that the budget is of a device's flash, with the code, and RAM, with the stack, as the C export predicts them; without
	// it, of the file's bytes and of what decoding a sequence takes.
	Device bool

	Pool Pool // runs the trials of a round, on other machines too; nil for one after the other in this process
}

// Searched is the result of a search.
type Searched struct {
	Dir     string           `json:"dir"`
	Parent  string           `json:"parent"` // SHA-256 of its weights
	Budget  search.Budget    `json:"budget"`
	Rungs   []search.Rung    `json:"rungs"`
	Front   []search.Outcome `json:"front"`             // by bytes and loss, the smallest first
	Best    search.Outcome   `json:"best"`              // of the last round, by the loss on what was kept for the choice
	Uniform []search.Outcome `json:"uniform,omitempty"` // of the last round: the whole parent with the same sparsity, or bits, everywhere
}

// The parts of a search's folder.
const (
	trialsDir    = "trials"
	trialStudent = "student" // in the folder of a trial: the INT8 student, unless the run made it
	trialRun     = "run"     // the run that recovered it
	searchFile   = "search.json"
)

// awareShare is the share of the steps of a trial, the last, that train weights of fewer bits as such.
const awareShare = 0.5

// chosenShare is the part of the training data that trials are compared on.
const chosenShare = 0.1

// Check refuses what cannot be meant, before any work. Errors: *train.OptionError, those of the folder.
func (o *SearchOptions) Check() error {
	switch {
	case o.Trials < 1:
		return &train.OptionError{Field: "trials", Got: o.Trials, Want: "1 or more"}
	case o.Rows < 1:
		return &train.OptionError{Field: "calibrate", Got: o.Rows, Want: "1 or more sequences"}
	case o.Train.Steps < 1:
		return &train.OptionError{Field: "steps", Got: o.Train.Steps, Want: "1 or more"}
	}
	if err := o.Train.Validate(); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(o.Out, trialsDir)); o.Resume && err == nil {
		return nil
	}
	return runs.CheckFree(o.Out)
}

// Begun says that the folder of the search holds something of a trial, which another search with Resume goes on from.
func (o *SearchOptions) Begun() bool {
	trials, err := os.ReadDir(filepath.Join(o.Out, trialsDir))
	return err == nil && len(trials) > 0
}

// searcher is a search under way.
type searcher struct {
	SearchOptions
	b       backend.Backend
	whole   *Workload // what the parent was trained for
	w       *Workload // its training part, with a part of that kept for the choice
	cal     *prune.Calibration
	record  *quant.CalibrationRecord
	trials  string
	base    search.Trial // what all trials share
	config  arch.Config
	results []search.Outcome
}

// Search finds students of a trained float model under a budget. Its trials lie under Out by the hash of what they are; with
// Resume those that are there already are not run again. What is chosen is chosen on a part of the training data; the held-out
// part judges what the search returns. Errors: *train.OptionError, *search.BudgetError that says the smallest budget, those of Fit
// and Quantize.
func Search(ctx context.Context, b backend.Backend, w *Workload, o SearchOptions, p Progress) (*Searched, error) {
	s, parent, err := newSearcher(b, w, o)
	if err != nil {
		return nil, err
	}
	candidates, err := search.SpaceOf(s.config).Candidates(ctx, s.config, o.Budget, o.Trials, o.Train.Seed, s.cost, search.Speed)
	if err != nil {
		return nil, err
	}
	if err := s.prepare(ctx, parent); err != nil {
		return nil, err
	}
	if candidates, err = s.withMeasured(ctx, candidates, parent); err != nil {
		return nil, err
	}
	r := &Searched{Dir: o.Out, Parent: parent.Hash, Budget: o.Budget, Rungs: search.Rungs(len(candidates), o.Train.Steps)}
	uniform := map[string]bool{}
	var list []search.Trial
	for _, c := range candidates {
		t := s.base
		t.Shape, t.Sparsity, t.Spread, t.Bits = c.Shape, c.Sparsity, c.Spread, c.Bits
		list = append(list, t)
		if c.Uniform {
			t.Steps = 0
			uniform[t.Name()] = true
		}
	}
	for _, rung := range r.Rungs {
		if len(s.results) > 0 {
			list = list[:0]
			for _, o := range search.Best(s.results, rung.Trials) {
				list = append(list, o.Trial)
			}
		}
		s.results = nil
		if err := s.pool(ctx, list, rung.Steps, p); err != nil {
			return nil, err
		}
		each := p
		if s.Pool != nil { // its stage has told of them
			each = Silent{}
		}
		for i, t := range list {
			t.Steps = 0
			same := uniform[t.Name()]
			t.Steps = rung.Steps
			err := stage(each, fmt.Sprintf("trial %d of %d, %d steps", i+1, len(list), rung.Steps), 0, func() (string, error) {
				o, err := s.try(ctx, t)
				o.Uniform = same
				fits := false
				if err == nil {
					fits, err = s.fits(o)
				}
				if fits {
					s.results, r.Front = append(s.results, o), append(r.Front, o)
				}
				return fmt.Sprintf("%s: loss %.4f, %d bytes", o.Name, o.Loss, o.Flash), err
			})
			if err != nil {
				return nil, err
			}
		}
	}
	if len(s.results) == 0 {
		return nil, errors.New("search: every student came out larger than the budget")
	}
	r.Front = search.Front(r.Front)
	r.Best = search.Best(s.results, 1)[0]
	for _, o := range s.results {
		if o.Uniform {
			r.Uniform = append(r.Uniform, o)
		}
	}
	return r, s.judge(ctx, r)
}

// newSearcher refuses what cannot be searched.
func newSearcher(b backend.Backend, w *Workload, o SearchOptions) (*searcher, *Start, error) {
	if err := o.Check(); err != nil {
		return nil, nil, err
	}
	parent, err := OpenStart(o.Dir)
	if err != nil {
		return nil, nil, fmt.Errorf("search: %w", err)
	}
	if parent.Tokenizer.Hash() != w.Tokenizer.Hash() {
		return nil, nil, fmt.Errorf("search: %s has another tokenizer than %s; use its tokenizer.json", o.Dir, w.Name)
	}
	if len(parent.Masks) > 0 {
		return nil, nil, &train.OptionError{Field: "model", Got: o.Dir, Want: "a model whose weights are not masked: a search decides that"}
	}
	return &searcher{SearchOptions: o, b: b, whole: w, trials: filepath.Join(o.Out, trialsDir), config: parent.Config}, parent, nil
}

// prepare splits the training data and draws what scores look at.
func (s *searcher) prepare(ctx context.Context, parent *Start) (err error) {
	if s.w, err = s.whole.kept(chosenShare); err != nil {
		return err
	}
	source, err := s.w.Source(task.Train, s.Batch, s.Train.Seed)
	if err != nil {
		return err
	}
	held, err := s.w.Eval(task.Test, 1)
	if err != nil {
		return err
	}
	rows, evaluation, err := samples(ctx, s.w, s.Rows, s.Train.Seed)
	if err != nil {
		return err
	}
	s.cal = prune.NewCalibration(*rows)
	if s.record, err = s.cal.Record(evaluation); err != nil {
		return err
	}
	settings := s.Train
	settings.Steps, settings.Seed, settings.SaveEvery, settings.EvalEvery, settings.LogEvery = 0, 0, 0, 0, 0
	teacher, err := s.teacherHash()
	if err != nil {
		return err
	}
	recipe, err := json.Marshal(struct {
		Train   train.Options
		Distill any
		Rows    int
		Teacher string `json:",omitempty"` // SHA-256 of its weights; "" for the parent
	}{settings, s.Distill, s.Rows, teacher})
	if err != nil {
		return err
	}
	s.base = search.Trial{
		Parent: parent.Hash, Data: hashOf([]byte(source.Hash() + held.Hash())), Recipe: hashOf(recipe), Seed: s.Train.Seed,
	}
	return nil
}

// teacherHash is that of the weights of a teacher that is not the parent.
func (s *searcher) teacherHash() (string, error) {
	if s.Teacher == "" {
		return "", nil
	}
	f, err := checkpoint.Open(runs.ResolveModel(s.Teacher))
	if err != nil {
		return "", fmt.Errorf("teacher: %w", err)
	}
	hash, err := f.WeightsSHA256()
	if err != nil {
		return "", fmt.Errorf("teacher: %w", err)
	}
	return hash, nil
}

func hashOf(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// kept is the training part of a workload as a workload of its own, of which a share is for comparing what it trained.
func (w *Workload) kept(share float64) (*Workload, error) {
	in := *w
	if w.examples == nil {
		var err error
		if in.train, in.held, err = data.Split(w.train.Text, share); err != nil {
			return nil, err
		}
		in.tokens = map[task.Split][]int32{}
		return &in, errors.Join(in.encode(w.Name, task.Train, in.train), in.encode(w.Name, task.Test, in.held))
	}
	in.examples = map[task.Split][]data.Example{task.All: w.examples[task.Train]}
	every := int(1 / share)
	for i, e := range w.examples[task.Train] {
		split := task.Train
		if i%every == every-1 {
			split = task.Test
		}
		in.examples[split] = append(in.examples[split], e)
	}
	return &in, w.checkApart(in.examples[task.Train], in.examples[task.Test])
}

// try runs a trial, or finds its outcome.
func (s *searcher) try(ctx context.Context, t search.Trial) (o search.Outcome, err error) {
	o, ok, err := search.Load(s.trials, t)
	if ok || err != nil {
		return o, err
	}
	began := time.Now()
	start, err := OpenStart(s.Dir)
	if err != nil {
		return o, err
	}
	for _, cut := range s.cuts(t) {
		p := PruneOptions{Options: cut, Schedule: prune.OneShot}
		if err := p.prune(ctx, s.b, start, s.cal, &prune.Record{Options: cut, Schedule: prune.OneShot, Calibration: s.record}); err != nil {
			return o, err
		}
	}
	q, student, err := s.student(ctx, t, start)
	if err != nil {
		return o, err
	}
	o = search.Outcome{Trial: t, Name: t.Name(), Student: student, RAM: search.RAM(q.Config), Params: start.Masks.Live(q.Config.Params())}
	info, err := os.Stat(filepath.Join(s.folder(o), checkpoint.WeightsName))
	if err != nil {
		return o, err
	}
	o.Flash = info.Size()
	if o.Loss, err = s.loss(ctx, o, s.w); err != nil {
		return o, err
	}
	if o.TokS, err = search.SpeedOf(q); err != nil {
		return o, err
	}
	o.Seconds = time.Since(began).Seconds()
	return o, search.Save(s.trials, o)
}

// cost is what the budget limits of a student before it is trained.
func (s *searcher) cost(c arch.Config, sparsity float64, bits string) (flash, ram int64, err error) {
	if !s.Device {
		return search.OfFile(c, sparsity, bits)
	}
	return s.whole.searchCost(c, sparsity, bits)
}

// fits says whether the student of an outcome is within the budget of flash and RAM.
func (s *searcher) fits(o search.Outcome) (bool, error) {
	flash, ram := o.Flash, o.RAM
	if s.Device {
		q, _, coarse, err := openStudent(s.folder(o))
		if err != nil {
			return false, err
		}
		if flash, ram, _, err = s.whole.deviceCostOf(q, coarse); err != nil {
			return false, err
		}
	}
	return (s.Budget.Flash == 0 || flash <= s.Budget.Flash) && (s.Budget.RAM == 0 || ram <= s.Budget.RAM), nil
}

// student trains the INT8 student of a trial from what was cut of the parent, and says where in the trial's folder it lies.
func (s *searcher) student(ctx context.Context, t search.Trial, start *Start) (_ *student.Weights, place string, err error) {
	dir := filepath.Join(s.trials, t.Name())
	heal := s.Healing
	heal.Out, heal.Resume = filepath.Join(dir, trialRun), true
	heal.Train.Steps, heal.Train.Seed = t.Steps, t.Seed
	if t.Bits != search.Whole {
		rules, err := quant.ParseRules(t.Bits)
		if err != nil {
			return nil, "", err
		}
		heal.Aware = &Aware{Share: awareShare, Rules: rules}
	}
	made, err := heal.heal(ctx, s.b, s.w, start, "recover", Silent{})
	if err != nil {
		return nil, "", err
	}
	if t.Bits != search.Whole {
		if place, err = filepath.Rel(dir, made.Dir); err != nil {
			return nil, "", err
		}
		q, err := quant.Load(made.Dir)
		return q, filepath.ToSlash(place), err
	}
	q, _, err := quantize(ctx, made.Dir, filepath.Join(dir, trialStudent), quant.Options{}, func(string) error { return nil })
	return q, trialStudent, err
}

// folder is where the student of an outcome lies.
func (s *searcher) folder(o search.Outcome) string {
	return filepath.Join(s.trials, o.Name, filepath.FromSlash(o.Student))
}

// cuts are the prunings that make a trial of the parent.
func (s *searcher) cuts(t search.Trial) []prune.Options {
	var list []prune.Options
	differs := func(get func(arch.Layer) int, want int) bool {
		for i := range s.config.Layers {
			if get(s.config.Layer(i)) != want {
				return true
			}
		}
		return false
	}
	if t.Layers < s.config.Layers {
		list = append(list, prune.Options{Kind: prune.Layers, Score: prune.Taylor, Keep: t.Layers})
	}
	if differs(func(l arch.Layer) int { return l.Heads }, t.Heads) {
		list = append(list, prune.Options{Kind: prune.Heads, Score: prune.OBC, Keep: t.Heads})
	}
	if differs(func(l arch.Layer) int { return l.IntermediateSize }, t.Neurons) {
		list = append(list, prune.Options{Kind: prune.Neurons, Score: prune.OBC, Keep: t.Neurons})
	}
	if t.Sparsity > 0 {
		list = append(list, prune.Options{Kind: prune.Block4x8, Score: prune.OBC, Sparsity: t.Sparsity, Spread: t.Spread})
	}
	return list
}

// loss evaluates the student of an outcome on what a workload holds out.
func (s *searcher) loss(ctx context.Context, o search.Outcome, w *Workload) (l float64, err error) {
	held, err := w.Eval(task.Test, fitRows(w.Context))
	if err != nil {
		return 0, err
	}
	rt, err := decode.Open(s.folder(o), decode.Options{Threads: max(1, s.b.Info().Threads)})
	if err != nil {
		return 0, err
	}
	defer closing(rt, &err)
	loss, err := eval.Loss(ctx, rt, held)
	return loss.PerToken(), err
}

// judge evaluates what a search returns on the held-out part, and saves it.
func (s *searcher) judge(ctx context.Context, r *Searched) (err error) {
	known := map[string]float64{}
	test := func(o *search.Outcome) {
		loss, ok := known[o.Name]
		if !ok && err == nil {
			loss, err = s.loss(ctx, *o, s.whole)
			known[o.Name] = loss
		}
		o.Test = loss
	}
	for i := range r.Front {
		test(&r.Front[i])
	}
	test(&r.Best)
	for i := range r.Uniform {
		test(&r.Uniform[i])
	}
	if err != nil {
		return err
	}
	return files.WriteJSON(filepath.Join(s.Out, searchFile), r)
}
