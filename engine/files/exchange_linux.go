package files

import "golang.org/x/sys/unix"

// exchange swaps two names in one step (renameat2 with RENAME_EXCHANGE, Linux 3.15). File systems that lack it say EINVAL.
func exchange(a, b string) error {
	return unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE)
}
