//go:build unix

package distill

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mito/engine/files"
)

// A cache file that is none is refused at once: opening a pipe would wait for whoever writes into it.
func TestCacheIsARegularFile(t *testing.T) {
	dir := t.TempDir()
	pipe, folder := filepath.Join(dir, "pipe"), filepath.Join(dir, "folder")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Skip("no pipes here:", err)
	}
	if err := os.Mkdir(folder, 0o777); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{pipe, folder, os.DevNull} {
		done := make(chan error, 1)
		go func() {
			_, err := OpenCache(path, Key{Tokens: 1, TopK: 1})
			done <- err
		}()
		select {
		case err := <-done:
			if !errors.Is(err, files.ErrNotRegular) {
				t.Errorf("%s: %v, want ErrNotRegular", path, err)
			}
		case <-time.After(5 * time.Second):
			t.Fatalf("%s: waits", path)
		}
	}
}
