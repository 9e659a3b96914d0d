//go:build linux

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A disk that fills up while a run saves costs nothing that was saved before, and with room again the run goes on to the
// same weights.
func TestFullDisk(t *testing.T) {
	need(t)
	if os.Geteuid() != 0 {
		t.Skip("mounting a small tmpfs needs root")
	}
	disk := t.TempDir()
	// Room for one checkpoint with its training state, about 960 KB, not for the next beside it.
	if err := unix.Mount("tmpfs", disk, "tmpfs", 0, "size=1500k"); err != nil {
		t.Skip("a small tmpfs cannot be mounted here:", err)
	}
	defer func() {
		if err := unix.Unmount(disk, 0); err != nil {
			t.Error(err)
		}
	}()
	args := strings.Fields("train --task tictactoe --positions 200 --model micro --batch 8 --steps 12 --save-every 4 --out run")
	whole := t.TempDir()
	works(t, whole, args...)

	fails(t, disk, exitFailure, []string{"no space left", "left as it was"}, args...)
	state := read(t, filepath.Join(disk, "run", "last", "state.json"))
	fails(t, disk, exitFailure, []string{"no space left"}, append(args, "--resume")...)
	if read(t, filepath.Join(disk, "run", "last", "state.json")) != state {
		t.Error("the checkpoint changed")
	}
	fails(t, disk, exitFailure, []string{"no space left"}, "quantize", "--model", fixtures.float, "--out", filepath.Join(fill(t, disk), "int8"))
	if left, _ := filepath.Glob(filepath.Join(disk, "*")); len(left) != 2 {
		t.Errorf("left %v", left)
	}
	if err := unix.Mount("tmpfs", disk, "tmpfs", unix.MS_REMOUNT, "size=16m"); err != nil {
		t.Fatal(err)
	}
	works(t, disk, append(args, "--resume")...)
	if read(t, filepath.Join(disk, "run", "model", "model.safetensors")) != read(t, filepath.Join(whole, "run", "model", "model.safetensors")) {
		t.Error("other weights than without the full disk")
	}
}

// fill leaves no room.
func fill(t *testing.T, disk string) string {
	t.Helper()
	f, err := os.Create(filepath.Join(disk, "filler"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	return disk
}
