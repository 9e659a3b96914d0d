package backendtest

import (
	"math"

	"gorgonia.org/tensor"

	"mito/kernels/ref"
)

// embeddingCases are look-ups in a table of c columns and their gradients, with repeated ids.
func embeddingCases(n, c int) []Case {
	vocab := n/2 + 1
	bytes := 8 * float64(n*c)
	return []Case{
		{Op: "Embed", Size: sized("set", n, c), Bytes: bytes, build: func(e *env) *trial { return embed(e, n, c, vocab, false) }},
		{Op: "Embed", Size: sized("add", n, c), Bytes: bytes, build: func(e *env) *trial { return embed(e, n, c, vocab, true) }},
		{Op: "EmbedBackward", Size: sized(n, c), Bytes: bytes, build: func(e *env) *trial { return embedBackward(e, n, c, vocab) }},
	}
}

func embed(e *env, n, c, vocab int, add bool) *trial {
	ids, table := e.ids(n, vocab), e.normal(vocab*c)
	o := out{name: "dst", t: e.empty(n, c)}
	if add {
		start := e.normal(n * c)
		o.start, o.want, o.tol = start, ref.Embed(widen(table), ids, c, widen(start)), exactly
	} else {
		o.exact = make([]float32, n*c)
		for r, id := range ids {
			copy(o.exact.([]float32)[r*c:][:c], table[int(id)*c:])
		}
	}
	tt := e.f32(table, vocab, c)
	tr := trialOf(func(t []*tensor.Dense) error { return e.b.Embed(t[0], t[1], t[2], add) },
		to(o), from("table", tt).ofAnySize(), from("ids", e.i32(ids)))
	tr.refuseIDs(e, ids, vocab, func(ids *tensor.Dense) error { return e.b.Embed(o.t, tt, ids, add) })
	return tr
}

func embedBackward(e *env, n, c, vocab int) *trial {
	ids, dy, start := e.ids(n, vocab), e.normal(n*c), e.normal(vocab*c)
	abs, one := ref.EmbedBackward(absolute(start), absolute(dy), ids, c), tolerance{c: signed}
	o := out{name: "dtable", t: e.empty(vocab, c), start: start, want: ref.EmbedBackward(widen(start), widen(dy), ids, c), tol: one}
	o.tol.size = at(abs)
	dt := e.f32(dy, n, c)
	tr := trialOf(func(t []*tensor.Dense) error { return e.b.EmbedBackward(t[0], t[1], t[2]) },
		to(o).ofAnySize(), from("dy", dt), from("ids", e.i32(ids)))
	tr.refuseIDs(e, ids, vocab, func(ids *tensor.Dense) error { return e.b.EmbedBackward(o.t, dt, ids) })
	return tr
}

func absolute(x []float32) []float64 {
	y := widen(x)
	for i, v := range y {
		y[i] = math.Abs(v)
	}
	return y
}

// ropeCases rotate n rows of three heads: against the equation, and to the bits of the student's specification.
func ropeCases(n, c int) []Case {
	d := min(2*((c+1)/2), 128)
	var cs []Case
	for _, name := range []string{"f64", "inverse", "student"} {
		cs = append(cs, Case{Op: "RoPE", Size: sized(name, n, 3, d), Bytes: 8 * float64(n*3*d), build: func(e *env) *trial {
			return rope(e, name, n, 3, d)
		}})
	}
	return cs
}

func rope(e *env, name string, n, heads, d int) *trial {
	const limit = 40
	x, pos := e.normal(n*heads*d), e.ids(n, limit)
	cos, sin := tables(limit, d)
	o := out{name: "x", t: e.noAct(n, heads*d), start: x}
	exact := make([]float32, 0, len(x))
	for r := range n {
		at := int(pos[r]) * d / 2
		for h := range heads {
			head, co, si := x[(r*heads+h)*d:][:d], cos[at:][:d/2], sin[at:][:d/2]
			o.want = append(o.want, ref.Rotate(widen(head), widen(co), widen(si), name == "inverse")...)
			exact = append(exact, ref.StudentRoPE(head, co, si)...)
		}
	}
	// Two products and their sum, none longer than the pair that is turned.
	length := make([]float64, len(x))
	for i := range length {
		first := i/d*d + i%(d/2)
		length[i] = math.Hypot(o.want[first], o.want[first+d/2])
	}
	o.tol = tolerance{c: 2, size: at(length)}
	if name == "student" {
		o.exact = exact
	}
	ct, st := e.f32(cos, limit, d/2), e.f32(sin, limit, d/2)
	tr := trialOf(func(t []*tensor.Dense) error { return e.b.RoPE(t[0], t[1], t[2], t[3], name == "inverse") },
		to(o), from("positions", e.i32(pos)), from("cos", ct), from("sin", st))
	tr.refuseIDs(e, pos, limit, func(pos *tensor.Dense) error { return e.b.RoPE(o.t, pos, ct, st, false) })
	return tr
}

func tables(limit, d int) (cos, sin []float32) {
	for p := range limit {
		for i := range d / 2 {
			s, c := math.Sincos(float64(p) * math.Pow(10000, -2*float64(i)/float64(d)))
			cos, sin = append(cos, float32(c)), append(sin, float32(s))
		}
	}
	return cos, sin
}
