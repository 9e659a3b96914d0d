package files

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

const lockSuffix = ".mito-lock"

// errLocked is what lockFile says where another holds the lock.
var errLocked = errors.New("locked")

// Lock is the right to write to one output. The system takes it back when the process ends, however it ends. The file
// that carries it holds the number of the process and is removed by Release; one that a killed process left locks nobody
// out. On a file system that knows no locks every lock is granted.
type Lock struct {
	f    *os.File
	path string
}

// LockInside locks a folder that is there by a file in it: for a folder that stays, while things in it change.
// Errors: *InUseError, those of the file system.
func LockInside(dir string) (*Lock, error) {
	dir, err := settle(dir)
	if err != nil {
		return nil, err
	}
	return lock(filepath.Join(dir, lockSuffix), dir)
}

// LockBeside locks a path by a file beside it, made with its parent folders: for a file or folder that is replaced as a
// whole, or is not there yet. Errors: as LockInside.
func LockBeside(path string) (*Lock, error) {
	path, err := settle(path)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return nil, err
	}
	return lock(besideName(path), path)
}

func besideName(path string) string {
	return filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+lockSuffix)
}

// isLock reports whether a base name is that of a lock.
func isLock(base string) bool {
	return strings.HasPrefix(base, ".") && strings.HasSuffix(base, lockSuffix)
}

func lock(path, output string) (*Lock, error) {
	for {
		f, err := openLock(path, os.O_RDWR|os.O_CREATE)
		if err != nil {
			return nil, err
		}
		switch err := lockFile(f); {
		case errors.Is(err, errLocked):
			return nil, errors.Join(inUse(f, output), f.Close())
		case err != nil && !errors.Is(err, errors.ErrUnsupported):
			return nil, errors.Join(&fs.PathError{Op: "lock", Path: path, Err: err}, f.Close())
		}
		if !isAt(f, path) { // its holder removed it between our opening and our locking
			f.Close()
			continue
		}
		err = f.Truncate(0)
		if err == nil {
			_, err = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
		}
		if err != nil {
			return nil, errors.Join(err, (&Lock{f, path}).Release())
		}
		return &Lock{f, path}, nil
	}
}

// openLock opens the file of a lock. What is no regular file is not mito's and not waited for.
func openLock(path string, flag int) (*os.File, error) {
	if info, err := os.Lstat(path); err == nil && !info.Mode().IsRegular() {
		return nil, &ForeignError{Path: path, Reason: "is not a regular file, so it cannot be a lock"}
	}
	return os.OpenFile(path, flag, 0o666)
}

func isAt(f *os.File, path string) bool {
	a, err := f.Stat()
	if err != nil {
		return false
	}
	b, err := os.Lstat(path)
	return err == nil && os.SameFile(a, b)
}

// inUse reads who holds a lock. A holder that has only just got it may not have written its number yet.
func inUse(f *os.File, output string) *InUseError {
	e := &InUseError{Path: output}
	for range 20 {
		text, err := io.ReadAll(io.NewSectionReader(f, 0, 32))
		if pid, bad := strconv.Atoi(strings.TrimSpace(string(text))); err == nil && bad == nil && pid > 0 {
			e.PID = pid
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	return e
}

// CheckInside reports whether another process holds the lock that LockInside takes. It changes nothing.
// Errors: *InUseError, those of the file system.
func CheckInside(dir string) error {
	dir, err := settle(dir)
	if err != nil {
		return err
	}
	return checkLock(filepath.Join(dir, lockSuffix), dir)
}

// checkLock also says in use where this process itself is the holder; the error has its number.
func checkLock(path, output string) error {
	f, err := openLock(path, os.O_RDWR)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close() // which also ends the lock, if it was free
	if errors.Is(lockFile(f), errLocked) {
		return inUse(f, output)
	}
	return nil
}
