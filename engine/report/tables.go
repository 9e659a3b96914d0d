package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// grid is a table of a report, for any form that it is written in.
type grid struct {
	Head []string
	Rows [][]cell
}

// cell is a text, or in fixed width a name or value as programs know it.
type cell struct {
	Text string
	Code bool
}

// String is what a cell without a text shows.
func (c cell) String() string { return orNone(c.Text) }

// candidates is the table of the candidates side by side, a column each.
func (r *Report) candidates() grid {
	row := func(name string, of func(c *Candidate) string) []cell {
		cells := []cell{{Text: name}}
		for i := range r.Candidates {
			cells = append(cells, cell{Text: of(&r.Candidates[i])})
		}
		return cells
	}
	fixed := func(cells []cell) []cell {
		for i := range cells[1:] {
			cells[i+1].Code = true
		}
		return cells
	}
	rows := [][]cell{
		fixed(row("folder", func(c *Candidate) string { return c.Dir })),
		row("made from", func(c *Candidate) string { return c.Parent }),
		row("scheme", func(c *Candidate) string { return c.Scheme }),
		row("bits of a weight", func(c *Candidate) string { return plain(c.Bits) }),
		row("sparsity", func(c *Candidate) string { return number(c.Sparsity, 3) }),
		row("parameters", func(c *Candidate) string { return thousands(c.Params) }),
		row("bytes of weights", func(c *Candidate) string { return thousands(c.Bytes) }),
		row("bytes that a token reads", func(c *Candidate) string { return count(c.ActiveBytes) }),
		row("loss, nats a token", func(c *Candidate) string { return number(c.LossNats, 4) }),
		row("bits per byte", func(c *Candidate) string { return number(c.BitsPerByte, 4) }),
	}
	for _, name := range r.scoreNames() {
		rows = append(rows, row(name, func(c *Candidate) string { return c.scoreText(name) }))
	}
	rows = append(rows,
		row("decoding, tokens/s", func(c *Candidate) string {
			if c.Disturbed {
				return rate(c.Speed) + " (disturbed)"
			}
			return rate(c.Speed)
		}),
		row("none is better in loss, bytes and speed", func(c *Candidate) string {
			if slices.Contains(r.Front, c.Name) {
				return "yes"
			}
			return "no"
		}),
		fixed(row("digest", func(c *Candidate) string { return c.Digest })),
		row("the same digest in", func(c *Candidate) string {
			if len(c.Variants) == 0 {
				return none
			}
			return fmt.Sprintf("%d variants", len(c.Variants))
		}),
	)
	// What no candidate has is left out.
	rows = slices.DeleteFunc(rows, func(cells []cell) bool {
		return !slices.ContainsFunc(cells[1:], func(c cell) bool { return c.String() != none })
	})
	head := []string{""}
	for i := range r.Candidates {
		head = append(head, r.Candidates[i].Name)
	}
	return grid{head, rows}
}

// scoreNames lists what the candidates were scored at, each once, in order.
func (r *Report) scoreNames() []string {
	var names []string
	for _, c := range r.Candidates {
		for _, s := range c.Scores {
			if !slices.Contains(names, s.Name) {
				names = append(names, s.Name)
			}
		}
	}
	return names
}

// compared is the table of what stands beside the candidates. A column without a value says nothing and is left out.
func (r *Report) compared() grid {
	g := grid{Head: []string{"", "parameters", "bytes", "loss, nats a token", "bits per byte", "score", "tokens/s", ""}}
	for i := range r.Rows {
		c := &r.Rows[i]
		var cells []cell
		for _, text := range []string{
			c.Name, count(c.Params), count(c.Bytes), number(c.LossNats, 4), number(c.BitsPerByte, 4), c.scoresText(), rate(c.TokensPerSecond), c.Note,
		} {
			cells = append(cells, cell{Text: text})
		}
		g.Rows = append(g.Rows, cells)
	}
	for i := len(g.Head) - 1; i > 0; i-- {
		if !slices.ContainsFunc(g.Rows, func(r []cell) bool { return r[i].String() != none }) {
			g.Head = slices.Delete(g.Head, i, i+1)
			for j := range g.Rows {
				g.Rows[j] = slices.Delete(g.Rows[j], i, i+1)
			}
		}
	}
	return g
}

// origins are the tables of what a report was made of: splits, seeds and settings, each where there are any.
func (r *Report) origins() ([]grid, error) {
	var list []grid
	add := func(rows [][]cell, head ...string) {
		if len(rows) > 0 {
			list = append(list, grid{head, rows})
		}
	}
	var rows [][]cell
	for _, s := range r.Splits {
		rows = append(rows, []cell{{Text: s.Name}, {Text: count(s.Examples)}, {Text: count(s.Tokens)}, {s.Hash, true}})
	}
	add(rows, "split", "examples", "tokens", "SHA-256")
	rows = nil
	for _, name := range slices.Sorted(maps.Keys(r.Seeds)) {
		rows = append(rows, []cell{{Text: name}, {Text: strconv.FormatUint(r.Seeds[name], 10)}})
	}
	add(rows, "seed of", "value")
	rows, err := settings("", r.Settings)
	add(rows, "setting", "value")
	return list, err
}

// settings gives every setting a row; those inside others have the names of both, with a dot between.
func settings(prefix string, values map[string]any) ([][]cell, error) {
	var rows [][]cell
	for _, name := range slices.Sorted(maps.Keys(values)) {
		text, err := json.Marshal(values[name])
		if err != nil {
			return nil, fmt.Errorf("report: setting %s: %w", prefix+name, err)
		}
		var inner map[string]any
		dec := json.NewDecoder(bytes.NewReader(text))
		dec.UseNumber()
		if text[0] == '{' && dec.Decode(&inner) == nil && len(inner) > 0 {
			more, err := settings(prefix+name+".", inner)
			if err != nil {
				return nil, err
			}
			rows = append(rows, more...)
			continue
		}
		value := string(text)
		if s, ok := values[name].(string); ok {
			value = s
		}
		rows = append(rows, []cell{{prefix + name, true}, {value, true}})
	}
	return rows, nil
}

func (m *Model) scoreText(name string) string {
	for _, s := range m.Scores {
		if s.Name == name {
			return s.Text
		}
	}
	return none
}

func (m *Model) scoresText() string {
	var texts []string
	for _, s := range m.Scores {
		texts = append(texts, s.Name+" "+s.Text)
	}
	return strings.Join(texts, "; ")
}
