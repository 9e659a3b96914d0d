package backendtest

import (
	"math"

	"mito/kernels/ref"
)

// embeddingCases are look-ups in a table of c columns and their gradients, with repeated ids.
func embeddingCases(n, c int) []Case {
	vocab := n/2 + 1
	bytes := 8 * float64(n*c)
	return []Case{
		{Op: "Embed", Size: sized("set", n, c), Bytes: bytes, build: func(e *env) *trial { return embed(e, n, c, vocab, false) }},
		{Op: "Embed", Size: sized("add", n, c), Bytes: bytes, build: func(e *env) *trial { return embed(e, n, c, vocab, true) }},
		{Op: "EmbedBackward", Size: sized(n, c), Bytes: bytes, build: func(e *env) *trial {
			ids, dy, start := e.ids(n, vocab), e.normal(n*c), e.normal(vocab*c)
			o := out{name: "dtable", t: e.empty(vocab, c), start: start, k: n, size: even(1)}
			o.want = ref.EmbedBackward(widen(start), widen(dy), ids, c)
			dt, it := e.f32(dy, n, c), e.i32(ids)
			return &trial{run: func() error { return e.b.EmbedBackward(o.t, dt, it) }, outs: []out{o}}
		}},
	}
}

func embed(e *env, n, c, vocab int, add bool) *trial {
	ids, table := e.ids(n, vocab), e.normal(vocab*c)
	o := out{name: "dst", t: e.empty(n, c)}
	if add {
		start := e.normal(n * c)
		o.start, o.want = start, ref.Embed(widen(table), ids, c, widen(start))
	} else {
		o.exact = make([]float32, n*c)
		for r, id := range ids {
			copy(o.exact.([]float32)[r*c:][:c], table[int(id)*c:])
		}
	}
	tt, it := e.f32(table, vocab, c), e.i32(ids)
	return &trial{run: func() error { return e.b.Embed(o.t, tt, it, add) }, outs: []out{o}}
}

// ropeCases rotate n rows of three heads: against the equation, and to the bits of the student's specification.
func ropeCases(n, c int) []Case {
	const heads, limit = 3, 40
	d := 2 * ((c + 1) / 2)
	if d > 128 {
		d = 128
	}
	var cs []Case
	for _, name := range []string{"f64", "inverse", "student"} {
		cs = append(cs, Case{Op: "RoPE", Size: sized(name, n, heads, d), Bytes: 8 * float64(n*heads*d), build: func(e *env) *trial {
			x, pos := e.normal(n*heads*d), e.ids(n, limit)
			cos, sin := tables(limit, d)
			o := out{name: "x", t: e.empty(n, heads*d), start: x}
			exact := make([]float32, 0, len(x))
			for r := range n {
				at := int(pos[r]) * d / 2
				for h := range heads {
					head, co, si := x[(r*heads+h)*d:][:d], cos[at:][:d/2], sin[at:][:d/2]
					o.want = append(o.want, ref.Rotate(widen(head), widen(co), widen(si), name == "inverse")...)
					exact = append(exact, ref.StudentRoPE(head, co, si)...)
				}
			}
			if name == "student" {
				o.exact = exact
			}
			ct, st, pt := e.f32(cos, limit, d/2), e.f32(sin, limit, d/2), e.i32(pos)
			return &trial{run: func() error { return e.b.RoPE(o.t, pt, ct, st, name == "inverse") }, outs: []out{o}}
		}})
	}
	return cs
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
