package bench

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// tablePrefix begins the names of the rows of the table of the techniques, one each.
const tablePrefix = "technique/"

// recoveredRow is of a run of mito prune, which no experiment here repeats.
const recoveredRow = "pruning/460K, 50% zero 4x8 blocks, loss recovered against dense"

// alignedRow is of a run of mito lora --align --gamma, which no experiment here repeats.
const alignedRow = "lora/corpus to adapt-to, rank 4 of every layer with a larger A aligned to the gradient, loss against the whole model's by AdamW"

// technique is a row of that table before it is filled in: what was expected of a technique before it was built, and the rows that
// measure it.
type technique struct {
	name, expected string
	parts          []part
}

// part is one measured thing that a technique does.
type part struct {
	row  string // its name
	says string // with a %s for the number
	as   func(v float64) string
}

// The ways that a part's value is told.
func times(v float64) string  { return fmt.Sprintf("%.2fx", v) }
func change(v float64) string { return fmt.Sprintf("%+.2f%%", 100*(v-1)) }
func share(v float64) string  { return fmt.Sprintf("%.3g%%", 100*v) }
func largest(v float64) string {
	return fmt.Sprintf("%.0e", v)
}

// table lists the techniques with the expectations that they started from.
func table() []technique {
	const (
		lora   = "lora/corpus to adapt-to, rank 4 of every layer, "
		sparse = "sparse/460K, gmp to 75% zero 4x8 blocks, "
		tokens = "tokens/half of each row dropped in the middle until 0.6 of the steps, "
		few    = "combination/4 bits, a teacher and 75% zero 4x8 blocks, "
		clock  = "distillation/longer clock, "
	)
	return []technique{
		{"quantisation", "4x less memory, 2-4x faster on CPUs, < 5% quality lost; training with it 20-50% more training", []part{
			{"quantisation/460K, bytes of the weights float32 against INT8", "%s fewer bytes (460K)", times},
			{"quantisation/460K, decoding INT8 against float32", "%s tokens/s (460K)", times},
			{"quantisation/7M, decoding INT8 against float32", "%s tokens/s (7M)", times},
			{"quantisation/weights of 8 bits, loss rounded against the base", "INT8 loss %s", change},
			{"quantisation/weights of 4 bits, bytes on disk against INT8", "4 bits: %s of INT8's bytes", share},
			{"quantisation/weights of 4 bits, loss trained so against the base", "loss %s trained so", change},
			{"quantisation/weights of 4 bits, share of the base's training tokens", "for %s more training", share},
		}},
		{"pruning", "30-70% fewer parameters, < 5% quality lost, 1.5-3x faster with sparse kernels", []part{
			{"pruning/460K, 50% zero 4x8 blocks, bytes dense against sparse", "half of the blocks zero: %s fewer bytes", times},
			{"pruning/460K, 50% zero 4x8 blocks, decoding against dense INT8", "%s tokens/s", times},
			{recoveredRow, "loss %s", change},
			{"pruning/460K, 75% zero 4x8 blocks, decoding against dense INT8", "three quarters: %s tokens/s (460K)", times},
			{"pruning/7M, 75% zero 4x8 blocks, decoding against dense INT8", "%s (7M)", times},
		}},
		{"distillation", "40-60% smaller than the teacher at 90-95% of its performance, 2-5x faster", []part{
			{"distillation/bytes of the teacher against the student's", "%s smaller", times},
			{"distillation/decoding of the student against the teacher", "%s tokens/s", times},
			{clock + "teacher given, loss against the teacher's", "loss %s against the teacher", change},
			{clock + "teacher given, loss against alone", "%s against the student alone at the same clock, the teacher given", change},
			{clock + "teacher's training counted in, loss against alone", "%s with the teacher's training counted in", change},
		}},
		{"lora", "10-100x fewer trainable parameters, 2-5x faster fine-tuning, < 1% quality lost, no overhead merged", []part{
			{lora + "share of the parameters that is trained", "%s of the parameters trained", share},
			{lora + "steps against those of the whole model by AdamW", "%s steps/s", times},
			{lora + "loss against the whole model's by AdamW", "loss %s against training all", change},
			{alignedRow, "%s with a larger A aligned to the gradient", change},
			{"lora/merged into the weights, largest difference of a logit against the largest logit", "merged, logits differ by %s", largest},
		}},
		{"sparse training, token masking", "50-80% sparsity with < 5% lost, 1.5-3x faster; 20-50% shorter sequences", []part{
			{sparse + "loss against dense at equal tokens", "75%% zero blocks: loss %s", change},
			{sparse + "time of dense against it", "trained %s as fast", times},
			{tokens + "loss against all tokens", "half of the tokens left out: loss %s", change},
			{tokens + "time against all tokens", "%s of the time", share},
		}},
		{"speculation", "2-3x faster, no quality lost", []part{
			{"speculation/7M float32, 4 perfect guesses a pass against one token", "the most that 4 guesses can bring: %s (7M float32)", times},
			{"speculation/460K int8, 4 perfect guesses a pass against one token", "%s (460K INT8)", times},
			{"combination/the last one, guessing ahead by n-grams, greedy text against plain decoding", "by n-grams on text, INT8: %s; the text is the same", times},
		}},
		{"accumulation", "effective batch 512 from 32, faster convergence, better accuracy on small data", []part{
			{"accumulation/460K, 8 micro-batches, activation bytes of one batch against these", "%s less memory of activations in 8 micro-batches", times},
			{"accumulation/batch of 512 rows in 16 micro-batches, beta2 in tokens (0.8515), loss against batches of 32", "batch 512 of 32: loss %s at equal tokens", change},
			{"accumulation/batch of 128 rows in 4 micro-batches, beta2 in tokens (0.9606), loss against batches of 32", "batch 128: %s", change},
		}},
		{"two or three together", "3-5x overall, < 5% quality lost; sub-100K-parameter models that match larger baselines", []part{
			{few + "decoding against the plain student", "a teacher, 75%% zero blocks and 4 bits: %s tokens/s", times},
			{few + "bytes of the plain student against its", "%s fewer bytes", times},
			{few + "loss against the plain student", "loss %s", change},
		}},
	}
}

// Recorded is a row of an earlier run, with the command that made it.
type Recorded struct {
	Name    string  `json:"name"`
	Value   float64 `json:"value"`
	Unit    string  `json:"unit"`
	Command string  `json:"command"`
	Machine string  `json:"machine"`
}

//go:embed results/recorded.json
var recordedText []byte

// recorded reads the rows that are part of the program.
func recorded() (list []Recorded, err error) {
	if err = json.Unmarshal(recordedText, &list); err != nil {
		err = fmt.Errorf("bench/results/recorded.json: %w", err)
	}
	return list, err
}

// Record puts the rows of a report that experiments found among recorded ones, in place of those with their names. What needs no training
// is not recorded: every run measures it.
func Record(old []Recorded, r *Report, command string) []Recorded {
	machine := fmt.Sprintf("%s, %d cores", r.Machine.Processor, r.Machine.Cores)
	for _, x := range r.Results {
		if !x.Experiment {
			continue
		}
		row := Recorded{x.Name, x.Value, x.Unit, command, machine}
		if i := slices.IndexFunc(old, func(o Recorded) bool { return o.Name == x.Name }); i >= 0 {
			old[i] = row
		} else {
			old = append(old, row)
		}
	}
	return old
}

// tabulate fills the table of the techniques from the rows of a run, of whose measurements a share was disturbed, and from recorded
// ones where the run has none.
func tabulate(rows []Result, old []Recorded, command string, disturbed float64) (list []Result) {
	thisRun := "this run"
	if disturbed > 0 {
		thisRun += fmt.Sprintf(" (other programs disturbed %.0f%% of its measurements)", 100*disturbed)
	}
	for _, t := range table() {
		r := Result{Name: tablePrefix + t.name, Expected: t.expected, Unit: unitText}
		var says, missing, commands []string
		here := false
		for _, p := range t.parts {
			if i := slices.IndexFunc(rows, func(x Result) bool { return x.Name == p.row }); i >= 0 {
				says, here = append(says, fmt.Sprintf(p.says, p.as(rows[i].Value))), true
				continue
			}
			i := slices.IndexFunc(old, func(x Recorded) bool { return x.Name == p.row })
			if i < 0 {
				missing = append(missing, fmt.Sprintf(p.says, "not measured"))
				continue
			}
			says = append(says, fmt.Sprintf(p.says, p.as(old[i].Value))+" (recorded)")
			if !slices.Contains(commands, old[i].Command) {
				commands = append(commands, old[i].Command)
			}
		}
		r.Measured = strings.Join(append(says, missing...), "; ")
		var how []string
		if here {
			how = append(how, thisRun)
			commands = append([]string{command}, commands...)
		}
		if len(commands) > 0 && (!here || len(commands) > 1) {
			how = append(how, "recorded in bench/results/recorded.json")
		}
		if len(how) == 0 {
			how = append(how, "not measured: --corpus and --adapt-to name the texts that it needs")
		}
		r.How, r.Command = strings.Join(how, ", "), strings.Join(commands, "; ")
		list = append(list, r)
	}
	return list
}

// TechniqueRows are the rows of the table of the techniques, and Measurements all others.
func (r *Report) TechniqueRows() (list []Result) { return r.rows(true) }

// Measurements are the rows that are no summary of others.
func (r *Report) Measurements() (list []Result) { return r.rows(false) }

func (r *Report) rows(summary bool) (list []Result) {
	for _, x := range r.Results {
		if strings.HasPrefix(x.Name, tablePrefix) == summary {
			list = append(list, x)
		}
	}
	return list
}
