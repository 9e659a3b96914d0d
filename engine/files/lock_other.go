//go:build !darwin && !dragonfly && !freebsd && !linux && !netbsd && !openbsd && !windows

package files

import (
	"errors"
	"os"
)

func lockFile(*os.File) error { return errors.ErrUnsupported }

// Release removes the file.
func (l *Lock) Release() error { return errors.Join(l.f.Close(), os.Remove(l.path)) }
