package cpu

import "golang.org/x/sys/unix"

// systemMemory is the machine's memory in bytes.
func systemMemory() (bytes int64, known bool) {
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) != nil {
		return 0, false
	}
	return int64(info.Totalram) * int64(info.Unit), true
}
