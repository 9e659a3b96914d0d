package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"mito/engine/model"
	"mito/engine/quiet"
	"mito/kernels/isa"
)

// Options of Run. The zero value measures five rounds with the best kernels.
type Options struct {
	Rounds   int                                // 0 is 5
	Level    string                             // of the kernels, see isa.Limit; "" is the processor's best
	Threads  int                                // of the rows with several threads; fewer than two is two
	Progress func(done, total int, name string) // called before every measurement, if not nil

	// Of the techniques: only one, by the name that its rows begin with; "" for all.
	Only string
	// Experiments on texts, which say what a technique does to quality: trained on Corpus, adapted to AdaptTo. "" for none. Steps
	// are those of the model that they begin with, and all others follow; 0 is 2,000.
	Corpus, AdaptTo string
	Steps           int
	// Command is the command line that the table of the techniques names.
	Command string

	// Patience is how long, in all, to measure again what other programs disturbed (on Linux). What is disturbed when it
	// has run out is kept, and counted in the report.
	Patience time.Duration
}

const defaultRounds = 5

// benchmarks are the plans by name.
var benchmarks = []struct {
	name string
	plan func(*meter) error
}{
	{"kernels", planKernels}, {"decode", planDecode}, {"train", planTrain}, {"techniques", planTechniques},
}

// Names lists the benchmarks.
func Names() []string {
	names := make([]string, len(benchmarks))
	for i, b := range benchmarks {
		names[i] = b.name
	}
	return names
}

// UnknownError reports a benchmark that there is not.
type UnknownError struct{ Name string }

func (e *UnknownError) Error() string {
	return fmt.Sprintf("bench: unknown benchmark %q; known: %v", e.Name, Names())
}

// Run measures one benchmark. Kernel variants are as before when it returns. Errors: *UnknownError, those that wrap
// isa.ErrUnknownVariant, ctx's.
func Run(ctx context.Context, name string, o Options) (_ *Report, err error) {
	if o.Rounds < 1 {
		o.Rounds = defaultRounds
	}
	o.Threads = max(2, o.Threads)
	if o.Steps < 1 {
		o.Steps = labSteps
	}
	for _, b := range benchmarks {
		if b.name != name {
			continue
		}
		levels := isa.Levels()
		if o.Level == "" {
			o.Level = levels[len(levels)-1]
		}
		defer restore(variants(), &err)
		if err := isa.Limit(o.Level); err != nil {
			return nil, err
		}
		m := &meter{ctx: ctx, o: o, watch: quiet.Watch{Patience: o.Patience}}
		defer func() { err = errors.Join(err, m.close()) }()
		if err := b.plan(m); err != nil {
			return nil, fmt.Errorf("bench: %s: %w", name, err)
		}
		if err := m.measure(); err != nil {
			return nil, fmt.Errorf("bench: %s: %w", name, err)
		}
		r := &Report{Bench: name, Machine: Describe(), Rounds: o.Rounds, Level: o.Level}
		if m.measured > 0 {
			r.Disturbed = float64(m.disturbed) / float64(m.measured)
		}
		for _, row := range m.rows {
			r.Results = append(r.Results, row())
		}
		if name == "techniques" && o.Only == "" {
			old, err := recorded()
			if err != nil {
				return nil, err
			}
			r.Results = append(tabulate(r.Results, old, o.Command, r.Disturbed), r.Results...)
		}
		return r, nil
	}
	return nil, &UnknownError{name}
}

// variants reads the choice of every kernel package, and restore sets it again.
func variants() map[isa.Switch]string {
	chosen := map[isa.Switch]string{}
	for _, s := range isa.Kernels() {
		chosen[s] = s.Variant()
	}
	return chosen
}

func restore(chosen map[isa.Switch]string, err *error) {
	for s, name := range chosen {
		*err = errors.Join(*err, s.SetVariant(name))
	}
}

// rate measures once and returns a rate, or whatever the unit of its probe says.
type rate func() (float64, error)

// probe is something that every round measures once.
type probe struct {
	result         Result // name, unit, threads, variant and name of the limit
	run            rate
	limit          rate // nil for none
	values, limits []float64
}

// meter collects probes, measures them in rounds and turns them into rows.
type meter struct {
	ctx     context.Context
	o       Options
	probes  []*probe
	rows    []func() Result
	closers []io.Closer

	corpus   *text // and the model trained on it, where an experiment needed it
	base     *model.Weights
	baseLoss float64

	watch               quiet.Watch
	measured, disturbed int // measurements that were kept, and those of them that others disturbed
}

// keep closes c at the end.
func (m *meter) keep(c io.Closer) { m.closers = append(m.closers, c) }

func (m *meter) close() error {
	var err error
	for i := len(m.closers) - 1; i >= 0; i-- {
		err = errors.Join(err, m.closers[i].Close())
	}
	return err
}

// hidden adds a probe without a row of its own.
func (m *meter) hidden(r Result, run, limit rate) *probe {
	p := &probe{result: r, run: run, limit: limit}
	m.probes = append(m.probes, p)
	return p
}

// add adds a probe and its row.
func (m *meter) add(r Result, run, limit rate) *probe {
	p := m.hidden(r, run, limit)
	m.rows = append(m.rows, p.row)
	return p
}

func (p *probe) row() Result {
	r := p.result
	r.summarize(p.values)
	if p.limit != nil {
		r.Limit, r.OfLimit = median(p.limits), median(zip(p.values, p.limits, divide))
	}
	return r
}

// combine adds a row that is a function of two probes within each round.
func (m *meter) combine(r Result, a, b *probe, f func(a, b float64) float64) {
	m.rows = append(m.rows, func() Result {
		r.summarize(zip(a.values, b.values, f))
		return r
	})
}

// fixed adds a row that is computed, not measured.
func (m *meter) fixed(r Result, value float64) {
	r.Value, r.Low, r.High = value, value, value
	m.rows = append(m.rows, func() Result { return r })
}

func divide(a, b float64) float64 { return a / b }

func zip(a, b []float64, f func(a, b float64) float64) []float64 {
	out := make([]float64, min(len(a), len(b)))
	for i := range out {
		out[i] = f(a[i], b[i])
	}
	return out
}

func (m *meter) measure() error {
	total := m.o.Rounds * len(m.probes)
	for round := range m.o.Rounds {
		for i, p := range m.probes {
			if m.o.Progress != nil {
				m.o.Progress(round*len(m.probes)+i, total, p.result.Name)
			}
			if err := m.once(p); err != nil {
				return fmt.Errorf("%s: %w", p.result.Name, err)
			}
		}
	}
	return nil
}

// once measures a probe, again and again while others disturb it and there is patience.
func (m *meter) once(p *probe) error {
	var value, limit float64
	disturbed, err := m.watch.Measure(m.ctx, p.result.Threads, func() (err error) {
		value, limit, err = p.measure()
		return err
	})
	if err != nil {
		return err
	}
	m.measured++
	if disturbed {
		m.disturbed++
	}
	p.values = append(p.values, value)
	if p.limit != nil {
		p.limits = append(p.limits, limit)
	}
	return nil
}

// measure measures the limit and then what it limits.
func (p *probe) measure() (value, limit float64, err error) {
	if p.limit != nil {
		if limit, err = p.limit(); err != nil {
			return 0, 0, err
		}
	}
	value, err = p.run()
	return value, limit, err
}

// Repetitions within a round: as many as package peak takes, and as long.
const (
	trials    = 9
	trialTime = 400 * time.Microsecond
)

// fastest returns the seconds that f takes at best.
func fastest(f func() error) (float64, error) {
	timed := func(n int) (time.Duration, error) {
		start := time.Now()
		for range n {
			if err := f(); err != nil {
				return 0, err
			}
		}
		return max(time.Since(start), 1), nil
	}
	n := 1
	for {
		d, err := timed(n)
		if err != nil {
			return 0, err
		}
		if d >= trialTime {
			break
		}
		n *= 2
	}
	best := time.Duration(1<<63 - 1)
	for range trials {
		d, err := timed(n)
		if err != nil {
			return 0, err
		}
		best = min(best, d)
	}
	return best.Seconds() / float64(n), nil
}

// per returns the rate of amount per call of f.
func per(amount float64, f func()) rate {
	return func() (float64, error) {
		s, err := fastest(func() error { f(); return nil })
		return amount / s, err
	}
}
