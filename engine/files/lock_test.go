package files

import (
	"bufio"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const lockChildVar = "MITO_TEST_LOCK"

func needLocks(t *testing.T) {
	t.Helper()
	l, err := LockInside(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Release()
	if errors.Is(lockFile(l.f), errors.ErrUnsupported) {
		t.Skip("no locks here")
	}
}

// holder starts a process that locks a path and keeps the lock until it is killed.
func holder(t *testing.T, how, path string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestLockChild$")
	cmd.Env = append(os.Environ(), lockChildVar+"="+how+path)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "locked\n" {
		t.Fatalf("the other process says %q, %v", line, err)
	}
	return cmd
}

// TestLockChild is the other process of the tests below.
func TestLockChild(t *testing.T) {
	what := os.Getenv(lockChildVar)
	if what == "" {
		t.Skip("runs as a child only")
	}
	take := LockBeside
	if what[0] == 'i' {
		take = LockInside
	}
	if _, err := take(what[1:]); err != nil {
		t.Fatal(err)
	}
	os.Stdout.WriteString("locked\n")
	time.Sleep(time.Minute)
}

// A second process is told who is there; the lock of a killed one is free, and nothing stays behind.
func TestLockOfAnotherProcess(t *testing.T) {
	needLocks(t)
	for how, take := range map[string]func(string) (*Lock, error){"i": LockInside, "b": LockBeside} {
		parent := t.TempDir()
		dir := filepath.Join(parent, "out")
		if err := os.Mkdir(dir, 0o777); err != nil {
			t.Fatal(err)
		}
		other := holder(t, how, dir)
		var used *InUseError
		if _, err := take(dir); !errors.As(err, &used) || used.PID != other.Process.Pid || filepath.Base(used.Path) != "out" {
			t.Errorf("%s: got %v, want in use by %d", how, err, other.Process.Pid)
		}
		if how == "i" {
			if err := CheckInside(dir); !errors.As(err, &used) || used.PID != other.Process.Pid {
				t.Errorf("check: %v", err)
			}
		}
		other.Process.Kill()
		other.Wait()
		if how == "i" {
			if err := CheckInside(dir); err != nil {
				t.Errorf("check after its death: %v", err)
			}
		}
		l, err := take(dir)
		if err != nil {
			t.Fatalf("%s: after its death: %v", how, err)
		}
		if err := l.Release(); err != nil {
			t.Error(err)
		}
		if left := append(hidden(t, parent), hidden(t, dir)...); len(left) > 0 {
			t.Errorf("%s: left %v", how, left)
		}
	}
}

// However often the file comes and goes, one holds the lock at a time.
func TestLockExcludes(t *testing.T) {
	needLocks(t)
	dir := t.TempDir()
	var inside, got atomic.Int32
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for n := 0; n < 50; {
				l, err := LockInside(dir)
				if err != nil {
					var used *InUseError
					if !errors.As(err, &used) {
						t.Error(err)
					}
					continue
				}
				if inside.Add(1) != 1 {
					t.Error("two hold the lock")
				}
				got.Add(1)
				n++
				runtime.Gosched()
				inside.Add(-1)
				if err := l.Release(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if got.Load() != 200 || len(hidden(t, dir)) > 0 {
		t.Errorf("locked %d times, left %v", got.Load(), hidden(t, dir))
	}
}

func TestLockIsNoForeignFile(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, lockSuffix), 0o777); err != nil {
		t.Fatal(err)
	}
	var foreign *ForeignError
	if _, err := LockInside(dir); !errors.As(err, &foreign) {
		t.Errorf("got %v, want a *ForeignError", err)
	}
}

// Temporary files are removed when mito made them and no process is at work on them, and only then.
func TestOnlyDeadTemporariesAreRemoved(t *testing.T) {
	needLocks(t)
	dir := tree(t, map[string]string{
		"mito.json":                         `{"mito":1,"kind":"run"}`,
		".dead.mito-tmp-0123456789abcdef/x": "", ".file.mito-tmp-0123456789abcdef": "",
		".int8.mito-tmp-0123456789abcdef/x": "",
		".notes.tmp-0123456789abcdef":       "mine", ".x.mito-tmp-short": "mine", "y.mito-tmp-0123456789abcdef": "mine",
	})
	other := holder(t, "b", filepath.Join(dir, "int8"))
	has := func(name string) bool { return exists(filepath.Join(dir, name)) }
	if err := MarkRun(dir); err != nil {
		t.Fatal(err)
	}
	if has(".dead.mito-tmp-0123456789abcdef") || has(".file.mito-tmp-0123456789abcdef") {
		t.Error("what a killed process left is still there")
	}
	for _, name := range []string{".notes.tmp-0123456789abcdef", ".x.mito-tmp-short", "y.mito-tmp-0123456789abcdef"} {
		if !has(name) {
			t.Errorf("%s is gone", name)
		}
	}
	if !has(".int8.mito-tmp-0123456789abcdef/x") {
		t.Error("what a running process is writing was removed")
	}
	other.Process.Kill()
	other.Wait()
	if err := MarkRun(dir); err != nil || has(".int8.mito-tmp-0123456789abcdef") {
		t.Errorf("after its death: %v", err)
	}
}
