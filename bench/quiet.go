package bench

import (
	"os"
	"strconv"
	"strings"
)

// load tells how much of the machine other programs used between two readings.
type load struct {
	total, busy float64 // clock ticks of all processors since the machine started
	own         float64 // of this process
}

// tolerance is the share of the machine that other programs may use beyond the processors that a measurement leaves free.
const tolerance = 0.05

// readLoad reads the clocks of the kernel. false where there are none (all but Linux).
func readLoad() (load, bool) {
	stat, err1 := os.ReadFile("/proc/stat")
	self, err2 := os.ReadFile("/proc/self/stat")
	if err1 != nil || err2 != nil {
		return load{}, false
	}
	return parseLoad(string(stat), string(self))
}

// parseLoad reads /proc/stat and /proc/self/stat (proc(5)).
func parseLoad(stat, self string) (l load, ok bool) {
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
		l.total += v
		if i+1 != idle && i+1 != wait {
			l.busy += v
		}
	}
	l.own = number(own[utime]) + number(own[stime])
	return l, ok
}

// others returns the share of the machine that other programs used since an earlier reading. Ticks are coarse: one that
// either clock may be wrong by does not count.
func (l load) others(since load) float64 {
	total := l.total - since.total
	if total <= 0 {
		return 0
	}
	return max(0, l.busy-since.busy-(l.own-since.own)-1) / total
}

// disturbs reports whether others, a share of a machine of so many processors, took some of what a measurement with so
// many threads needs.
func disturbs(others float64, threads, processors int) bool {
	free := 1 - float64(min(max(threads, 1), processors))/float64(processors)
	return others > free+tolerance
}
