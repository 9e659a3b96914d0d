//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package files

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// lockFile locks an open file or says errLocked at once. Network file systems without locks say one of the other errors.
func lockFile(f *os.File) error {
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EWOULDBLOCK):
			return errLocked
		case errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.ENOLCK):
			return errors.ErrUnsupported
		}
		return err
	}
}

// Release gives the lock back. The file goes while it is still locked: whoever opened it in between finds that it is no
// longer the one of that name, and tries again.
func (l *Lock) Release() error { return errors.Join(os.Remove(l.path), l.f.Close()) }
