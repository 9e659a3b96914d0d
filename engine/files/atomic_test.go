package files

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

var errDead = errors.New("the process is gone")

// quickDisk does not wait for the hardware, which no test here can tell from one that does.
type quickDisk struct{ osDisk }

func (quickDisk) syncDir(string) error  { return nil }
func (quickDisk) syncFile(string) error { return nil }

func (q quickDisk) create(path string) (diskFile, error) {
	f, err := q.osDisk.create(path)
	return quickFile{f}, err
}

type quickFile struct{ diskFile }

func (quickFile) Sync() error { return nil }

// faultyDisk stops or fails at a chosen step. Dead: that step and all after it do nothing, as when the process was killed
// there. Otherwise only that step fails, with fault, as when the disk is full for a moment.
type faultyDisk struct {
	quickDisk
	step       int // counts down; the operation that finds it 0 fails
	dead       bool
	gone       bool
	fault      error
	noExchange bool
	log        []string
}

func (d *faultyDisk) do(name string, f func() error) error {
	if d.gone {
		return errDead
	}
	d.step--
	if d.step == -1 {
		if d.dead {
			d.gone = true
			return errDead
		}
		return d.fault
	}
	d.log = append(d.log, name)
	return f()
}

func (d *faultyDisk) alive() bool { return !d.gone }

func (d *faultyDisk) create(path string) (f diskFile, err error) {
	err = d.do("create "+filepath.Base(path), func() error { f, err = d.quickDisk.create(path); return err })
	if err != nil {
		return nil, err
	}
	return &faultyFile{f, d, filepath.Base(path)}, nil
}
func (d *faultyDisk) mkdir(p string) error {
	return d.do("mkdir", func() error { return d.quickDisk.mkdir(p) })
}
func (d *faultyDisk) link(a, b string) error {
	return d.do("link", func() error { return d.quickDisk.link(a, b) })
}
func (d *faultyDisk) rename(a, b string) error {
	return d.do("rename", func() error { return d.quickDisk.rename(a, b) })
}
func (d *faultyDisk) syncDir(p string) error {
	return d.do("sync folder", func() error { return d.quickDisk.syncDir(p) })
}
func (d *faultyDisk) syncFile(p string) error {
	return d.do("sync "+filepath.Base(p), func() error { return d.quickDisk.syncFile(p) })
}
func (d *faultyDisk) remove(p string) error {
	return d.do("remove", func() error { return d.quickDisk.remove(p) })
}
func (d *faultyDisk) exchange(a, b string) error {
	if d.noExchange {
		return errors.ErrUnsupported
	}
	return d.do("exchange", func() error { return d.quickDisk.exchange(a, b) })
}

type faultyFile struct {
	f    diskFile
	d    *faultyDisk
	name string
}

// Write leaves half of the bytes behind when it fails.
func (f *faultyFile) Write(p []byte) (n int, err error) {
	err = f.d.do("write "+f.name, func() error { n, err = f.f.Write(p); return err })
	if err != nil && n == 0 && f.d.alive() {
		n, _ = f.f.Write(p[:len(p)/2])
	}
	return n, err
}
func (f *faultyFile) Sync() error { return f.d.do("sync "+f.name, f.f.Sync) }
func (f *faultyFile) Close() error {
	return errors.Join(f.d.do("close "+f.name, func() error { return nil }), f.f.Close())
}

// partNames are the files of a small checkpoint.
var partNames = []string{ConfigName, "model.safetensors", "state.json"}

// version writes a small checkpoint through d, so that faults strike inside it too.
func version(d disk, v string) func(tmp string) error {
	return func(tmp string) error {
		for _, name := range partNames {
			err := writeSynced(d, filepath.Join(tmp, name), func(w io.Writer) error {
				_, err := io.WriteString(w, v+" "+name)
				return err
			})
			if err != nil {
				return err
			}
		}
		return nil
	}
}

// versionAt returns which version lies in a folder, and fails the test when it is incomplete or mixed.
func versionAt(t *testing.T, dir string) string {
	t.Helper()
	at, err := Resolve(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return ""
	}
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for _, name := range partNames {
		text, err := os.ReadFile(filepath.Join(at, name))
		if err != nil {
			t.Fatalf("incomplete checkpoint: %v", err)
		}
		v, rest, _ := strings.Cut(string(text), " ")
		if rest != name {
			t.Fatalf("%s holds %q", name, text)
		}
		found[v] = true
	}
	if len(found) != 1 {
		t.Fatalf("mixed checkpoint: %v", slices.Collect(maps.Keys(found)))
	}
	if own := must(inspect(at)); own.marker == nil || len(own.marker.Files) != 3 {
		t.Fatalf("marker %+v", own.marker)
	}
	return slices.Collect(maps.Keys(found))[0]
}

func hidden(t *testing.T, dir string) []string {
	t.Helper()
	var names []string
	for _, e := range must(os.ReadDir(dir)) {
		if strings.HasPrefix(e.Name(), ".") {
			names = append(names, e.Name())
		}
	}
	return names
}

// TestSaveDirKilledAtEachStep kills the writer at every step of a save, with and without an exchange of folders, over an
// old checkpoint and over none.
func TestSaveDirKilledAtEachStep(t *testing.T) {
	for _, noExchange := range []bool{false, true} {
		for _, old := range []string{"", "old"} {
			t.Run(fmt.Sprintf("exchange=%v/old=%v", !noExchange, old != ""), func(t *testing.T) {
				committed, steps := false, 0
				for ; ; steps++ {
					parent := t.TempDir()
					dir := filepath.Join(parent, "last")
					if old != "" {
						if err := saveDir(quickDisk{}, dir, partNames, version(quickDisk{}, old)); err != nil {
							t.Fatal(err)
						}
					}
					d := &faultyDisk{step: steps, dead: true, noExchange: noExchange}
					err := saveDir(d, dir, partNames, version(d, "new"))
					got := versionAt(t, dir)
					if got != old && got != "new" {
						t.Fatalf("step %d: %q", steps, got)
					}
					if committed && got != "new" {
						t.Fatalf("step %d: the old checkpoint again", steps)
					}
					committed = got == "new"
					if err == nil && !committed {
						t.Fatalf("step %d: reported as saved, but is not", steps)
					}
					if !noExchange && old != "" && canExchange(t) {
						if _, err := os.Stat(dir); err != nil {
							t.Fatalf("step %d: the folder was gone for a moment: %v", steps, err)
						}
					}
					if err := Recover(dir); err != nil {
						t.Fatalf("step %d: %v", steps, err)
					}
					if after := versionAt(t, dir); after != got {
						t.Fatalf("step %d: %q before recovery, %q after", steps, got, after)
					}
					if left := hidden(t, parent); len(left) > 0 {
						t.Fatalf("step %d: recovery left %v", steps, left)
					}
					if err := saveDir(quickDisk{}, dir, partNames, version(quickDisk{}, "next")); err != nil || versionAt(t, dir) != "next" {
						t.Fatalf("step %d: the next save: %v", steps, err)
					}
					if d.alive() {
						break
					}
				}
				if steps < 15 || !committed {
					t.Fatalf("only %d steps, committed %v", steps, committed)
				}
			})
		}
	}
}

// TestSaveDirDiskFullAtEachStep lets one step fail while the process lives on: either the old or the new is there, an
// error before the swap leaves the old, and nothing temporary stays.
func TestSaveDirDiskFullAtEachStep(t *testing.T) {
	for _, noExchange := range []bool{false, true} {
		for step := 0; ; step++ {
			parent := t.TempDir()
			dir := filepath.Join(parent, "last")
			if err := saveDir(quickDisk{}, dir, partNames, version(quickDisk{}, "old")); err != nil {
				t.Fatal(err)
			}
			d := &faultyDisk{step: step, fault: syscall.ENOSPC, noExchange: noExchange}
			err := saveDir(d, dir, partNames, version(d, "new"))
			got := versionAt(t, dir)
			switch {
			case err == nil && got != "new":
				t.Fatalf("step %d: reported as saved, but is %q", step, got)
			case err != nil && !errors.Is(err, syscall.ENOSPC):
				t.Fatalf("step %d: %v", step, err)
			case err != nil && got != "old" && !strings.Contains(err.Error(), "may not survive a power cut"):
				t.Fatalf("step %d: %q after %v", step, got, err)
			}
			if err != nil && got == "old" {
				if left := hidden(t, parent); len(left) > 0 {
					t.Fatalf("step %d: %v left after %v", step, left, err)
				}
			}
			if d.step >= 0 {
				break
			}
		}
	}
}

func TestSaveFileAtEachStep(t *testing.T) {
	for _, dead := range []bool{true, false} {
		for step := 0; ; step++ {
			dir := t.TempDir()
			path := filepath.Join(dir, "report.json")
			if err := saveFile(quickDisk{}, path, writeString("old")); err != nil {
				t.Fatal(err)
			}
			d := &faultyDisk{step: step, dead: dead, fault: syscall.ENOSPC}
			err := saveFile(d, path, writeString("the new content"))
			got := string(must(os.ReadFile(path)))
			if got != "old" && got != "the new content" || err == nil && got == "old" {
				t.Fatalf("step %d: %q, %v", step, got, err)
			}
			if !dead && err != nil && len(hidden(t, dir)) > 0 {
				t.Fatalf("step %d: %v left", step, hidden(t, dir))
			}
			if dead {
				if err := Recover(dir); err != nil || len(hidden(t, dir)) > 0 {
					t.Fatalf("step %d: recovery: %v, %v left", step, err, hidden(t, dir))
				}
			}
			if d.step >= 0 {
				break
			}
		}
	}
}

// What is renamed must be on the disk before, and the rename itself after: otherwise a power cut can leave a name
// without its bytes.
func TestSyncOrder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "last")
	d := &faultyDisk{step: 1 << 30, noExchange: true}
	if err := saveDir(d, dir, partNames, version(d, "v")); err != nil {
		t.Fatal(err)
	}
	at := func(what string) int { return slices.Index(d.log, what) }
	swap := at("rename")
	for _, name := range append(slices.Clone(partNames), MarkerName) {
		if s := at("sync " + name); s < 0 || s > swap {
			t.Errorf("%s is synced at step %d, the swap is step %d", name, s, swap)
		}
	}
	if s := at("sync folder"); s < 0 || s > swap {
		t.Errorf("the new folder is synced at step %d, the swap is step %d", s, swap)
	}
	if d.log[swap+1] != "sync folder" {
		t.Errorf("after the swap: %v", d.log[swap+1:])
	}
}

func TestSaveFileCallbackError(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "b", "x")
	want := errors.New("boom")
	if err := SaveFile(path, func(w io.Writer) error { io.WriteString(w, "half"); return want }); !errors.Is(err, want) {
		t.Fatal(err)
	}
	if exists(path) || len(hidden(t, filepath.Dir(path))) > 0 {
		t.Error("something was left")
	}
	if err := SaveFile(path, writeString("whole")); err != nil {
		t.Fatal(err)
	}
	if err := SaveFile(filepath.Dir(path), writeString("x")); err == nil {
		t.Error("a folder was replaced by a file")
	}
}

func TestRelativeAndLinkedPaths(t *testing.T) {
	root := t.TempDir()
	t.Chdir(root)
	if err := SaveDir("out", partNames, version(osDisk{}, "a")); err != nil || versionAt(t, "out") != "a" {
		t.Fatal(err)
	}
	if err := os.Symlink("out", "link"); err != nil {
		t.Skip("no symbolic links here:", err)
	}
	if err := SaveDir("link", partNames, version(osDisk{}, "b")); err != nil {
		t.Fatal(err)
	}
	if info := must(os.Lstat("link")); info.Mode()&fs.ModeSymlink == 0 || versionAt(t, "out") != "b" {
		t.Error("the link was replaced instead of what it points to")
	}
}

func writeString(s string) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := io.Copy(w, bytes.NewReader([]byte(s)))
		return err
	}
}

// canExchange says whether the file system under the test's folder swaps two folders in one step.
func canExchange(t *testing.T) bool {
	t.Helper()
	root := t.TempDir()
	a, b := filepath.Join(root, "a"), filepath.Join(root, "b")
	if errors.Join(os.Mkdir(a, 0o777), os.Mkdir(b, 0o777)) != nil {
		return false
	}
	return exchange(a, b) == nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
