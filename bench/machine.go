package bench

import (
	"bufio"
	"os"
	"runtime"
	"strconv"
	"strings"

	"mito/kernels/isa"
)

// Machine describes where a measurement was made.
type Machine struct {
	Processor string   `json:"processor"`
	Cores     int      `json:"cores"`  // that the operating system offers
	Memory    int64    `json:"memory"` // bytes; 0 where unknown
	OS        string   `json:"os"`
	Arch      string   `json:"arch"`
	Go        string   `json:"go"`
	Features  []string `json:"features"` // instruction sets that mito knows
	Level     string   `json:"level"`    // the most that the kernels can use of them, see isa.Limit
	Kernels   []Kernel `json:"kernels"`
}

// Kernel is the choice of a kernel package.
type Kernel struct {
	Package  string   `json:"package"`
	Variant  string   `json:"variant"`
	Variants []string `json:"variants"`
}

// Describe describes this machine.
func Describe() Machine {
	levels := isa.Levels()
	m := Machine{
		Processor: runtime.GOARCH, Cores: runtime.NumCPU(), OS: runtime.GOOS, Arch: runtime.GOARCH,
		Go: runtime.Version(), Features: isa.Features(), Level: levels[len(levels)-1], Kernels: Kernels(),
	}
	if raw, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		if name := processor(string(raw)); name != "" {
			m.Processor = name
		}
	}
	if raw, err := os.ReadFile("/proc/meminfo"); err == nil {
		m.Memory = totalMemory(string(raw))
	}
	return m
}

// Kernels lists the kernel packages with their variants.
func Kernels() []Kernel {
	var list []Kernel
	for _, s := range isa.Kernels() {
		list = append(list, Kernel{s.Package(), s.Variant(), s.Variants()})
	}
	return list
}

// processor reads the name of the processor from /proc/cpuinfo, with the family and model that x86 has, for
// hypervisors shorten the name. "" where there is none.
func processor(cpuinfo string) string {
	field := fields(cpuinfo)
	name := field["model name"]
	if name == "" {
		name = field["Model"] // of the board, on arm64
	}
	if name == "" {
		name = field["Hardware"]
	}
	if f := field["cpu family"]; name != "" && f != "" {
		name += " (family " + f + ", model " + field["model"] + ")"
	}
	return name
}

// totalMemory reads MemTotal in bytes from /proc/meminfo.
func totalMemory(meminfo string) int64 {
	kb, err := strconv.ParseInt(strings.TrimSuffix(fields(meminfo)["MemTotal"], " kB"), 10, 64)
	if err != nil {
		return 0
	}
	return kb << 10
}

// fields reads lines of the form "key : value"; the first of each key counts.
func fields(s string) map[string]string {
	out := map[string]string{}
	for sc := bufio.NewScanner(strings.NewReader(s)); sc.Scan(); {
		key, value, ok := strings.Cut(sc.Text(), ":")
		if key = strings.TrimSpace(key); ok && out[key] == "" {
			out[key] = strings.TrimSpace(value)
		}
	}
	return out
}

// Slug is the machine's name as that of a file: the processor and the number of cores.
func (m Machine) Slug() string {
	var b strings.Builder
	for _, r := range strings.ToLower(m.Processor) {
		switch {
		case r >= 'a' && r <= 'z' || r >= '0' && r <= '9':
			b.WriteRune(r)
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "-"):
			b.WriteByte('-')
		}
	}
	return strings.TrimSuffix(b.String(), "-") + "-" + strconv.Itoa(m.Cores) + "c"
}
