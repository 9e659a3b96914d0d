//go:build !linux

package files

import "errors"

func exchange(_, _ string) error { return errors.ErrUnsupported }
