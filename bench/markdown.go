package bench

import (
	"fmt"
	"strings"
)

// Markdown writes a report as a section: a heading, how it was measured, and a table.
func (r *Report) Markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\n`mito bench %s --rounds %d --level %s`: medians; %.0f%% of the measurements were disturbed by other programs.\n\n",
		r.heading(), r.Bench, r.Rounds, r.Level, 100*r.Disturbed)
	if list := r.TechniqueRows(); len(list) > 0 {
		b.WriteString("| technique | expected before it was built | measured | how |\n|---|---|---|---|\n")
		for _, x := range list {
			fmt.Fprintf(&b, "| %s | %s | %s | %s: `%s` |\n", strings.TrimPrefix(x.Name, tablePrefix), x.Expected, x.Measured, x.How, x.Command)
		}
		b.WriteString("\n")
	}
	b.WriteString("| what | threads | variant | measured | unit | limit | of limit | low to high |\n|---|---|---|---|---|---|---|---|\n")
	for _, x := range r.Measurements() {
		threads, limit, of := "", "", ""
		if x.Threads > 0 {
			threads = fmt.Sprint(x.Threads)
		}
		if x.Limit > 0 {
			limit, of = fmt.Sprintf("%s (%s)", Number(x.Limit), x.LimitName), fmt.Sprintf("%.0f%%", 100*x.OfLimit)
		}
		span := ""
		if x.Low != x.High {
			span = Number(x.Low) + " to " + Number(x.High)
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %s | %s |\n", x.Name, threads, x.Variant, Number(x.Value), x.Unit, limit, of, span)
	}
	return b.String()
}

func (r *Report) heading() string {
	h := "## " + r.Bench
	if r.Level != r.Machine.Level {
		h += " (kernels limited to " + r.Level + ")"
	}
	return h
}

// Number writes a value with three to five digits, thousands as K.
func Number(x float64) string {
	switch a := max(x, -x); {
	case a >= 10000:
		return fmt.Sprintf("%.1fK", x/1000)
	case a >= 1000:
		return fmt.Sprintf("%.0f", x)
	case a >= 100:
		return fmt.Sprintf("%.1f", x)
	case a >= 10:
		return fmt.Sprintf("%.2f", x)
	default:
		return fmt.Sprintf("%.3f", x)
	}
}

// Markdown describes a machine as the beginning of a file.
func (m Machine) Markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s, %d cores\n\n", m.Processor, m.Cores)
	memory := "unknown"
	if m.Memory > 0 {
		memory = fmt.Sprintf("%.1f GiB", float64(m.Memory)/(1<<30))
	}
	fmt.Fprintf(&b, "%s/%s, %s, memory %s, instruction sets %s.\n\n", m.OS, m.Arch, m.Go, memory, strings.Join(m.Features, " "))
	b.WriteString("| kernels | variant | available |\n|---|---|---|\n")
	for _, k := range m.Kernels {
		fmt.Fprintf(&b, "| %s | %s | %s |\n", k.Package, k.Variant, strings.Join(k.Variants, " "))
	}
	return b.String()
}

// Update puts a report into a file of results, in place of the section with its heading or at the end. An empty file
// begins with the machine. Other sections stay as they are.
func Update(file string, r *Report) string {
	return updateSection(file, r.heading(), r.Markdown(), r.Machine.Markdown())
}

// updateSection puts a section into a file that begins with first.
func updateSection(file, heading, section, first string) string {
	if strings.TrimSpace(file) == "" {
		return first + "\n" + section
	}
	lines := strings.SplitAfter(file, "\n")
	var out strings.Builder
	skipping, done := false, false
	for _, line := range lines {
		if strings.HasPrefix(line, "## ") {
			if skipping {
				out.WriteString("\n")
			}
			skipping = strings.TrimRight(line, "\r\n") == heading
			if skipping && !done {
				out.WriteString(section)
				done = true
			}
		}
		if !skipping {
			out.WriteString(line)
		}
	}
	if !done {
		if s := out.String(); !strings.HasSuffix(s, "\n\n") {
			out.WriteString("\n")
		}
		out.WriteString(section)
	}
	return out.String()
}
