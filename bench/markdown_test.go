package bench

import (
	"strings"
	"testing"
)

func report(name string, value float64) *Report {
	return &Report{
		Bench: name, Rounds: 3, Level: "avx2", Machine: Machine{Processor: "A CPU", Cores: 2, OS: "linux", Arch: "amd64", Level: "avx2"},
		Results: []Result{
			{Name: "row", Value: value, Unit: "tok/s", Limit: 2 * value, LimitName: "reading", OfLimit: 0.5, Low: value - 1, High: value, Threads: 1},
			{Name: "fixed", Value: 3.9, Unit: "x", Low: 3.9, High: 3.9},
		},
	}
}

func TestMarkdown(t *testing.T) {
	got := report("decode", 12345).Markdown()
	for _, want := range []string{
		"## decode\n", "| row | 1 |  | 12.3K | tok/s | 24.7K (reading) | 50% | 12.3K to 12.3K |\n", "| fixed |  |  | 3.900 | x |  |  |  |\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in\n%s", want, got)
		}
	}
	limited := report("decode", 1)
	limited.Level = "generic"
	if got := limited.Markdown(); !strings.HasPrefix(got, "## decode (kernels limited to generic)\n") {
		t.Error(got)
	}
}

func TestUpdateReplacesOneSection(t *testing.T) {
	file := Update("", report("kernels", 100))
	if !strings.HasPrefix(file, "# A CPU, 2 cores\n") {
		t.Fatalf("begins with %.40q", file)
	}
	file = Update(file, report("decode", 200))
	file += "\n## Written by hand\n\nkept\n"
	before := file
	file = Update(file, report("kernels", 300))
	want := strings.Replace(before, report("kernels", 100).Markdown(), report("kernels", 300).Markdown(), 1)
	if file != want {
		t.Errorf("got\n%s\nwant\n%s", file, want)
	}
	if again := Update(file, report("kernels", 300)); again != file {
		t.Errorf("not stable:\n%s", again)
	}
	if again := Update(file, report("train", 1)); !strings.HasPrefix(again, file) {
		t.Errorf("a new section does not follow the others:\n%s", again)
	}
}

func TestNumber(t *testing.T) {
	for x, want := range map[float64]string{123456: "123.5K", 1234.4: "1234", 123.44: "123.4", 12.345: "12.35", 0.5: "0.500", 0: "0.000"} {
		if got := Number(x); got != want {
			t.Errorf("%v is %q, want %q", x, got, want)
		}
	}
}

func TestMachineOfProc(t *testing.T) {
	for _, c := range []struct{ name, cpuinfo, want string }{
		{"x86", "processor\t: 0\ncpu family\t: 25\nmodel\t\t: 1\nmodel name\t: AMD EPYC\n\nprocessor\t: 1\nmodel name\t: other\n", "AMD EPYC (family 25, model 1)"},
		{"arm64 board", "processor\t: 0\nCPU part\t: 0xd08\n\nModel\t\t: Raspberry Pi 4 Model B\n", "Raspberry Pi 4 Model B"},
		{"riscv", "processor\t: 0\nHardware\t: a board\n", "a board"},
		{"nothing", "", ""},
	} {
		if got := processor(c.cpuinfo); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
	if got := totalMemory("MemTotal:        1024 kB\nMemFree: 1 kB\n"); got != 1<<20 {
		t.Error(got)
	}
	if got := totalMemory(""); got != 0 {
		t.Error(got)
	}
	m := Machine{Processor: "AMD EPYC (family 25, model 1)", Cores: 2}
	if got := m.Slug(); got != "amd-epyc-family-25-model-1-2c" {
		t.Error(got)
	}
}

func TestDescribe(t *testing.T) {
	m := Describe()
	if m.Processor == "" || m.Cores < 1 || m.Go == "" || m.Level == "" || len(m.Kernels) < 5 {
		t.Errorf("%+v", m)
	}
	for _, k := range m.Kernels {
		if k.Variant == "" || len(k.Variants) == 0 || k.Variants[0] != "generic" {
			t.Errorf("%+v", k)
		}
	}
}
