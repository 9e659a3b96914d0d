package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// WriteMarkdown writes the report for people: the candidates side by side, the comparisons, and what reproduces them.
func (r *Report) WriteMarkdown(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n\n", escape(r.Task))
	fmt.Fprintf(&b, "Seed %d, backend %s, %s.\n\n", r.Seed, orNone(r.Backend), seconds(r.Seconds))
	r.sideBySide(&b)
	r.comparisons(&b)
	if r.Curves != "" {
		fmt.Fprintf(&b, "## Loss\n\n![Loss over the steps](%s)\n\n", r.Curves)
	}
	if len(r.Notes) > 0 {
		b.WriteString("## Notes\n\n")
		for _, n := range r.Notes {
			fmt.Fprintf(&b, "- %s\n", escape(n))
		}
		b.WriteByte('\n')
	}
	if err := r.reproduce(&b); err != nil {
		return err
	}
	_, err := io.WriteString(w, strings.TrimRight(b.String(), "\n")+"\n")
	return err
}

func (r *Report) sideBySide(b *strings.Builder) {
	if len(r.Candidates) == 0 {
		return
	}
	row := func(name string, cell func(c *Candidate) string) []string {
		cells := []string{name}
		for i := range r.Candidates {
			cells = append(cells, cell(&r.Candidates[i]))
		}
		return cells
	}
	rows := [][]string{
		row("folder", func(c *Candidate) string { return code(c.Dir) }),
		row("made from", func(c *Candidate) string { return orNone(escape(c.Parent)) }),
		row("scheme", func(c *Candidate) string { return orNone(escape(c.Scheme)) }),
		row("bits of a weight", func(c *Candidate) string { return plain(c.Bits) }),
		row("sparsity", func(c *Candidate) string { return number(c.Sparsity, 3) }),
		row("parameters", func(c *Candidate) string { return thousands(c.Params) }),
		row("bytes of weights", func(c *Candidate) string { return thousands(c.Bytes) }),
		row("bytes that a token reads", func(c *Candidate) string { return count(c.ActiveBytes) }),
		row("loss, nats a token", func(c *Candidate) string { return number(c.LossNats, 4) }),
		row("bits per byte", func(c *Candidate) string { return number(c.BitsPerByte, 4) }),
	}
	for _, name := range r.scoreNames() {
		rows = append(rows, row(escape(name), func(c *Candidate) string { return c.scoreCell(name) }))
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
		row("digest", func(c *Candidate) string { return code(c.Digest) }),
		row("the same digest in", func(c *Candidate) string {
			if len(c.Variants) == 0 {
				return none
			}
			return fmt.Sprintf("%d variants", len(c.Variants))
		}),
	)
	// What no candidate has is left out.
	rows = slices.DeleteFunc(rows, func(cells []string) bool {
		return !slices.ContainsFunc(cells[1:], func(c string) bool { return c != none })
	})
	head := row("", func(c *Candidate) string { return escape(c.Name) })
	table(b, head, rows)
	if r.disturbed() {
		b.WriteString("Speeds marked as disturbed: other programs used the processors while they were measured, and they say little.\n\n")
	}
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

func (r *Report) comparisons(b *strings.Builder) {
	if len(r.Rows) == 0 {
		return
	}
	b.WriteString("## Comparisons\n\n")
	head := []string{"", "parameters", "bytes", "loss, nats a token", "bits per byte", "score", "tokens/s", ""}
	var rows [][]string
	for i := range r.Rows {
		c := &r.Rows[i]
		rows = append(rows, []string{
			escape(c.Name), count(c.Params), count(c.Bytes), number(c.LossNats, 4), number(c.BitsPerByte, 4),
			c.scoresCell(), rate(c.TokensPerSecond), orNone(escape(c.Note)),
		})
	}
	// A column without a value says nothing.
	for i := len(head) - 1; i > 0; i-- {
		if !slices.ContainsFunc(rows, func(r []string) bool { return r[i] != none }) {
			head = slices.Delete(head, i, i+1)
			for j := range rows {
				rows[j] = slices.Delete(rows[j], i, i+1)
			}
		}
	}
	table(b, head, rows)
}

func (r *Report) reproduce(b *strings.Builder) error {
	b.WriteString("## How it was made\n\n")
	if r.Command != "" {
		fmt.Fprintf(b, "    %s\n\n", strings.ReplaceAll(r.Command, "\n", " "))
	}
	if r.Version != "" {
		fmt.Fprintf(b, "mito %s. ", escape(r.Version))
	}
	if r.Machine != "" {
		fmt.Fprintf(b, "Machine: %s.", escape(r.Machine))
	}
	if r.Version != "" || r.Machine != "" {
		b.WriteString("\n\n")
	}
	if len(r.Splits) > 0 {
		var rows [][]string
		for _, s := range r.Splits {
			rows = append(rows, []string{escape(s.Name), count(s.Examples), count(s.Tokens), code(s.Hash)})
		}
		table(b, []string{"split", "examples", "tokens", "SHA-256"}, rows)
	}
	if len(r.Seeds) > 0 {
		var rows [][]string
		for _, name := range slices.Sorted(maps.Keys(r.Seeds)) {
			rows = append(rows, []string{escape(name), strconv.FormatUint(r.Seeds[name], 10)})
		}
		table(b, []string{"seed of", "value"}, rows)
	}
	if len(r.Settings) > 0 {
		rows, err := settings("", r.Settings)
		if err != nil {
			return err
		}
		table(b, []string{"setting", "value"}, rows)
	}
	return nil
}

// settings gives every setting a row; those inside others have the names of both, with a dot between.
func settings(prefix string, values map[string]any) ([][]string, error) {
	var rows [][]string
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
		cell := string(text)
		if s, ok := values[name].(string); ok {
			cell = s
		}
		rows = append(rows, []string{code(prefix + name), code(cell)})
	}
	return rows, nil
}

func (m *Model) scoreCell(name string) string {
	for _, s := range m.Scores {
		if s.Name == name {
			return orNone(escape(s.Text))
		}
	}
	return none
}

func (m *Model) scoresCell() string {
	var cells []string
	for _, s := range m.Scores {
		cells = append(cells, escape(s.Name+" "+s.Text))
	}
	return orNone(strings.Join(cells, "; "))
}

const none = "–"

// table writes a Markdown table whose columns line up in plain text too.
func table(b *strings.Builder, head []string, rows [][]string) {
	width := make([]int, len(head))
	for _, r := range append([][]string{head}, rows...) {
		for i, c := range r {
			width[i] = max(width[i], len([]rune(c)), 3)
		}
	}
	line := func(cells []string) {
		for i, c := range cells {
			b.WriteString("| " + c + strings.Repeat(" ", width[i]-len([]rune(c))+1))
		}
		b.WriteString("|\n")
	}
	line(head)
	for _, n := range width {
		b.WriteString("|" + strings.Repeat("-", n+2))
	}
	b.WriteString("|\n")
	for _, r := range rows {
		line(r)
	}
	b.WriteByte('\n')
}

var escaper = strings.NewReplacer("|", `\|`, "\n", " ", "\r", " ", "<", "&lt;", "*", `\*`, "_", `\_`, "`", "\\`")

// escape keeps text from being read as Markdown.
func escape(s string) string { return escaper.Replace(s) }

// code sets text in fixed width. A vertical line would end the cell of a table even there, hence its entity.
func code(s string) string {
	if s == "" {
		return none
	}
	if strings.ContainsAny(s, "`|\n\r") {
		s = strings.NewReplacer("&", "&amp;", "<", "&lt;", "|", "&#124;", "\n", " ", "\r", " ").Replace(s)
		return "<code>" + s + "</code>"
	}
	return "`" + s + "`"
}

func orNone(s string) string {
	if s == "" {
		return none
	}
	return s
}

func number(n Number, decimals int) string {
	if !n.Measured() {
		return none
	}
	return strconv.FormatFloat(float64(n), 'f', decimals, 64)
}

// plain writes a number as short as it is.
func plain(n Number) string {
	if !n.Measured() {
		return none
	}
	return strconv.FormatFloat(float64(n), 'g', 4, 64)
}

func rate(n Number) string {
	switch {
	case !n.Measured() || n < 0 || n > 1e15:
		return none
	case n < 100:
		return strconv.FormatFloat(float64(n), 'g', 3, 64)
	}
	return thousands(int64(n + 0.5))
}

func seconds(n Number) string {
	if !n.Measured() {
		return "time not measured"
	}
	return strconv.FormatFloat(float64(n), 'f', 1, 64) + " s"
}

func count(n int64) string {
	if n == 0 {
		return none
	}
	return thousands(n)
}

// thousands writes 1234567 as 1,234,567.
func thousands(n int64) string {
	s := strconv.FormatInt(n, 10)
	sign := ""
	if n < 0 {
		sign, s = "-", s[1:]
	}
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return sign + s
}
