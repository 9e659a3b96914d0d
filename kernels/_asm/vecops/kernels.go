package vecops

import (
	"slices"
	"strings"
)

// Kernel is a loop over the elements of some slices.
type Kernel struct {
	Name    string
	Params  string   // Go parameters; the first slice gives the length
	Equals  string   // the Go statement or function that the kernel equals
	Out, In []string // slices stored to and loaded from
	Scalars []string // float32 parameters, broadcast
	Coefs   int      // or the elements of the parameter c *[Coefs]float32
	// Body makes of the vectors in and scalars s what is stored to Out and, if Sums, the vector that is added to the lanes.
	Body func(m Machine, in, s []V) (out []V, sum V)
	Sums bool
	Long bool // the body is a long chain of dependent operations
}

// Slices returns the names of the slice parameters.
func (k *Kernel) Slices() []string {
	var names, pending []string
	for _, p := range strings.Split(k.Params, ", ") {
		name, kind, typed := strings.Cut(p, " ")
		pending = append(pending, name)
		if typed {
			if strings.HasPrefix(kind, "[]") {
				names = append(names, pending...)
			}
			pending = nil
		}
	}
	return names
}

func names(s string) []string { return strings.Fields(s) }

type (
	mapBody func(m Machine, in, s []V) []V
	sumBody func(m Machine, in, s []V) V
)

func mapped(name, params, equals, out, in, scalars string, f mapBody) Kernel {
	return Kernel{Name: name, Params: params, Equals: equals, Out: names(out), In: names(in), Scalars: names(scalars),
		Body: func(m Machine, in, s []V) ([]V, V) { return f(m, in, s), nil }}
}

func summed(name, params, equals, in, scalars string, f sumBody) Kernel {
	return Kernel{Name: name, Params: params, Equals: equals, In: names(in), Scalars: names(scalars), Sums: true,
		Body: func(m Machine, in, s []V) ([]V, V) { return nil, f(m, in, s) }}
}

// Maps returns the kernels that compute each element.
func Maps() []Kernel {
	k := []Kernel{
		mapped("add", "dst, a, b []float32", "dst[i] = a[i] + b[i]", "dst", "a b", "",
			func(m Machine, in, _ []V) []V { return []V{m.Add(in[0], in[1])} }),
		mapped("mul", "dst, a, b []float32", "dst[i] = a[i] * b[i]", "dst", "a b", "",
			func(m Machine, in, _ []V) []V { return []V{m.Mul(in[0], in[1])} }),
		mapped("scaleBy", "dst, x []float32, s float32", "dst[i] = x[i] * s", "dst", "x", "s",
			func(m Machine, in, s []V) []V { return []V{m.Mul(in[0], s[0])} }),
		mapped("scaleMul", "dst, x, y []float32, s float32", "dst[i] = float32(x[i]*s) * y[i]", "dst", "x y", "s",
			func(m Machine, in, s []V) []V { return []V{m.Mul(m.Mul(in[0], s[0]), in[1])} }),
		mapped("axpy", "dst, x []float32, a float32", "dst[i] += float32(a * x[i])", "dst", "dst x", "a",
			func(m Machine, in, s []V) []V { return []V{m.Add(in[0], m.Mul(in[1], s[0]))} }),
		mapped("lerp", "dst, x []float32, a float32", "dst[i] += float32(a * float32(x[i]-dst[i]))", "dst", "dst x", "a",
			func(m Machine, in, s []V) []V { return []V{m.Add(in[0], m.Mul(m.Sub(in[1], in[0]), s[0]))} }),
		mapped("rotate", "a, b, cos, sin []float32", "rotateGeneric", "a b", "a b cos sin", "",
			func(m Machine, in, _ []V) []V {
				a, b, c, s := in[0], in[1], in[2], in[3]
				return []V{m.Sub(m.Mul(a, c), m.Mul(b, s)), m.Add(m.Mul(b, c), m.Mul(a, s))}
			}),
		mapped("exp", "dst, x []float32", "dst[i] = Exp1(x[i])", "dst", "x", "",
			func(m Machine, in, _ []V) []V { return []V{exp(m, in[0])} }),
		mapped("scaleInt32", "dst []float32, acc []int32, ws []float32, xs float32", "dst[i] = float32(acc[i]) * float32(xs*ws[i])",
			"dst", "acc ws", "xs",
			func(m Machine, in, s []V) []V { return []V{m.Mul(m.Float(in[0]), m.Mul(in[1], s[0]))} }),
		mapped("addScaleInt32", "dst []float32, acc []int32, ws []float32, xs float32",
			"dst[i] += float32(float32(acc[i]) * float32(xs*ws[i]))", "dst", "dst acc ws", "xs",
			func(m Machine, in, s []V) []V { return []V{m.Add(in[0], m.Mul(m.Float(in[1]), m.Mul(in[2], s[0])))} }),
	}
	k = append(k, norms()...)
	k = append(k, activations()...)
	return markLong(append(k, training()...))
}

// markLong marks the kernels that take exponentials.
func markLong(list []Kernel) []Kernel {
	long := names("exp expSum sumExp silu siluBackward gelu geluBackward swiglu swigluBackward probGradAdd klGradAdd")
	for i := range list {
		list[i].Long = slices.Contains(long, list[i].Name)
	}
	return list
}

// Sums returns the kernels that return a stated sum. Eight lanes are all there is to gain, so that wider vectors pay only
// where each element costs more than its addition.
func Sums() (light, heavy []Kernel) {
	light = []Kernel{
		summed("sum", "x []float32", "sumGeneric", "x", "", func(_ Machine, in, _ []V) V { return in[0] }),
		summed("dot", "x, y []float32", "dotGeneric", "x y", "", func(m Machine, in, _ []V) V { return m.Mul(in[0], in[1]) }),
		summed("dot3", "x, y, z []float32", "dot3Generic", "x y z", "",
			func(m Machine, in, _ []V) V { return m.Mul(m.Mul(in[0], in[1]), in[2]) }),
		summed("sumSquaresCentered", "x []float32, mean float32", "sumSquaresCenteredGeneric", "x", "mean",
			func(m Machine, in, s []V) V { d := m.Sub(in[0], s[0]); return m.Mul(d, d) }),
		summed("dotCentered", "w, x []float32, mean, rstd float32", "dotCenteredGeneric", "w x", "mean rstd",
			func(m Machine, in, s []V) V { return m.Mul(m.Mul(m.Sub(in[1], s[0]), s[1]), in[0]) }),
	}
	scaled := func(m Machine, x V, s []V) V { return exp(m, m.Sub(m.Mul(x, s[0]), s[1])) }
	expSum := Kernel{Name: "expSum", Params: "dst, x []float32, scale, shift float32", Equals: "expSumGeneric",
		Out: names("dst"), In: names("x"), Scalars: names("scale shift"), Sums: true,
		Body: func(m Machine, in, s []V) ([]V, V) { e := scaled(m, in[0], s); return []V{e}, e }}
	heavy = []Kernel{
		expSum,
		summed("sumExp", "x []float32, scale, shift float32", "sumExpGeneric", "x", "scale shift",
			func(m Machine, in, s []V) V { return scaled(m, in[0], s) }),
		summed("klSum", "x, p []float32, scale, lse float32", "klSumGeneric", "x p", "scale lse",
			func(m Machine, in, s []V) V {
				p := in[1]
				term := m.Mul(m.Sub(log(m, p), m.Sub(m.Mul(in[0], s[0]), s[1])), p)
				return m.Keep(term, p, NotLess, m.Bits(0x00800000))
			}),
	}
	return light, markLong(heavy)
}

func norms() []Kernel {
	xhat := func(m Machine, x, mean, rstd V) V { return m.Mul(m.Sub(x, mean), rstd) }
	return []Kernel{
		mapped("normalize", "dst, x []float32, mean, rstd float32", "dst[i] = float32(x[i]-mean) * rstd", "dst", "x", "mean rstd",
			func(m Machine, in, s []V) []V { return []V{xhat(m, in[0], s[0], s[1])} }),
		mapped("normGainBackward", "dgain, dy, x []float32, mean, rstd float32", "normGainBackwardGeneric", "dgain", "dgain dy x", "mean rstd",
			func(m Machine, in, s []V) []V { return []V{m.Add(in[0], m.Mul(in[1], xhat(m, in[2], s[0], s[1])))} }),
		mapped("rmsNormBackward", "dx, dy, x []float32, rstd, c float32", "dx[i] = rstd * float32(dy[i]-float32(x[i]*c))", "dx", "dy x", "rstd c",
			func(m Machine, in, s []V) []V { return []V{m.Mul(m.Sub(in[0], m.Mul(in[1], s[1])), s[0])} }),
		mapped("rmsNormGainBackward", "dx, dy, x, gain []float32, rstd, c float32", "rmsNormGainBackwardGeneric", "dx", "dy x gain", "rstd c",
			func(m Machine, in, s []V) []V {
				return []V{m.Mul(m.Sub(m.Mul(in[0], in[2]), m.Mul(in[1], s[1])), s[0])}
			}),
		mapped("layerNormBackward", "dx, w, x []float32, mean, rstd, a, b float32", "layerNormBackwardGeneric", "dx", "w x", "mean rstd a b",
			func(m Machine, in, s []V) []V {
				h := xhat(m, in[1], s[0], s[1])
				return []V{m.Mul(m.Sub(m.Sub(in[0], s[2]), m.Mul(h, s[3])), s[1])}
			}),
	}
}

func activations() []Kernel {
	const k0, k1, k2 = 1.5957691216057308, 0.07135481627159225, 0.21406444881477676
	onePlusExp := func(m Machine, x V) V { return m.Add(exp(m, neg(m, x)), f32(m, 1)) }
	silu := func(m Machine, x V) V { return m.Div(x, onePlusExp(m, x)) }
	siluSlope := func(m Machine, v, s V) V {
		return m.Mul(m.Add(m.Mul(m.Sub(f32(m, 1), s), v), f32(m, 1)), s)
	}
	geluArg := func(m Machine, v, z V) V { return m.Mul(m.Add(m.Mul(z, f32(m, k1)), f32(m, k0)), v) }
	forward := func(name string, f func(m Machine, x V) V) Kernel {
		return mapped(name, "dst, x []float32", name+"Generic", "dst", "x", "", func(m Machine, in, _ []V) []V { return []V{f(m, in[0])} })
	}
	backward := func(name string, f func(m Machine, dy, x V) V) Kernel {
		return mapped(name, "dx, dy, x []float32", name+"Generic", "dx", "dy x", "",
			func(m Machine, in, _ []V) []V { return []V{f(m, in[0], in[1])} })
	}
	return []Kernel{
		forward("relu", func(m Machine, x V) V { return m.ReLU(x) }),
		backward("reluBackward", func(m Machine, dy, x V) V { return m.Keep(dy, x, Greater, m.Bits(0)) }),
		forward("relu2", func(m Machine, x V) V { r := m.ReLU(x); return m.Mul(r, r) }),
		backward("relu2Backward", func(m Machine, dy, x V) V { r := m.ReLU(x); return m.Mul(dy, m.Add(r, r)) }),
		forward("silu", silu),
		backward("siluBackward", func(m Machine, dy, x V) V {
			return m.Mul(dy, siluSlope(m, x, m.Div(f32(m, 1), onePlusExp(m, x))))
		}),
		forward("gelu", func(m Machine, x V) V { return m.Div(x, onePlusExp(m, geluArg(m, x, m.Mul(x, x)))) }),
		backward("geluBackward", func(m Machine, dy, x V) V {
			z := m.Mul(x, x)
			s := m.Div(f32(m, 1), onePlusExp(m, geluArg(m, x, z)))
			d := m.Add(m.Mul(z, f32(m, k2)), f32(m, k0))
			return m.Mul(dy, m.Add(m.Mul(m.Mul(m.Mul(x, s), m.Sub(f32(m, 1), s)), d), s))
		}),
		mapped("swiglu", "dst, gate, up []float32", "swigluGeneric", "dst", "gate up", "",
			func(m Machine, in, _ []V) []V { return []V{m.Mul(silu(m, in[0]), in[1])} }),
		mapped("swigluBackward", "dgate, dup, dy, gate, up []float32", "swigluBackwardGeneric", "dgate dup", "dy gate up", "",
			func(m Machine, in, _ []V) []V {
				dy, g := in[0], in[1]
				u := m.Mul(dy, in[2])
				e := onePlusExp(m, g)
				dup := m.Mul(dy, m.Div(g, e))
				return []V{m.Mul(u, siluSlope(m, g, m.Div(f32(m, 1), e))), dup}
			}),
	}
}

func training() []Kernel {
	grad := func(m Machine, e V, s []V) V { return m.Mul(m.Sub(m.Mul(e, s[0]), s[1]), s[2]) }
	return []Kernel{
		mapped("probGrad", "dst, e []float32, inv, u, scale float32", "dst[i] = float32(float32(e[i]*inv)-u) * scale", "dst", "e", "inv u scale",
			func(m Machine, in, s []V) []V { return []V{grad(m, in[0], s)} }),
		mapped("probGradAdd", "dst, x []float32, shift, inv, u, scale float32", "probGradAddGeneric", "dst", "dst x", "shift inv u scale",
			func(m Machine, in, s []V) []V { return []V{m.Add(in[0], grad(m, exp(m, m.Sub(in[1], s[0])), s[1:]))} }),
		mapped("klGradAdd", "dst, x, p []float32, scale, shift, inv, factor float32", "klGradAddGeneric", "dst", "dst x p", "scale shift inv factor",
			func(m Machine, in, s []V) []V {
				e := exp(m, m.Sub(m.Mul(in[1], s[0]), s[1]))
				return []V{m.Add(in[0], m.Mul(m.Sub(m.Mul(e, s[2]), in[2]), s[3]))}
			}),
		{Name: "adamW", Params: "p, g, m, v []float32, c *[10]float32", Equals: "adamWGeneric", Coefs: 10,
			Out: names("p m v"), In: names("g m v p"), Body: func(m Machine, in, c []V) ([]V, V) {
				g := m.Mul(in[0], c[0])
				m1 := m.Add(m.Mul(in[1], c[1]), m.Mul(g, c[3]))
				v1 := m.Add(m.Mul(in[2], c[2]), m.Mul(m.Mul(g, c[4]), g))
				d := m.Add(m.Sqrt(m.Mul(v1, c[6])), c[7])
				step := m.Mul(m.Div(m.Mul(m1, c[5]), d), c[8])
				return []V{m.Sub(m.Mul(in[3], c[9]), step), m1, v1}, nil
			}},
	}
}
