package memlimit

import "golang.org/x/sys/unix"

// system knows the physical memory only. What of it is free is not asked: macOS compresses and drops memory on demand, and
// its count of free pages says little.
func system() []Limit {
	n, err := unix.SysctlUint64("hw.memsize")
	if err != nil || n > 1<<62 {
		return nil
	}
	return []Limit{{Bytes: int64(n), Free: int64(n), Source: Physical}}
}
