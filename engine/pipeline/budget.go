package pipeline

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"mito/engine/arch"
	"mito/engine/checkpoint"
	"mito/engine/compress/search"
	"mito/engine/export"
	"mito/engine/export/c99"
	"mito/engine/files"
	"mito/engine/report"
	"mito/engine/runs"
	"mito/engine/student"
	"mito/engine/task"
	"mito/engine/train"
)

// Choice is the student that a budget leaves room for, chosen before anything is trained.
type Choice struct {
	Budget  search.Budget
	Shape   string // model preset that is trained
	Context int    // tokens
	Search  bool   // it does not fit whole: smaller and sparser students of it are searched for
	Why     string

	fact string // what is chosen, without the reason
}

// Limits of what is chosen from.
const (
	mostParams   = 1_000_000 // of a student
	leastContext = 16        // tokens of a text's row
	unknownCode  = 17 << 10  // bytes of code of parts that no model was measured with: more than of any that was
	unknownStack = 640       // bytes, the same
	halfFilled   = 0.5       // share of the flash that the preset's own architecture fills at least
	wellFilled   = 0.75      // share of the flash that a student takes that needs no search for a larger one
	budgetTrials = 6         // students of the first round of a search
	budgetRows   = 32        // training sequences that its scores look at
	squeezed     = 4         // times the flash that a model may take that is pruned to it
)

// standardPreset is the name of presets that measured search found; see bench/results/presets.md.
const standardPreset = "standard"

// errUnmeasured says why nothing is known of a shape that can be exported.
var errUnmeasured = errors.New("no model with its parts was compiled and measured")

// Choose picks the model preset and the context of a student for a budget: flash and RAM as the C export predicts them for the largest
// of the processors that it knows, tokens a second as measured here on one thread. Where the architecture
// of the student of the workload's preset p fits whole it is that, if the preset is a standard one, which was found by measured search, or
// if it fills half of the flash. Otherwise it is the longest context, of a text only, and
// then the largest preset that fits whole; where that leaves much of the flash empty, or none fits, the smallest larger one whose
// pruned students fit. Errors: *search.BudgetError that names the nearest budget that can be kept, ctx's.
func (w *Workload) Choose(ctx context.Context, b search.Budget, p *Preset) (*Choice, error) {
	var least nearest
	if c, err := w.tuned(p, b, &least); c != nil || err != nil {
		return c, err
	}
	for _, tokens := range w.contexts() {
		var whole *Choice
		for _, shape := range slices.Backward(w.studentShapes(tokens)) {
			c, err := w.fits(shape, tokens, b, &least)
			if err != nil {
				return nil, err
			}
			if c != nil {
				whole = c
				break
			}
		}
		if whole != nil && (b.Flash == 0 || float64(whole.filled(w)) >= wellFilled*float64(b.Flash)) {
			return whole, nil
		}
		pruned, err := w.prunable(ctx, tokens, b, whole)
		if err != nil {
			return nil, err
		}
		if pruned != nil {
			return pruned, nil
		}
		if whole != nil {
			return whole, nil
		}
	}
	return nil, least.refuse(b)
}

// tuned is the choice of the preset's own architecture; nil where the budget has no room for it, or much more.
func (w *Workload) tuned(p *Preset, b search.Budget, least *nearest) (*Choice, error) {
	s, err := ShapeOf(p.Student.Shape)
	if err != nil {
		return nil, err
	}
	c, err := w.fits(s, w.Context, b, least)
	if c == nil || err != nil || p.Name != standardPreset && float64(c.filled(w)) < halfFilled*float64(b.Flash) {
		return nil, err
	}
	c.Why = c.fact + "; the preset was tuned for it"
	return c, nil
}

// contexts lists the contexts to choose from: a task's own, or a text's and shorter ones.
func (w *Workload) contexts() []int {
	list := []int{w.Context}
	for n := w.Context / 2; w.examples == nil && n >= leastContext; n /= 2 {
		list = append(list, n)
	}
	return list
}

// studentShapes lists the presets that a student may have, the smallest first.
func (w *Workload) studentShapes(tokens int) (list []Shape) {
	size := func(s Shape) int64 { c := s.At(w.Tokenizer.VocabSize(), tokens); return c.Params() }
	for _, s := range Shapes() {
		if size(s) < mostParams {
			list = append(list, s)
		}
	}
	slices.SortStableFunc(list, func(a, b Shape) int { return int(size(a) - size(b)) })
	return list
}

// fits is the choice of a preset as a whole; nil where the budget has no room for it.
func (w *Workload) fits(s Shape, tokens int, b search.Budget, least *nearest) (*Choice, error) {
	config := s.At(w.Tokenizer.VocabSize(), tokens)
	flash, ram, known, err := w.deviceCost(config, 0, search.Whole)
	if err != nil || !known {
		least.why = cmp.Or(err, errUnmeasured)
		return nil, nil // the C export does not have it, or nobody has measured it
	}
	small, _, _, err := w.deviceCost(config, mostPruned, search.Whole)
	if err != nil {
		return nil, err
	}
	coarse, _, _, err := w.deviceCost(config, 0, fewestBits)
	if err != nil {
		return nil, err
	}
	small = min(small, coarse)
	rate := 0.0
	if b.TokS > 0 {
		if rate, err = search.Speed(config, 0); err != nil {
			return nil, err
		}
	}
	least.see(small, ram, rate)
	if b.Flash > 0 && flash > b.Flash || b.RAM > 0 && ram > b.RAM || rate < b.TokS {
		return nil, nil
	}
	c := &Choice{Budget: b, Shape: s.Name, Context: tokens}
	c.fact = fmt.Sprintf("%s with a context of %d tokens, 8 bits, nothing pruned: %d bytes of flash and %d of RAM by the C export's prediction",
		s.Name, tokens, flash, ram)
	if b.TokS > 0 {
		c.fact += fmt.Sprintf(", %.0f tokens/s here", rate)
	}
	c.Why = c.fact + "; it is the largest preset that fits"
	return c, nil
}

// What the nearest budget is told from: a share of zero blocks and bits of weights that a search gets to.
const (
	mostPruned = 0.75
	fewestBits = "3"
)

// filled is the flash that a choice takes whole.
func (c *Choice) filled(w *Workload) int64 {
	s, err := ShapeOf(c.Shape)
	if err != nil {
		return 0
	}
	flash, _, _, _ := w.deviceCost(s.At(w.Tokenizer.VocabSize(), c.Context), 0, search.Whole)
	return flash
}

// prunable is the choice of the smallest preset larger than whole of which pruned students fit; nil for none.
func (w *Workload) prunable(ctx context.Context, tokens int, b search.Budget, whole *Choice) (*Choice, error) {
	if b.Flash == 0 {
		return nil, nil
	}
	above := whole == nil
	for _, s := range w.studentShapes(tokens) {
		if !above {
			above = s.Name == whole.Shape
			continue
		}
		config := s.At(w.Tokenizer.VocabSize(), tokens)
		flash, _, known, err := w.deviceCost(config, 0, search.Whole)
		if err != nil || !known || flash > squeezed*b.Flash || flash <= b.Flash {
			continue
		}
		c := &Choice{Budget: b, Shape: s.Name, Context: tokens, Search: true}
		_, err = search.SpaceOf(config).Candidates(ctx, config, b, budgetTrials, 1, w.searchCost, search.Speed)
		if small := (*search.BudgetError)(nil); errors.As(err, &small) {
			continue
		}
		if err != nil {
			return nil, err
		}
		c.Why = fmt.Sprintf("%s with a context of %d tokens, pruned or given fewer bits by a search until it fits: whole, with 8 bits, it would take %d bytes of flash", s.Name, tokens, flash)
		if whole != nil {
			c.Why += fmt.Sprintf(", and the largest preset that fits whole, %s, leaves more than a quarter of the flash empty", whole.Shape)
		}
		return c, nil
	}
	return nil, nil
}

// deviceCost predicts what a student of a configuration takes, with so many zero blocks or weights of so many bits.
func (w *Workload) deviceCost(c arch.Config, sparsity float64, bits string) (flash, ram int64, known bool, err error) {
	q, err := search.Dummy(c, sparsity)
	if err != nil {
		return 0, 0, false, err
	}
	coarse, err := search.Coarse(c, bits)
	if err != nil {
		return 0, 0, false, err
	}
	return w.deviceCostOf(q, coarse)
}

// searchCost is deviceCost for a search, which takes what is not known for as much as that of any.
func (w *Workload) searchCost(c arch.Config, sparsity float64, bits string) (flash, ram int64, err error) {
	flash, ram, _, err = w.deviceCost(c, sparsity, bits)
	return flash, ram, err
}

// deviceCostOf predicts the flash and RAM, with the stack, of a student on the processor where it takes most. coarse are the bits of the
// modules that have fewer than 8. known is false where no
// model with its parts was measured; its code is then taken as large as that of any.
func (w *Workload) deviceCostOf(q *student.Weights, coarse map[string]int) (flash, ram int64, known bool, err error) {
	codes, err := export.Codes(q, coarse)
	if err != nil {
		return 0, 0, false, err
	}
	o := c99.Options{Codes: codes}
	if w.Task != nil {
		if _, err := task.Rules(w.Task.Name()); err == nil {
			o.Task = w.Task.Name()
		}
	}
	p, err := c99.Predict(q, w.Tokenizer, o)
	if err != nil && o.Task != "" { // its prompts are not those that the rules of the task read
		o.Task = ""
		p, err = c99.Predict(q, w.Tokenizer, o)
	}
	if err != nil {
		return 0, 0, false, err
	}
	code, stack := 0, 0
	for _, t := range p.Costs {
		if t.Known {
			code, stack = max(code, t.Code), max(stack, t.Stack, t.BootStack)
		}
	}
	known = code > 0
	if !known {
		code, stack = unknownCode, unknownStack
	}
	return int64(p.Weights + p.Tables + code), int64(p.RAM + stack), known, nil
}

// nearest is the least that any student takes.
type nearest struct {
	flash, ram int64
	rate       float64
	why        error // of the last one of which nothing is known
}

func (n *nearest) see(flash, ram int64, rate float64) {
	if n.flash == 0 || flash < n.flash {
		n.flash = flash
	}
	if n.ram == 0 || ram < n.ram {
		n.ram = ram
	}
	n.rate = max(n.rate, rate)
}

// refuse names the nearest budget that can be kept.
func (n *nearest) refuse(b search.Budget) error {
	switch {
	case n.flash == 0:
		return fmt.Errorf("no architecture of this workload can be exported as C, so that nothing is known of a device: %w", n.why)
	case b.Flash > 0 && n.flash > b.Flash:
		return &search.BudgetError{Got: fmt.Sprintf("flash=%d", b.Flash), Want: fmt.Sprintf("flash=%d or more: a student that can be searched for takes that with its code", n.flash)}
	case b.RAM > 0 && n.ram > b.RAM:
		return &search.BudgetError{Got: fmt.Sprintf("ram=%d", b.RAM), Want: fmt.Sprintf("ram=%d or more: the student with the smallest cache takes that with its stack", n.ram)}
	case b.TokS > 0 && n.rate < b.TokS:
		return &search.BudgetError{Got: fmt.Sprintf("tok_s=%.0f", b.TokS), Want: fmt.Sprintf("tok_s=%.0f or less: the fastest student ran at that here", n.rate)}
	}
	return &search.BudgetError{Got: "of flash, ram and tok_s together", Want: fmt.Sprintf(
		"less of one: a student takes flash=%d, the smallest cache ram=%d", n.flash, n.ram)}
}

// searchDir is the folder of the search in that of a pipeline.
const searchDir = "search"

// squeeze searches for the student that fits the budget, puts it into dir and returns its share of zero blocks.
func (j *job) squeeze(ctx context.Context, dir string) (sparsity float64, err error) {
	o := SearchOptions{
		Healing: Healing{Dir: j.made[StudentDir].dir, Out: filepath.Join(j.Out, searchDir), Resume: true,
			Train: j.Preset.Student.Train, Batch: j.Preset.Student.Rows, Distill: j.Preset.Distill},
		Budget: j.Choice.Budget, Device: true, Trials: budgetTrials, Rows: budgetRows,
	}
	o.Train.Labels, o.Train.Seed, o.Train.SaveEvery, o.Train.EvalEvery = train.Drawn, j.Seed, 0, 0
	o.Train.Steps = max(1, o.Train.Steps/2)
	r, err := Search(ctx, j.b, j.w, o, j.p)
	if err != nil {
		return 0, err
	}
	t, from := r.Best.Trial, filepath.Join(o.Out, trialsDir, r.Best.Name, filepath.FromSlash(r.Best.Student))
	q, _, coarse, err := openStudent(from)
	if err != nil {
		return 0, err
	}
	j.note("The search under the budget tried %d students; the best of its last round has %d layers, %d heads, %d neurons, %.1f%% zero 4x8 blocks and weights of %.1f bits on average, a loss of %.4f on the training data that was kept for the choice.",
		r.Rungs[0].Trials, t.Layers, t.Heads, t.Neurons, 100*t.Sparsity, meanBits(q, coarse), r.Best.Loss)
	if j.Preset.ShipAll {
		j.note("The search trained without the test positions, unlike the student that it began with; losses are on all positions of the task, which can be listed.")
	}
	return t.Sparsity, j.w.adopt(from, dir)
}

// adopt copies an INT8 student of the workload to where it ships from.
func (w *Workload) adopt(from, dir string) (err error) {
	lock, err := files.LockBeside(dir)
	if err != nil {
		return err
	}
	defer closing(closer(lock.Release), &err)
	if err := runs.CheckReplaceable(dir); err != nil {
		return err
	}
	f, err := checkpoint.Open(from)
	if err != nil {
		return err
	}
	return checkpoint.Save(dir, &checkpoint.Contents{
		Config: f.Config, Tensors: f.Weights.Tensors, Generation: f.Generation, SaveTokenizer: w.Tokenizer.Save,
	})
}

// afford holds the student that ships to the budget, as the C export predicts what it takes.
func (j *job) afford(q *student.Weights, coarse map[string]int) error {
	flash, ram, _, err := j.w.deviceCostOf(q, coarse)
	if err != nil {
		return err
	}
	b := j.Choice.Budget
	j.r.Device = &report.Device{Flash: flash, RAM: ram, FlashBudget: b.Flash, RAMBudget: b.RAM, TokSBudget: report.Number(b.TokS), Chosen: j.Choice.Why}
	if b.Flash > 0 && flash > b.Flash || b.RAM > 0 && ram > b.RAM {
		return fmt.Errorf("the student takes %d bytes of flash and %d of RAM, more than the budget (flash=%d, ram=%d): give it a little more, or a smaller --arch", flash, ram, b.Flash, b.RAM)
	}
	j.note("Budget: %s. On a device it takes at most %d bytes of flash, with its code, and %d of RAM, with the stack.", j.Choice.Why, flash, ram)
	return nil
}
