package c99

import (
	"fmt"
	"strings"

	"mito/engine/session/adapters"
	"mito/engine/student"
)

// adapted are the adapters of a model as student.c reads them.
type adapted struct {
	list     []adapters.Adapter
	numberOf map[*student.Matrix]int // of the matrices that some adapter adds to, from 1
	order    []adaptedMatrix
	rank     int // the largest
}

// adaptedMatrix is a matrix with what each adapter adds to it; nil for nothing.
type adaptedMatrix struct {
	m         *student.Matrix
	additions []*adapters.Addition
}

// newAdapted checks adapters against the model. Errors: *adapters.Error.
func newAdapted(w *student.Weights, list []adapters.Adapter) (*adapted, error) {
	if len(list) == 0 {
		return nil, nil
	}
	if err := adapters.Check(list, w.Config); err != nil {
		return nil, err
	}
	a := &adapted{list: list, numberOf: map[*student.Matrix]int{}}
	modules := w.Config.Modules()
	err := w.Visit(func(name string, m *student.Matrix, _ *[]float32) error {
		if m == nil {
			return nil
		}
		x, any := adaptedMatrix{m, make([]*adapters.Addition, len(list))}, false
		for _, module := range modules {
			for i := range list {
				for j := range list[i].Additions {
					if d := &list[i].Additions[j]; module.Name == name && d.Layer == module.Layer && d.Part == module.Part {
						x.additions[i], any = d, true
						a.rank = max(a.rank, d.Rank)
					}
				}
			}
		}
		if any {
			a.order = append(a.order, x)
			a.numberOf[m] = len(a.order)
		}
		return nil
	})
	return a, err
}

// adapterArrays writes the additions of every adapter.
func (e *emitter) adapterArrays() {
	if e.adapted == nil {
		return
	}
	var names []string
	for i := range e.adapted.list {
		var rows []string
		for k, x := range e.adapted.order {
			d, name := x.additions[i], fmt.Sprintf("a%d_%d", i+1, k+1)
			if d == nil {
				rows = append(rows, " {0, 0, 0}")
				continue
			}
			rows = append(rows, fmt.Sprintf(" {%s, %s, %d}", e.floats(name+"_a", d.A), e.floats(name+"_b", scaledColumns(d, x.m.Rows)), d.Rank))
		}
		name := fmt.Sprintf("adapter_%d", i+1)
		fmt.Fprintf(&e.b, "static const student_addition %s[%d] = {\n%s\n};\n", name, len(rows), strings.Join(rows, ",\n"))
		names = append(names, name)
		e.facts.Tables += 4 + 12*len(rows)
	}
	fmt.Fprintf(&e.b, "const student_addition *const student_adapters[STUDENT_ADAPTERS] = {%s};\n", strings.Join(names, ", "))
}

// scaledColumns are the columns of B, times the scale.
func scaledColumns(d *adapters.Addition, rows int) []float32 {
	b := make([]float32, len(d.B))
	for o := range rows {
		for r := range d.Rank {
			b[r*rows+o] = d.Scale * d.B[o*d.Rank+r]
		}
	}
	return b
}

// names lists the adapters for model.h.
func (a *adapted) names() string {
	if a == nil {
		return ""
	}
	var list []string
	for i, name := range adapters.Names(a.list) {
		list = append(list, fmt.Sprintf("%d %s", i+1, strings.Map(plainCharacter, name)))
	}
	return strings.Join(list, ", ")
}

// plainCharacter keeps a name from ending a comment.
func plainCharacter(r rune) rune {
	if r < ' ' || r == '*' || r == '/' {
		return '_'
	}
	return r
}
