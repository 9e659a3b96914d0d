package bench

import "slices"

// Result is one row of a report.
type Result struct {
	Name      string  `json:"name"`
	Value     float64 `json:"value"` // median over the rounds
	Unit      string  `json:"unit"`
	Limit     float64 `json:"limit,omitempty"` // what the hardware allows, in the same unit; median over the rounds
	LimitName string  `json:"limit_name,omitempty"`
	OfLimit   float64 `json:"of_limit,omitempty"` // median of the ratios within a round
	Low       float64 `json:"low"`                // of the rounds
	High      float64 `json:"high"`
	Threads   int     `json:"threads,omitempty"`
	Variant   string  `json:"variant,omitempty"` // where one kernel variant was asked for

	Experiment bool `json:"experiment,omitempty"` // of a model that the run trained

	// Of the table of the techniques, which has words for what several rows measure; those have a value of 0.
	Expected string `json:"expected,omitempty"` // before it was built
	Measured string `json:"measured,omitempty"`
	How      string `json:"how,omitempty"`     // this run, or a recorded one
	Command  string `json:"command,omitempty"` // that measured it; several with a semicolon between
}

// Report is what a benchmark measured.
type Report struct {
	Bench   string  `json:"bench"`
	Machine Machine `json:"machine"`
	Rounds  int     `json:"rounds"`
	Level   string  `json:"level"` // what the kernels may use of the processor, as isa.Limit names it
	// Disturbed is the share of the measurements during which other programs took processors that the measurement needed
	// (on Linux; 0 elsewhere). With much of it the medians say little.
	Disturbed float64  `json:"disturbed"`
	Results   []Result `json:"results"`
}

// Units.
const (
	unitGFLOPS = "GFLOP/s"
	unitGMACS  = "GMAC/s"
	unitGBS    = "GB/s"
	unitTokens = "tok/s"
	unitSteps  = "steps"
	unitTimes  = "x"
	unitShare  = "share"
	unitNats   = "nats"
	unitMillis = "ms"
	unitBytes  = "bytes"
	unitText   = "in words"
)

func median(x []float64) float64 {
	if len(x) == 0 {
		return 0
	}
	x = slices.Sorted(slices.Values(x))
	if n := len(x); n%2 == 0 {
		return (x[n/2-1] + x[n/2]) / 2
	}
	return x[len(x)/2]
}

// summarize fills what follows from the values of the rounds.
func (r *Result) summarize(values []float64) {
	r.Value = median(values)
	if len(values) > 0 {
		r.Low, r.High = slices.Min(values), slices.Max(values)
	}
}
