package bench

import (
	"slices"
	"strings"
	"testing"
)

// A technique's row says what the run measured, else what is recorded and by which command, and what neither has.
func TestTabulate(t *testing.T) {
	const bytes, loss = "quantisation/460K, bytes of the weights float32 against INT8", "quantisation/weights of 8 bits, loss rounded against the base"
	old := []Recorded{{loss, 1.02, unitTimes, "mito of old", ""}, {bytes, 9, unitTimes, "mito of old", ""}}
	rows := tabulate([]Result{{Name: bytes, Value: 3.857}}, old, "mito now", 0.5)
	if len(rows) != len(table()) {
		t.Fatalf("%d rows for %d techniques", len(rows), len(table()))
	}
	r := rows[0]
	for _, want := range []string{"3.86x fewer bytes (460K)", "INT8 loss +2.00% (recorded)", "not measured"} {
		if !strings.Contains(r.Measured, want) {
			t.Errorf("%q lacks %q", r.Measured, want)
		}
	}
	if r.Command != "mito now; mito of old" || !strings.HasPrefix(r.How, "this run (other programs disturbed 50% of its measurements), recorded") || r.Expected == "" || !strings.HasPrefix(r.Name, tablePrefix) {
		t.Errorf("%+v", r)
	}
	if r := rows[1]; r.Command != "" || !strings.Contains(r.How, "--corpus") || !strings.Contains(r.Measured, "not measured") {
		t.Errorf("of what nobody measured: %+v", r)
	}
	report := &Report{Results: append(rows, Result{Name: "x/y"})}
	if len(report.TechniqueRows()) != len(rows) || len(report.Measurements()) != 1 {
		t.Error("rows of the table and measurements are mixed up")
	}
}

// What is recorded are experiments, each once, and the table has a use for it.
func TestRecorded(t *testing.T) {
	list, err := recorded()
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, r := range list {
		if names[r.Name] || r.Command == "" || r.Machine == "" || r.Unit == "" || r.Value == 0 {
			t.Errorf("%+v", r)
		}
		names[r.Name] = true
	}
	r := &Report{Results: []Result{{Name: "a", Value: 2, Experiment: true}, {Name: "b", Value: 3}}}
	got := Record([]Recorded{{Name: "a", Value: 1}, {Name: "c"}}, r, "mito")
	if len(got) != 2 || got[0].Value != 2 || got[0].Command != "mito" || got[1].Name != "c" {
		t.Errorf("recorded %+v", got)
	}
}

// checkTable holds that parts of the table whose rows begin so have a row in a run.
func checkTable(t *testing.T, rows map[string]bool, prefixes ...string) {
	t.Helper()
	for _, x := range table() {
		for _, p := range x.parts {
			begins := func(prefix string) bool { return strings.HasPrefix(p.row, prefix) }
			if slices.ContainsFunc(prefixes, begins) && !rows[p.row] && p.row != recoveredRow && p.row != alignedRow {
				t.Errorf("%s: no run has the row %q", x.name, p.row)
			}
		}
	}
}
