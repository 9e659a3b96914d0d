//go:build unix

package checkpoint

import (
	"errors"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mito/engine/files"
)

// A named pipe in the place of a file is refused at once, rather than waited for.
func TestPipeIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), WeightsName)
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Skip("no pipes here:", err)
	}
	for name, read := range map[string]func() error{
		"ReadFile": func() error { _, err := ReadFile(path); return err },
		"ReadJSON": func() error { return files.ReadJSON(path, new(any), 0) },
	} {
		done := make(chan error, 1)
		go func() { done <- read() }()
		select {
		case err := <-done:
			if !errors.Is(err, files.ErrNotRegular) {
				t.Errorf("%s: %v, want ErrNotRegular", name, err)
			}
		case <-time.After(5 * time.Second):
			t.Fatalf("%s waits for a writer", name)
		}
	}
}
