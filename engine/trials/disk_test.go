//go:build dist && linux

package trials

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A disk that others fill while trials run ends the search in words, in a process alone too.
func TestFullDisk(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("mounting a small tmpfs needs root")
	}
	disk := t.TempDir()
	if err := unix.Mount("tmpfs", disk, "tmpfs", 0, "size=4m"); err != nil {
		t.Skip("a small tmpfs cannot be mounted here:", err)
	}
	t.Cleanup(func() { // after the server's
		if err := unix.Unmount(disk, 0); err != nil {
			t.Error(err)
		}
	})
	s := begun(t, ServeOptions{Dir: filepath.Join(disk, "queue"), MaxStore: 1 << 30})
	ran, filled := 0, time.Now()
	err := s.Run(t.Context(), list(1000), RunOptions{Here: func(context.Context, Trial) error {
		if ran++; ran == 3 {
			fill(t, filepath.Join(disk, "filler"))
			filled = time.Now()
		}
		time.Sleep(20 * time.Millisecond)
		return nil
	}})
	var full *StoreError
	if spent := time.Since(filled); !errors.As(err, &full) || spent > 20*time.Second {
		t.Errorf("%v, after %v", err, spent)
	}
}

// fill leaves no room on the disk of a file.
func fill(t *testing.T, path string) {
	f, err := os.Create(path)
	if err != nil {
		t.Error(err)
		return
	}
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	f.Close()
}
