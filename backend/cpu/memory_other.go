//go:build !linux

package cpu

// systemMemory is not asked for on this system; allocation itself reports what is too large.
func systemMemory() (bytes int64, known bool) { return 0, false }
