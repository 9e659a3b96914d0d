package quiet

import (
	"os"
	"strconv"
	"strings"
)

// Load tells how much of the machine other programs used between two readings.
type Load struct {
	Total, Busy float64 // clock ticks of all processors since the machine started
	Own         float64 // of this process
}

// tolerance is the share of the machine that other programs may use beyond the processors that a measurement leaves free.
const tolerance = 0.05

// Read reads the clocks of the kernel. false where there are none (all but Linux).
func Read() (Load, bool) {
	stat, err1 := os.ReadFile("/proc/stat")
	self, err2 := os.ReadFile("/proc/self/stat")
	if err1 != nil || err2 != nil {
		return Load{}, false
	}
	return parseLoad(string(stat), string(self))
}

// parseLoad reads /proc/stat and /proc/self/stat (proc(5)).
func parseLoad(stat, self string) (l Load, ok bool) {
	line, _, _ := strings.Cut(stat, "\n")
	cpu := strings.Fields(line)
	// The name of the program stands in parentheses and may hold anything.
	own := strings.Fields(self[strings.LastIndexByte(self, ')')+1:])
	const utime, stime = 11, 12 // counted from the field after the name
	if len(cpu) < 6 || cpu[0] != "cpu" || len(own) <= stime {
		return l, false
	}
	number := func(s string) float64 {
		v, err := strconv.ParseFloat(s, 64)
		ok = ok && err == nil
		return v
	}
	ok = true
	const idle, wait, most = 4, 5, 8 // of the columns user, nice, system, idle, iowait, irq, softirq, steal
	for i, s := range cpu[1:min(len(cpu), most+1)] {
		v := number(s)
		l.Total += v
		if i+1 != idle && i+1 != wait {
			l.Busy += v
		}
	}
	l.Own = number(own[utime]) + number(own[stime])
	return l, ok
}

// Others returns the share of the machine that other programs used since an earlier reading. Ticks are coarse: one that
// either clock may be wrong by does not count.
func (l Load) Others(since Load) float64 {
	total := l.Total - since.Total
	if total <= 0 {
		return 0
	}
	return max(0, l.Busy-since.Busy-(l.Own-since.Own)-1) / total
}

// Disturbs reports whether others, a share of a machine of so many processors, took some of what a measurement with so
// many threads needs.
func Disturbs(others float64, threads, processors int) bool {
	free := 1 - float64(min(max(threads, 1), processors))/float64(processors)
	return others > free+tolerance
}
