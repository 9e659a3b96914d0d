package train

import (
	"fmt"
	"slices"
	"strings"

	"mito/backend"
)

// Origin is what a run is tied to beside its settings, its data and its objective. Who makes the Trainer knows it; it is
// saved with the run, and a resumed run must have the same.
type Origin struct {
	Judge string `json:"judge,omitempty"` // hash of what the run is evaluated on
	From  string `json:"from,omitempty"`  // SHA-256 of the weights that it began with; "" for fresh ones
	// Pruning is the hash of how those weights are pruned, before the run or in it; "" for not at all.
	Pruning string `json:"pruning,omitempty"`
	// Rounding says from which step on the run trains what its INT8 student computes, and the bits of that; "" for never.
	Rounding string `json:"rounding,omitempty"`
}

// Extension is a number of steps that was raised when a run was resumed.
type Extension struct {
	Step  int `json:"step"`  // at which the run stood; the schedule of the new number holds from here on
	Steps int `json:"steps"` // that the run was to have until then
}

// Arithmetic names the family of arithmetic that a backend trains with. Within a family the same run has the same bits;
// another one rounds otherwise. On the CPU the families are those of the kernels: AVX of any width, NEON, or plain Go.
func Arithmetic(i backend.Info) string {
	if i.Name != "cpu" {
		words := []string{i.Name}
		for name, value := range i.Kernels {
			words = append(words, name+" "+value)
		}
		slices.Sort(words[1:])
		return strings.Join(words, ", ")
	}
	var each []string
	families := map[string]bool{}
	for _, name := range []string{"attn", "gemm", "vec"} { // what training computes with
		family := i.Kernels[name]
		switch {
		case strings.HasPrefix(family, "avx"):
			family = "AVX"
		case strings.HasPrefix(family, "neon"):
			family = "NEON"
		}
		families[family] = true
		each = append(each, name+" "+family)
	}
	if len(families) > 1 {
		return strings.Join(each, ", ")
	}
	_, family, _ := strings.Cut(each[0], " ")
	return family
}

// checkOrigin refuses a run of another origin. What a saved run does not say, because it is of an older version, is not
// compared.
func (t *Trainer) checkOrigin(run *savedRun) error {
	if have := t.Origin.Judge; run.Judge != "" && run.Judge != have {
		return fmt.Errorf("train: cannot resume: the saved run was evaluated on other held-out data (%.12s…) than this one (%.12s…), so "+
			"that its best checkpoint means nothing here; give it the held-out data that it had, or begin another run with its weights: "+
			"--from, and another output folder", run.Judge, have)
	}
	if have := t.Origin.From; run.From != have {
		name := func(hash string) string {
			if hash == "" {
				return "fresh weights"
			}
			return fmt.Sprintf("the weights %.12s…", hash)
		}
		return fmt.Errorf("train: cannot resume: the saved run began with %s, this one with %s; give the same --from, or another output folder",
			name(run.From), name(have))
	}
	if have := t.Origin.Pruning; run.Pruning != have {
		return fmt.Errorf("train: cannot resume: the saved run was pruned in another way (%.12s…) than this one (%.12s…); give the same "+
			"options of the pruning, or another output folder", run.Pruning, have)
	}
	if have := t.Origin.Rounding; run.Rounding != have {
		name := func(r string) string {
			if r == "" {
				return "no rounding"
			}
			return "rounding " + r
		}
		return fmt.Errorf("train: cannot resume: the saved run was trained with %s, this one with %s; give the same --qat and --bits, or "+
			"another output folder", name(run.Rounding), name(have))
	}
	if have := Arithmetic(t.b.Info()); run.Arithmetic != "" && run.Arithmetic != have {
		return fmt.Errorf("train: cannot resume: the saved run was computed with the arithmetic %q, here it is %q: the weights would be those "+
			"of neither; resume it on a machine and with a backend like before, or begin another run with its weights: --from, and another "+
			"output folder", run.Arithmetic, have)
	}
	return nil
}
