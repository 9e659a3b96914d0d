package checkpoint

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"mito/engine/files"
)

// TestDiskReallyFull saves into a file system that is too small for two checkpoints.
func TestDiskReallyFull(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("mounting a small tmpfs needs root")
	}
	root := t.TempDir()
	if err := unix.Mount("tmpfs", root, "tmpfs", 0, "size=192k"); err != nil {
		t.Skip("a small tmpfs cannot be mounted here:", err)
	}
	defer func() {
		if err := unix.Unmount(root, 0); err != nil {
			t.Error(err)
		}
	}()
	dir := filepath.Join(root, "last")
	small := sized(1, 1000)
	if err := Save(dir, small); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(filepath.Join(dir, WeightsName))
	if err != nil {
		t.Fatal(err)
	}
	if err := Save(dir, sized(2, 60_000)); !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("got %v, want no space left", err)
	}
	file := filepath.Join(root, "metrics.json")
	if err := files.SaveFile(file, writeString("old")); err != nil {
		t.Fatal(err)
	}
	err = files.SaveFile(file, func(w io.Writer) error { _, err := w.Write(make([]byte, 300_000)); return err })
	if !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("got %v, want no space left", err)
	}
	after, err := os.ReadFile(filepath.Join(dir, WeightsName))
	if err != nil || string(after) != string(before) || string(must(os.ReadFile(file))) != "old" {
		t.Fatal("the old content changed", err)
	}
	if left := hidden(t, root); len(left) > 0 {
		t.Errorf("left on the full disk: %v", left)
	}
	if f, err := Open(dir); err != nil || second(f.State()) != nil {
		t.Error("the old checkpoint does not open:", err)
	}
	// With room again, the same save succeeds.
	if err := Save(dir, sized(3, 1000)); err != nil {
		t.Error(err)
	}
}

func sized(step, n int) *Contents {
	c := numbered(step)
	c.Tensors = []Tensor{FromF32("w", []int{n}, make([]float32, n))}
	c.State.Tensors = nil
	return c
}
