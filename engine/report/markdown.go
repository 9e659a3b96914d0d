package report

import (
	"fmt"
	"io"
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
	r.candidates().markdown(b)
	if r.disturbed() {
		b.WriteString(disturbedNote + "\n\n")
	}
}

const disturbedNote = "Speeds marked as disturbed: other programs used the processors while they were measured, and they say little."

func (r *Report) comparisons(b *strings.Builder) {
	if len(r.Rows) == 0 {
		return
	}
	b.WriteString("## Comparisons\n\n")
	r.compared().markdown(b)
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
	tables, err := r.origins()
	for _, t := range tables {
		t.markdown(b)
	}
	return err
}

// markdown writes a grid as a Markdown table.
func (g grid) markdown(b *strings.Builder) {
	var head []string
	for _, h := range g.Head {
		head = append(head, escape(h))
	}
	var rows [][]string
	for _, cells := range g.Rows {
		var row []string
		for _, c := range cells {
			if c.Code {
				row = append(row, code(c.Text))
			} else {
				row = append(row, escape(c.String()))
			}
		}
		rows = append(rows, row)
	}
	table(b, head, rows)
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
