package kerneltest

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// guardedBytes maps whole pages with an inaccessible one on each side.
func guardedBytes(t testing.TB, n int, side Side, skip int) []byte {
	t.Helper()
	page := os.Getpagesize()
	body := (n + skip + page - 1) / page * page
	m, err := unix.Mmap(-1, 0, body+2*page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		t.Fatalf("kerneltest: map %d bytes: %v", body+2*page, err)
	}
	t.Cleanup(func() {
		if err := unix.Munmap(m); err != nil {
			t.Errorf("kerneltest: unmap: %v", err)
		}
	})
	for _, guard := range [][]byte{m[:page], m[page+body:]} {
		if err := unix.Mprotect(guard, unix.PROT_NONE); err != nil {
			t.Fatalf("kerneltest: protect: %v", err)
		}
	}
	at := page + skip
	if side == End {
		at = page + body - skip - n
	}
	return m[at : at+n : at+n]
}
