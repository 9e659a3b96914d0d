package files

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// lockFile locks one byte far behind the end: a lock of Windows keeps others from reading what it covers, and they are to
// read the number of the process.
func lockFile(f *os.File) error {
	err := windows.LockFileEx(windows.Handle(f.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0,
		&windows.Overlapped{OffsetHigh: 1 << 30})
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) || errors.Is(err, windows.ERROR_IO_PENDING) {
		return errLocked
	}
	return err
}

// Release gives the lock back. An open file cannot be removed here; where another process has opened it by now, it stays.
func (l *Lock) Release() error {
	err := l.f.Close()
	_ = os.Remove(l.path)
	return err
}
