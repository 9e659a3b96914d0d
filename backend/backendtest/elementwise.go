package backendtest

import (
	"math"

	"gorgonia.org/tensor"

	"mito/backend"
	"mito/kernels/ref"
)

// step is that of central differences in float64: errors near 1e-10.
const step = 1e-6

var activations = []struct {
	act backend.Activation
	f   func(float64) float64
}{{backend.ReLU, ref.ReLU}, {backend.ReLU2, ref.ReLU2}, {backend.GELU, ref.GELU}, {backend.SiLU, ref.SiLU}}

// elementwiseCases are Add, the activations and Dropout, each also in place.
func elementwiseCases(n, c int) []Case {
	var cs []Case
	add := func(op, form string, tensors int, build func(e *env, alias bool) *trial) {
		for _, alias := range []bool{false, true} {
			name := form
			if alias {
				name += "-inplace"
			}
			cs = append(cs, Case{
				Op: op, Size: sized(name, n, c), Bytes: 4 * float64(tensors*n*c),
				build: func(e *env) *trial { return build(e, alias) },
			})
		}
	}
	add("Add", "f64", 3, func(e *env, alias bool) *trial {
		a, b := e.normal(n*c), e.normal(n*c)
		o, x := e.dst("dst", a, alias, n, c)
		y := e.f32(b, n, c)
		o.want = widen(a)
		for i, v := range b {
			o.want[i] += float64(v)
		}
		return &trial{run: func() error { return e.b.Add(o.t, x, y) }, outs: []out{o}}
	})
	add("Mul", "f64", 3, func(e *env, alias bool) *trial {
		a, b := e.normal(n*c), e.normal(n*c)
		o, x := e.dst("dst", a, alias, n, c)
		y := e.f32(b, n, c)
		o.want = widen(a)
		for i, v := range b {
			o.want[i] *= float64(v)
		}
		o.size = even(0) // one rounding of each element, whatever the others are
		return &trial{run: func() error { return e.b.Mul(o.t, x, y) }, outs: []out{o}}
	})
	add("Mul", "mask", 3, func(e *env, alias bool) *trial {
		a, m := e.normal(n*c), make([]float32, n*c)
		want := make([]float32, n*c)
		for i := range m {
			if e.r.IntN(2) == 1 {
				m[i] = 1
			}
			want[i] = a[i] * m[i] // 0 or -0 where the mask is 0
		}
		// In the place of the mask, where the other case is in the place of a.
		o, mask := e.dst("dst", m, alias, n, c)
		x := e.f32(a, n, c)
		o.exact = want
		return &trial{run: func() error { return e.b.Mul(o.t, x, mask) }, outs: []out{o}}
	})
	for _, a := range activations {
		add("Activate", a.act.String(), 2, func(e *env, alias bool) *trial {
			v := e.normal(n * c)
			o, x := e.dst("dst", v, alias, n, c)
			o.want = apply(v, a.f)
			return &trial{run: func() error { return e.b.Activate(o.t, x, a.act) }, outs: []out{o}}
		})
		add("ActivateBackward", a.act.String(), 3, func(e *env, alias bool) *trial {
			dv, xv := e.normal(n*c), e.normal(n*c)
			o, dy := e.dst("dx", dv, alias, n, c)
			x := e.f32(xv, n, c)
			o.want = make([]float64, n*c)
			for i, v := range xv {
				o.want[i] = float64(dv[i]) * ref.Slope(a.f, float64(v), step)
			}
			// A function within a step of its kink has no slope there.
			o.size = even(math.Max(rms(o.want), 1e-2))
			return &trial{run: func() error { return e.b.ActivateBackward(o.t, dy, x, a.act) }, outs: []out{o}}
		})
	}
	add("SwiGLU", "f64", 3, func(e *env, alias bool) *trial {
		g, u := e.normal(n*c), e.normal(n*c)
		o, gate := e.dst("dst", g, alias, n, c)
		up := e.f32(u, n, c)
		o.want = make([]float64, n*c)
		for i := range g {
			o.want[i] = ref.SwiGLU(float64(g[i]), float64(u[i]))
		}
		return &trial{run: func() error { return e.b.SwiGLU(o.t, gate, up) }, outs: []out{o}}
	})
	add("SwiGLUBackward", "f64", 5, func(e *env, alias bool) *trial {
		d, g, u := e.normal(n*c), e.normal(n*c), e.normal(n*c)
		dgate, dy := e.dst("dgate", d, alias, n, c)
		dup := out{name: "dup", t: e.empty(n, c), want: make([]float64, n*c)}
		gate, up := e.f32(g, n, c), e.f32(u, n, c)
		dgate.want = make([]float64, n*c)
		for i := range g {
			gi, ui, di := float64(g[i]), float64(u[i]), float64(d[i])
			dgate.want[i] = di * ref.Slope(func(x float64) float64 { return ref.SwiGLU(x, ui) }, gi, step)
			dup.want[i] = di * ref.SiLU(gi)
		}
		return &trial{run: func() error { return e.b.SwiGLUBackward(dgate.t, dup.t, dy, gate, up) }, outs: []out{dgate, dup}}
	})
	for _, rate := range []float32{0, 0.1, 0.75} {
		add("Dropout", sized("rate", rate), 2, func(e *env, alias bool) *trial {
			v := e.normal(n * c)
			args := backend.DropoutArgs{Rate: rate, Seed: e.r.Uint64(), Row: 12345678901}
			o, x := e.dst("dst", v, alias, n, c)
			s, step := e.stepIf(alias)
			args.Step = step
			o.want = ref.Dropout(widen(v), c, float64(rate), args.Seed+backend.Seed(s), args.Row)
			return &trial{run: func() error { return e.b.Dropout(o.t, x, args) }, outs: []out{o}}
		})
	}
	return cs
}

// dst makes a destination and the source v of an operation, which are one tensor with alias.
func (e *env) dst(name string, v []float32, alias bool, shape ...int) (o out, src *tensor.Dense) {
	src = e.f32(v, shape...)
	o = out{name: name, t: src}
	if alias {
		o.start = v
	} else {
		o.t = e.empty(shape...)
	}
	return o, src
}

func apply(x []float32, f func(float64) float64) []float64 {
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = f(float64(v))
	}
	return y
}

// studentElementwiseCases hold Add, Activate and SwiGLU to the bits of the student's specification, saturated inputs
// among them.
func studentElementwiseCases(n, c int) []Case {
	var cs []Case
	add := func(op, form string, build func(e *env, x, y []float32) (want []float32, run func(o, x, y *tensor.Dense) error)) {
		cs = append(cs, Case{Op: op, Size: sized("student", form, n, c), Bytes: 12 * float64(n*c), build: func(e *env) *trial {
			x, y := e.normal(n*c), e.normal(n*c)
			for i := range x {
				if i%5 == 0 {
					x[i] *= 40 // exp underflows and overflows
				}
			}
			want, run := build(e, x, y)
			o := out{name: "dst", t: e.empty(n, c), exact: want}
			xt, yt := e.f32(x, n, c), e.f32(y, n, c)
			return &trial{run: func() error { return run(o.t, xt, yt) }, outs: []out{o}}
		}})
	}
	add("Add", "bits", func(e *env, x, y []float32) ([]float32, func(o, x, y *tensor.Dense) error) {
		return zip(x, y, func(a, b float32) float32 { return a + b }), e.b.Add
	})
	add("SwiGLU", "bits", func(e *env, x, y []float32) ([]float32, func(o, x, y *tensor.Dense) error) {
		return zip(x, y, ref.StudentSwiGLU), e.b.SwiGLU
	})
	for _, act := range []backend.Activation{backend.ReLU, backend.ReLU2, backend.GELU} {
		add("Activate", act.String(), func(e *env, x, y []float32) ([]float32, func(o, x, y *tensor.Dense) error) {
			want := zip(x, y, func(a, _ float32) float32 { return ref.StudentActivation(act.String(), a) })
			return want, func(o, x, _ *tensor.Dense) error { return e.b.Activate(o, x, act) }
		})
	}
	return cs
}

func zip(x, y []float32, f func(a, b float32) float32) []float32 {
	z := make([]float32, len(x))
	for i := range x {
		z[i] = f(x[i], y[i])
	}
	return z
}

// softmaxCases are Softmax set and added, at several temperatures.
func softmaxCases(n, v int) []Case {
	var cs []Case
	for _, f := range []struct {
		name   string
		temp   float32
		weight float32
		add    bool
	}{{"plain", 1, 1, false}, {"weight", 2, 0.25, false}, {"add", 0.5, 0.75, true}} {
		cs = append(cs, Case{Op: "Softmax", Size: sized(f.name, n, v), Bytes: 8 * float64(n*v), build: func(e *env) *trial {
			x := e.normal(n * v)
			o := out{name: "dst", t: e.empty(n, v), want: make([]float64, n*v), k: v}
			if f.add {
				start := e.positive(n * v)
				o.start, o.want = start, widen(start)
			}
			for r := range n {
				for i, p := range ref.Softmax(widen(x[r*v:][:v]), 1/float64(f.temp)) {
					o.want[r*v+i] += p * float64(f.weight)
				}
			}
			xt := e.f32(x, n, v)
			return &trial{run: func() error { return e.b.Softmax(o.t, xt, f.temp, f.weight, f.add) }, outs: []out{o}}
		}})
	}
	return cs
}
