package backendtest

import (
	"math"

	"gorgonia.org/tensor"

	"mito/backend"
	"mito/backend/backendtest/bf16"
	"mito/kernels/kerneltest"
	"mito/kernels/ref"
)

// step is that of central differences in float64: errors near 1e-10.
const step = 1e-6

var activations = []struct {
	act backend.Activation
	f   func(float64) float64
}{
	{backend.ReLU, ref.ReLU}, {backend.ReLU2, ref.ReLU2}, {backend.GELU, ref.GELU}, {backend.SiLU, ref.SiLU}, {backend.ReLU2Output, ref.ReLU2},
}

// pair adds the two cases of an operation that may work in place.
func pair(cs []Case, op, form string, tensors, n, c int, build func(e *env, alias bool) *trial) []Case {
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
	return cs
}

// exactly is the tolerance of a single rounding.
var exactly = tolerance{c: 1, size: even(0)}

// elementwiseCases are sums, products, activations and Dropout, each also in place.
func elementwiseCases(n, c int) []Case {
	var cs []Case
	add := func(op, form string, tensors int, build func(e *env, alias bool) *trial) {
		cs = pair(cs, op, form, tensors, n, c, build)
	}
	add("Add", "f64", 3, func(e *env, alias bool) *trial {
		return binary(e, e.b.Add, n, c, alias, func(a, b float64) float64 { return a + b })
	})
	add("Mul", "f64", 3, func(e *env, alias bool) *trial {
		return binary(e, e.b.Mul, n, c, alias, func(a, b float64) float64 { return a * b })
	})
	add("Mul", "mask", 3, func(e *env, alias bool) *trial { return masked(e, n, c, alias) })
	for _, a := range activations {
		add("Activate", a.act.String(), 2, func(e *env, alias bool) *trial { return activate(e, n, c, alias, a.act, a.f) })
		add("ActivateBackward", a.act.String(), 3, func(e *env, alias bool) *trial {
			return activateBackward(e, n, c, alias, a.act, a.f)
		})
	}
	add("SwiGLU", "f64", 3, func(e *env, alias bool) *trial { return swiglu(e, n, c, alias) })
	add("SwiGLUBackward", "f64", 5, func(e *env, alias bool) *trial { return swigluBackward(e, n, c, alias) })
	for _, rate := range []float32{0, 0.1, 0.75} {
		add("Dropout", sized("rate", rate), 2, func(e *env, alias bool) *trial { return dropout(e, n, c, alias, rate) })
	}
	return cs
}

// castCases are conversions between the dtypes of activations and from one to itself. The float32 has numbers halfway between two
// of bfloat16, subnormal ones, those that round to infinity, infinities and NaN.
func castCases(n, c int) []Case {
	var cs []Case
	for _, form := range []string{"narrow", "widen"} {
		cs = append(cs, Case{Op: "Cast", Size: sized(form, n, c), Bytes: 8 * float64(n*c), build: func(e *env) *trial {
			v := kerneltest.Normal(e.r, make([]float32, n*c))
			special := []float32{1 + 0x1p-8, 1 + 0x3p-8, -1 - 0x1p-8, 0x1p-133, 0x1.8p-134, math.MaxFloat32, float32(math.Inf(-1)), float32(math.NaN()), 0}
			copy(v, special)
			src, dst := e.f32(v, n, c), e.noAct(n, c)
			want := v
			if e.half {
				want = bf16.Widen(bf16.Round(v))
			}
			if form == "widen" {
				src, dst = e.act(v, n, c), e.empty(n, c)
			}
			return trialOf(func(t []*tensor.Dense) error { return e.b.Cast(t[0], t[1]) }, to(out{name: "dst", t: dst, exact: want}), from("x", src))
		}})
	}
	return cs
}

// binary is an operation of one rounding on two tensors; with alias it is in the place of the first.
func binary(e *env, op func(dst, a, b *tensor.Dense) error, n, c int, alias bool, f func(a, b float64) float64) *trial {
	a, b := e.normal(n*c), e.normal(n*c)
	o, x := e.dst("dst", a, alias, n, c)
	o.tol = exactly
	for i, v := range a {
		o.want = append(o.want, f(float64(v), float64(b[i])))
	}
	return trialOf(func(t []*tensor.Dense) error { return op(t[0], t[1], t[2]) }, to(o), from("a", x), from("b", e.f32(b, n, c)))
}

// masked is Mul with a mask, with alias in the place of the mask.
func masked(e *env, n, c int, alias bool) *trial {
	a, m, want := e.normal(n*c), make([]float32, n*c), make([]float32, n*c)
	for i := range m {
		m[i] = float32(e.r.IntN(2))
		want[i] = a[i] * m[i] // 0 or -0 where the mask is 0
	}
	o, mask := e.dst("dst", m, alias, n, c)
	o.exact = want
	return trialOf(func(t []*tensor.Dense) error { return e.b.Mul(t[0], t[1], t[2]) }, to(o), from("a", e.f32(a, n, c)), from("b", mask))
}

func activate(e *env, n, c int, alias bool, act backend.Activation, f func(float64) float64) *trial {
	v := e.normal(n * c)
	o, x := e.dst("dst", v, alias, n, c)
	o.want = apply(v, f)
	o.tol = tolerance{c: 6} // GELU: two for its argument, whose error exp takes over, two for exp, a sum and a quotient
	tr := trialOf(func(t []*tensor.Dense) error { return e.b.Activate(t[0], t[1], act) }, to(o), from("x", x))
	for _, bad := range []backend.Activation{-1, backend.ReLU2Output + 1} {
		tr.refuse("no activation", func() error { return e.b.Activate(o.t, x, bad) })
	}
	return tr
}

func activateBackward(e *env, n, c int, alias bool, act backend.Activation, f func(float64) float64) *trial {
	dv, xv := e.normal(n*c), e.normal(n*c)
	o, dy := e.dst("dx", dv, alias, n, c)
	size := make([]float64, n*c)
	for i, v := range xv {
		o.want = append(o.want, float64(dv[i])*ref.Slope(f, float64(v), step))
		// The terms of a slope are near one, with the relative error that the argument of exp has for an absolute one: the
		// argument grows with x. A function within a step of its kink has no slope there.
		size[i] = math.Max(math.Abs(float64(dv[i])), 1e-2) * (1 + math.Abs(float64(v)))
	}
	o.tol = tolerance{c: 6, size: at(size)} // those of Activate
	if act == backend.ReLU2Output {
		for i, v := range xv { // given are results: those of arguments √y
			xv[i] = max(v, 0)
			o.want[i] = float64(dv[i]) * 2 * math.Sqrt(math.Max(float64(v), 0))
		}
	}
	x := e.act(xv, n, c)
	tr := trialOf(func(t []*tensor.Dense) error { return e.b.ActivateBackward(t[0], t[1], t[2], act) }, to(o), from("dy", dy), from("x", x))
	for _, bad := range []backend.Activation{-1, backend.ReLU2Output + 1} {
		tr.refuse("no activation", func() error { return e.b.ActivateBackward(o.t, dy, x, bad) })
	}
	return tr
}

func swiglu(e *env, n, c int, alias bool) *trial {
	g, u := e.normal(n*c), e.normal(n*c)
	o, gate := e.dst("dst", g, alias, n, c)
	for i := range g {
		o.want = append(o.want, ref.SwiGLU(float64(g[i]), float64(u[i])))
	}
	o.tol = tolerance{c: 5} // exp to two, a sum, a quotient, a product
	return trialOf(func(t []*tensor.Dense) error { return e.b.SwiGLU(t[0], t[1], t[2]) }, to(o), from("gate", gate), from("up", e.act(u, n, c)))
}

func swigluBackward(e *env, n, c int, alias bool) *trial {
	d, g, u := e.normal(n*c), e.normal(n*c), e.normal(n*c)
	dgate, dy := e.dst("dgate", d, alias, n, c)
	dup := out{name: "dup", t: e.noAct(n, c)}
	for i := range g {
		gi, ui, di := float64(g[i]), float64(u[i]), float64(d[i])
		dgate.want = append(dgate.want, di*ref.Slope(func(x float64) float64 { return ref.SwiGLU(x, ui) }, gi, step))
		dup.want = append(dup.want, di*ref.SiLU(gi))
	}
	dgate.tol, dup.tol = tolerance{c: 10}, tolerance{c: 5} // those of SwiGLU; the slope has five more
	return trialOf(func(t []*tensor.Dense) error { return e.b.SwiGLUBackward(t[0], t[1], t[2], t[3], t[4]) },
		to(dgate), to(dup), from("dy", dy), from("gate", e.act(g, n, c)), from("up", e.act(u, n, c)))
}

// dropout takes its seed from the step too where it is in place.
func dropout(e *env, n, c int, alias bool, rate float32) *trial {
	v := e.normal(n * c)
	args := backend.DropoutArgs{Rate: rate, Seed: e.r.Uint64(), Row: 12345678901}
	o, x := e.dst("dst", v, alias, n, c)
	s, st := e.stepIf(alias)
	o.want = ref.Dropout(widen(v), c, float64(rate), args.Seed+backend.Seed(s), args.Row)
	o.tol = tolerance{c: 3, size: even(0)} // 1-rate, its inverse and the product
	call := func(dst, x, step *tensor.Dense, rate float32) error {
		args := args
		args.Rate, args.Step = rate, step
		return e.b.Dropout(dst, x, args)
	}
	tr := trialOf(func(t []*tensor.Dense) error { return call(t[0], t[1], t[2], rate) }, to(o), from("x", x), from("step", st).orNil())
	for _, bad := range []float32{-0.1, 1, 1.5, float32(math.NaN())} {
		tr.refuse("rate", func() error { return call(o.t, x, nil, bad) })
	}
	return tr
}

// dst makes a destination and the source v of an operation, which are one tensor with alias.
func (e *env) dst(name string, v []float32, alias bool, shape ...int) (o out, src *tensor.Dense) {
	src = e.act(v, shape...)
	o = out{name: name, t: src}
	if alias {
		o.start = v
	} else {
		o.t = e.noAct(shape...)
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
	add := func(op, form string, want func(a, b float32) float32, call func(e *env) func(t []*tensor.Dense) error, names ...string) {
		cs = append(cs, Case{Op: op, Size: sized("student", form, n, c), Bytes: 12 * float64(n*c), build: func(e *env) *trial {
			x, y := e.normal(n*c), e.normal(n*c)
			for i := range x {
				if i%5 == 0 {
					x[i] *= 40 // exp underflows and overflows
				}
			}
			args := []arg{to(out{name: "dst", t: e.empty(n, c), exact: zip(x, y, want)}), from(names[0], e.f32(x, n, c))}
			if len(names) > 1 {
				args = append(args, from(names[1], e.f32(y, n, c)))
			}
			return trialOf(call(e), args...)
		}})
	}
	add("Add", "bits", func(a, b float32) float32 { return a + b }, func(e *env) func(t []*tensor.Dense) error {
		return func(t []*tensor.Dense) error { return e.b.Add(t[0], t[1], t[2]) }
	}, "a", "b")
	add("SwiGLU", "bits", ref.StudentSwiGLU, func(e *env) func(t []*tensor.Dense) error {
		return func(t []*tensor.Dense) error { return e.b.SwiGLU(t[0], t[1], t[2]) }
	}, "gate", "up")
	for _, act := range []backend.Activation{backend.ReLU, backend.ReLU2, backend.GELU} {
		add("Activate", act.String(), func(a, _ float32) float32 { return ref.StudentActivation(act.String(), a) },
			func(e *env) func(t []*tensor.Dense) error {
				return func(t []*tensor.Dense) error { return e.b.Activate(t[0], t[1], act) }
			}, "x")
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
			o := out{name: "dst", t: e.empty(n, v), want: make([]float64, n*v)}
			if f.add {
				start := e.positive(n * v)
				o.start, o.want = start, widen(start)
			}
			for r := range n {
				for i, p := range ref.Softmax(widen(x[r*v:][:v]), 1/float64(f.temp)) {
					o.want[r*v+i] += p * float64(f.weight)
				}
			}
			// Scores up to 8 apart, rounded twice; exp to two; the sum, its inverse and two products.
			o.tol = tolerance{c: 8 + lanes(v)}
			xt := e.f32(x, n, v)
			tr := trialOf(func(t []*tensor.Dense) error { return e.b.Softmax(t[0], t[1], f.temp, f.weight, f.add) }, to(o), from("x", xt))
			for _, bad := range badTemperatures {
				tr.refuse("temperature", func() error { return e.b.Softmax(o.t, xt, bad, 1, false) })
			}
			tr.refuse("dst in the place of x", func() error { return e.b.Softmax(xt, xt, 1, 1, false) })
			return tr
		}})
	}
	return cs
}

var badTemperatures = []float32{0, -1, float32(math.NaN()), float32(math.Inf(1))}
