package memlimit

import (
	"fmt"
	"strconv"
)

// The sources of a [Limit], as an error message names them.
const (
	Physical   = "the machine's memory"
	Cgroup     = "the memory limit of the control group (container)"
	RlimitAS   = "the address space limit of the process (RLIMIT_AS, ulimit -v)"
	RlimitData = "the data segment limit of the process (RLIMIT_DATA, ulimit -d)"
	JobObject  = "the memory limit of the job object"
	Address    = "what a process of 32 bits can address"
)

// Limit is an amount of memory that one rule allows.
type Limit struct {
	Bytes  int64  // all that the process may use
	Free   int64  // of that, what it can still take now; at most Bytes, never below 0
	Source string // one of the constants above
}

// Memory is what [Process] found.
type Memory struct {
	Total Limit // the rule with the smallest Bytes
	Free  Limit // the rule with the smallest Free
}

// Process returns how much memory this process may use. known is false where the system tells nothing; then nothing can
// be judged before it is tried. A call reads a few small files: ask when something is sized, not in a loop.
func Process() (m Memory, known bool) {
	limits := system()
	if strconv.IntSize == 32 {
		limits = append(limits, Limit{Bytes: 1 << 31, Free: 1 << 31, Source: Address})
	}
	return smallest(limits)
}

func smallest(limits []Limit) (m Memory, known bool) {
	for _, l := range limits {
		l.Free = min(max(l.Free, 0), l.Bytes)
		if !known || l.Bytes < m.Total.Bytes {
			m.Total = l
		}
		if !known || l.Free < m.Free.Free {
			m.Free = l
		}
		known = true
	}
	return m, known
}

// Format writes a number of bytes for people: "512 bytes", "1.5 GiB".
func Format(bytes int64) string {
	if bytes < 1<<10 {
		return fmt.Sprintf("%d bytes", bytes)
	}
	v, unit := float64(bytes)/(1<<10), 0
	names := [...]string{"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}
	for v >= 1023.95 && unit < len(names)-1 {
		v, unit = v/(1<<10), unit+1
	}
	return strconv.FormatFloat(v, 'f', 1, 64) + " " + names[unit]
}
