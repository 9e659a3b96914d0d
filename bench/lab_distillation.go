package bench

import (
	"fmt"

	"mito/engine/decode"
	"mito/engine/model"
	"mito/engine/pipeline"
	"mito/engine/train"
)

// The clocks that distillation is told with, in steps of the student alone, and the share of a clock that a teacher trains for where
// its training counts.
var distillClocks = []struct {
	name  string
	steps int
}{{"shorter clock", 500}, {"longer clock", 2000}}

const (
	taughtShape, teacherShape = "micro", "char"
	teacherShare              = 0.5
	clockProbe                = 12 // steps that the time of a step is the fastest of
)

// labDistillation trains a student alone, with a teacher that is given, and with a teacher that trains within the same time. Times
// are those of steps that took turns, the fastest of each kind, so that other programs do not decide.
func labDistillation(m *meter) error {
	corpus, err := openText(m.o.Corpus, nil)
	if err != nil {
		return err
	}
	e := entry{text: corpus, rows: labRows, time: labTime, init: labInit(), o: train.Defaults()}
	student, teacher := e, e
	for shape, to := range map[string]*entry{taughtShape: &student, teacherShape: &teacher} {
		s, err := pipeline.ShapeOf(shape)
		if err != nil {
			return err
		}
		to.config = s.At(corpus.tok.VocabSize(), labTime)
	}
	given, teacherLoss, err := trained(m, teacher, m.steps(labSteps), nil)
	if err != nil {
		return err
	}
	m.value("distillation/teacher, loss", unitNats, teacherLoss)
	if err := taughtSizes(m, given, student, corpus); err != nil {
		return err
	}
	alone, taught, teaching, err := stepTimes(m, student, teacher, given)
	if err != nil {
		return err
	}
	m.value("distillation/time of a step with the teacher against one alone", unitTimes, taught/alone)
	m.value("distillation/time of a step of the teacher's training against one of the student alone", unitTimes, teaching/alone)
	for _, c := range distillClocks {
		clock := m.steps(c.steps)
		name := "distillation/" + c.name + ", "
		m.value(name+"steps alone", unitSteps, float64(clock))
		_, base, err := trained(m, student, clock, nil)
		if err != nil {
			return err
		}
		m.value(name+"alone, loss", unitNats, base)
		with := max(2, int(float64(clock)*alone/taught))
		_, loss, err := trained(m, student, with, given)
		if err != nil {
			return err
		}
		m.value(name+"teacher given, loss", unitNats, loss)
		m.value(name+"teacher given, loss against alone", unitTimes, loss/base)
		m.value(name+"teacher given, loss against the teacher's", unitTimes, loss/teacherLoss)
		own, _, err := trained(m, teacher, max(2, int(teacherShare*float64(clock)*alone/teaching)), nil)
		if err != nil {
			return err
		}
		_, loss, err = trained(m, student, max(2, int((1-teacherShare)*float64(clock)*alone/taught)), own)
		if err != nil {
			return err
		}
		m.value(name+"teacher's training counted in, loss", unitNats, loss)
		m.value(name+"teacher's training counted in, loss against alone", unitTimes, loss/base)
	}
	return nil
}

// entered is an entry of so many steps, which a teacher teaches where there is one.
func entered(e entry, steps int, teacher *model.Weights) entry {
	e.o.Steps = steps
	if teacher != nil {
		e.objective = taughtBy(teacher, e.o)
	}
	return e
}

// trained trains a model and returns its weights and its loss.
func trained(m *meter, e entry, steps int, teacher *model.Weights) (_ *model.Weights, loss float64, err error) {
	c, err := enter(m.ctx, entered(e, steps, teacher))
	if err != nil {
		return nil, 0, err
	}
	defer closeInto(c, &err)
	m.note(fmt.Sprintf("distillation, %d parameters, %d steps", e.config.Params(), steps))
	if err := race(m.ctx, []int{steps}, c); err != nil {
		return nil, 0, err
	}
	if loss, err = c.loss(); err != nil {
		return nil, 0, err
	}
	w, err := c.model.Host()
	return w, loss, err
}

// stepTimes are the seconds of a step of the student alone, with the teacher, and of the teacher's training.
func stepTimes(m *meter, student, teacher entry, given *model.Weights) (alone, taught, teaching float64, err error) {
	var list []*contender
	var steps []int
	for _, e := range []entry{entered(student, clockProbe, nil), entered(student, clockProbe, given), entered(teacher, clockProbe, nil)} {
		c, err := enter(m.ctx, e)
		if err != nil {
			return 0, 0, 0, err
		}
		defer closeInto(c, &err)
		list, steps = append(list, c), append(steps, clockProbe)
	}
	if err := race(m.ctx, steps, list...); err != nil {
		return 0, 0, 0, err
	}
	return list[0].fastest.Seconds(), list[1].fastest.Seconds(), list[2].fastest.Seconds(), nil
}

// taughtSizes compares the bytes and the decoding of the two shapes, both in float32.
func taughtSizes(m *meter, teacher *model.Weights, student entry, corpus *text) error {
	small, err := enter(m.ctx, entered(student, 1, nil))
	if err != nil {
		return err
	}
	m.keep(small)
	w, err := small.model.Host()
	if err != nil {
		return err
	}
	var probes []*probe
	var bytes []int
	for _, x := range []*model.Weights{w, teacher} {
		rt, err := decode.NewFloat32(x, corpus.tok, decode.Options{Threads: 1})
		if err != nil {
			return err
		}
		m.keep(rt)
		run, err := steps(rt, 1)
		if err != nil {
			return err
		}
		bytes = append(bytes, rt.Bytes())
		probes = append(probes, m.hidden(Result{Name: "distillation/decoding", Unit: unitTokens, Threads: 1}, run, nil))
	}
	m.fixed(Result{Name: "distillation/bytes of the teacher against the student's", Unit: unitTimes, Experiment: true}, float64(bytes[1])/float64(bytes[0]))
	m.combine(Result{Name: "distillation/decoding of the student against the teacher", Unit: unitTimes, Threads: 1, Experiment: true}, probes[0], probes[1], divide)
	return nil
}
