package qat

import (
	"errors"
	"fmt"
	"math"

	"gorgonia.org/tensor"

	"mito/backend"
	"mito/engine/arch"
	"mito/engine/compress/quant"
	"mito/engine/model"
	"mito/engine/student"
)

// Parameters of a matrix beside its weight, behind the name of its module.
const (
	suffixScale = ".weight_log_scale"
	suffixGroup = ".weight_group"
)

// Rounding implements model.Rounding. It belongs to the one model that is built with it, and is off at first.
type Rounding struct {
	bits     map[string]int
	matrices []*matrix
	on       bool
	flat     []float32 // of what is trained, on the host
}

// matrix is a weight [Rows,Cols] with what it is rounded to.
type matrix struct {
	arch.Module
	bits                int
	weight, scale       *model.Param
	group               *model.Param  // nil of whole weights
	q, scales, rounded  *tensor.Dense // i8 [Rows,Cols], f32 [Rows], f32 [Rows,Cols]
	hostQ               []int8
	hostScales, hostOut []float32
	groups              []int // [Rows,Groups]
}

var _ model.Rounding = (*Rounding)(nil)

// New makes the rounding of a configuration. Errors: quant.ErrPattern.
func New(c arch.Config, rules []quant.Rule) (*Rounding, error) {
	bits, err := quant.BitsOf(c, rules)
	return &Rounding{bits: bits}, err
}

// Bits gives the bits of every matrix by the name of its module.
func (r *Rounding) Bits() map[string]int { return r.bits }

// Declare implements model.Rounding.
func (r *Rounding) Declare(m arch.Module, w *model.Param, own *model.Declarer) {
	x := &matrix{Module: m, bits: r.bits[m.Name], weight: w}
	n := m.Rows * quant.Groups(m.Cols, x.bits)
	x.scale = own.Declare(m.Name+suffixScale, model.Vector, true, m.Rows)
	if x.bits < 8 {
		x.group = own.Declare(m.Name+suffixGroup, model.Vector, true, n)
	}
	x.hostQ, x.hostScales, x.hostOut, x.groups = make([]int8, m.Rows*m.Cols), make([]float32, m.Rows), make([]float32, m.Rows*m.Cols), make([]int, n)
	for i := range x.groups {
		x.groups[i] = 1
	}
	r.matrices = append(r.matrices, x)
}

// Allocate implements model.Rounding.
func (r *Rounding) Allocate(mk *model.Maker) {
	for _, x := range r.matrices {
		x.q, x.scales, x.rounded = mk.Make(backend.I8, x.Rows, x.Cols), mk.F32(x.Rows), mk.F32(x.Rows, x.Cols)
	}
}

// On implements model.Rounding.
func (r *Rounding) On() bool { return r.on }

func (r *Rounding) find(w *model.Param) *matrix {
	for _, x := range r.matrices {
		if x.weight == w {
			return x
		}
	}
	return nil
}

// Product implements model.Rounding.
func (r *Rounding) Product(l *model.Linear, w *model.Param) model.Product {
	return product{model.Dense{W: l.Weight, B: l.Bias}, r, r.find(w)}
}

// Table implements model.Rounding.
func (r *Rounding) Table(w *model.Param) (q, scale *tensor.Dense) {
	x := r.find(w)
	return x.q, x.scales
}

// Rotary implements model.Rounding.
func (r *Rounding) Rotary(c arch.Config) (cos, sin []float32) {
	return student.RoPETables(c, c.Context)
}

// scaleOf and groupOf say what a parameter stands for.
func scaleOf(u float32) float32 { return max(student.MinMagnitude, float32(math.Exp(float64(u)))) }

func (x *matrix) groupOf(v float32) int {
	return int(math.Round(min(float64(quant.MaxGroup(x.bits)), max(1, float64(v)))))
}

// leastScale is what a row of zeros begins with; its logarithm is finite.
const leastScale = 1e-12

// Begin starts the rounding of a model whose weights are there: scales and integers of groups are searched for the weights that
// flat, with the layout of what is trained, has now, and put is called with the values that these parameters get.
func (r *Rounding) Begin(m *model.Model, put func(p *model.Param, values []float32) error) error {
	if err := r.download(m, m.Params.Value); err != nil {
		return err
	}
	for _, x := range r.matrices {
		w, scales := r.of(x.weight), make([]float32, x.Rows)
		var groups []float32
		for row := range x.Rows {
			s, g := quant.SearchGrid(w[row*x.Cols:][:x.Cols], x.bits)
			scales[row] = float32(math.Log(float64(max(s, leastScale))))
			for _, v := range g {
				groups = append(groups, float32(max(1, v)))
			}
		}
		if err := put(x.scale, scales); err != nil {
			return err
		}
		if x.group != nil {
			if err := put(x.group, groups); err != nil {
				return err
			}
		}
	}
	return r.Continue(m)
}

// Continue turns the rounding on where the parameters are there already, as in a resumed run.
func (r *Rounding) Continue(m *model.Model) error {
	r.on = true
	m.Changed()
	return r.Refresh(m)
}

func (r *Rounding) download(m *model.Model, flat *tensor.Dense) error {
	if len(r.flat) != m.Params.Length() {
		r.flat = make([]float32, m.Params.Length())
	}
	return m.Backend().Download(r.flat, flat)
}

// of is the part of the host's copy that holds a parameter.
func (r *Rounding) of(p *model.Param) []float32 { return r.flat[p.Offset():][:p.Size()] }

// round makes the codes of every matrix of the host's copy.
func (r *Rounding) round() {
	for _, x := range r.matrices {
		w, u := r.of(x.weight), r.of(x.scale)
		if x.group != nil {
			for i, v := range r.of(x.group) {
				x.groups[i] = x.groupOf(v)
			}
		}
		n := len(x.groups) / x.Rows
		for row := range x.Rows {
			x.hostScales[row] = scaleOf(u[row])
			quant.RoundRow(x.hostQ[row*x.Cols:][:x.Cols], w[row*x.Cols:][:x.Cols], x.hostScales[row], x.groups[row*n:][:n], x.bits)
		}
	}
}

// Refresh makes passes use the parameters as they are now. It is called before every step and every evaluation.
func (r *Rounding) Refresh(m *model.Model) error {
	if !r.on {
		return nil
	}
	if err := r.download(m, m.Params.Value); err != nil {
		return err
	}
	r.round()
	b := m.Backend()
	for _, p := range m.Params.List { // the student has no such numbers
		if v := r.of(p); p.Kind == model.Vector && quant.DropTiny(v) {
			if err := b.Upload(p.Value, v); err != nil {
				return err
			}
		}
	}
	for _, x := range r.matrices {
		for i, q := range x.hostQ {
			x.hostOut[i] = float32(q) * x.hostScales[i/x.Cols]
		}
		if err := backend.First(b.Upload(x.q, x.hostQ), b.Upload(x.scales, x.hostScales), b.Upload(x.rounded, x.hostOut)); err != nil {
			return err
		}
	}
	return nil
}

// Finish turns the gradients of rounded weights, which are complete, into those of the weights and of what rounds them. It is
// called once in a step, after Model.FinishGrad; the codes are those of the last Refresh.
func (r *Rounding) Finish(m *model.Model) error {
	if !r.on {
		return nil
	}
	values := append([]float32(nil), r.flat...)
	if err := errors.Join(m.Backend().Download(values, m.Params.Value), m.Backend().Download(r.flat, m.Params.Grad)); err != nil {
		return err
	}
	for _, x := range r.matrices {
		x.finish(values[x.weight.Offset():], r)
	}
	return m.Backend().Upload(m.Params.Grad, r.flat)
}

// finish does the gradients of one matrix, w being its weights.
func (x *matrix) finish(w []float32, r *Rounding) {
	grad, du := r.of(x.weight), r.of(x.scale)
	var dm []float32
	if x.group != nil {
		dm = r.of(x.group)
	}
	n := len(x.groups) / x.Rows
	most := float64(quant.MaxCode(x.bits))
	wide := (x.Cols + n - 1) / n
	if x.group != nil {
		wide = quant.GroupSize
	}
	for row := range x.Rows {
		scale, total := float64(x.hostScales[row]), 0.0
		for g := range n {
			m := x.groups[row*n+g]
			step, sum := scale*float64(m), 0.0
			for i := row*x.Cols + g*wide; i < row*x.Cols+min(x.Cols, (g+1)*wide); i++ {
				at, code := float64(w[i])/step, float64(x.hostQ[i])/float64(m)
				dy := float64(grad[i])
				if math.Abs(at) <= most+0.5 {
					code -= at
				} else {
					grad[i] = 0
				}
				sum += float64(dy * code)
			}
			total += float64(sum * float64(m))
			if dm != nil {
				dm[row*n+g] = float32(sum * scale)
			}
		}
		du[row] = float32(total * scale)
	}
}

// Student is the INT8 student that passes compute with the values of flat, the parameters or an average of them, and what was
// rounded to make it. Errors: those of the backend and of student.Weights.Validate.
func (r *Rounding) Student(m *model.Model, flat *tensor.Dense) (*student.Weights, *quant.Report, error) {
	if err := r.download(m, flat); err != nil {
		return nil, nil, err
	}
	r.round()
	w, err := student.NewWeights(m.Config)
	if err != nil {
		return nil, nil, err
	}
	floats, by := map[string][]float32{}, map[string]*matrix{}
	for _, p := range m.Params.List {
		floats[p.Name] = r.of(p)
		if p.Kind == model.Vector {
			quant.DropTiny(floats[p.Name])
		}
	}
	for _, x := range r.matrices {
		by[x.Name] = x
	}
	err = w.Visit(func(name string, dst *student.Matrix, v *[]float32) error {
		if dst == nil {
			if copy(*v, floats[name]) != len(*v) {
				return fmt.Errorf("qat: no values for %s", name)
			}
			return nil
		}
		x := by[name]
		copy(dst.Q, x.hostQ)
		copy(dst.Scale, x.hostScales)
		copy(dst.Bias, floats[name+".bias"])
		return nil
	})
	if err == nil {
		err = w.Validate()
	}
	if err != nil {
		return nil, nil, err
	}
	return w, quant.Describe(quant.Search, w, floats, r.bits), nil
}
