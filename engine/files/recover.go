package files

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Recover tidies what a killed process left of SaveDir and SaveFile: it puts dir back when the swap was interrupted, and
// removes temporary names beside and inside it. Call it before resuming a run; SaveDir does so itself. The holder of the
// lock may call it, readers use [Resolve].
func Recover(dir string) error { return recoverDir(osDisk{}, dir) }

func recoverDir(d disk, dir string) error {
	dir, err := settle(dir)
	if err != nil {
		return err
	}
	parent, base := filepath.Split(dir)
	if err := recoverSwap(d, dir); err != nil {
		return err
	}
	if err := removeTemps(d, parent, "."+base+".mito-tmp-"); err != nil {
		return err
	}
	return removeTemps(d, dir, "")
}

// recoverSwap ends a swap that was interrupted. The old folder goes only when a checkpoint stands in its place.
func recoverSwap(d disk, dir string) error {
	aside := oldName(dir)
	old, err := inspect(aside)
	if err != nil || !old.ours() {
		return err
	}
	now, err := inspect(dir)
	if err != nil {
		return err
	}
	switch {
	case now.ours():
		if err := d.remove(aside); err != nil {
			return fmt.Errorf("removing an old checkpoint: %w", err)
		}
		return nil
	case now.exists && !now.empty:
		return &ForeignError{Path: dir, Reason: now.foreign}
	case now.exists:
		if err := d.remove(dir); err != nil {
			return fmt.Errorf("putting %s back: %w", dir, err)
		}
	}
	if err := d.rename(aside, dir); err != nil {
		return fmt.Errorf("putting %s back: %w", dir, err)
	}
	if err := d.syncDir(filepath.Dir(dir)); err != nil {
		return fmt.Errorf("putting %s back: %w", dir, err)
	}
	return nil
}

// removeTemps removes the temporary names in a folder that begin with prefix, but for those of a process that is at work.
func removeTemps(d disk, dir, prefix string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil // missing or no folder: nothing of ours in it
	}
	for _, e := range entries {
		if name := e.Name(); isTemp(name) && strings.HasPrefix(name, prefix) {
			var used *InUseError
			output := filepath.Join(dir, tempBase(name))
			if errors.As(checkLock(besideName(output), output), &used) && used.PID != os.Getpid() {
				continue
			}
			if err := d.remove(filepath.Join(dir, name)); err != nil {
				return fmt.Errorf("removing what a killed process left: %w", err)
			}
		}
	}
	return nil
}

// Resolve returns where the content of dir lies at this moment: dir itself, or its hidden old name when a swap was
// interrupted. It changes nothing. Errors: fs.ErrNotExist.
func Resolve(dir string) (string, error) {
	_, err := os.Stat(dir)
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return dir, err
	}
	settled, err2 := settle(dir)
	if err2 != nil {
		return "", err2
	}
	aside := oldName(settled)
	if own, err := inspect(aside); err == nil && own.exists && own.ours() {
		return aside, nil
	}
	return "", err
}
