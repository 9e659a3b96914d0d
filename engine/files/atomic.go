package files

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// SaveFile replaces the file at path by what write produces, or leaves it as it was. The bytes go to a temporary name in the
// same folder, are synced, and take the name by one rename; then the folder is synced. Missing parent folders are made.
// An error of write, or of the file system (no space left, for one), removes the temporary file and is returned.
func SaveFile(path string, write func(w io.Writer) error) error {
	return saveFile(osDisk{}, path, write)
}

func saveFile(d disk, path string, write func(w io.Writer) error) error {
	path, err := settle(path)
	if err != nil {
		return err
	}
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return &ForeignError{Path: path, Reason: "is not a regular file, so it is not replaced"}
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return err
	}
	tmp := tempName(path)
	if err := writeSynced(d, tmp, write); err != nil {
		d.remove(tmp)
		return fmt.Errorf("writing %s, which is left as it was: %w", path, err)
	}
	if err := d.rename(tmp, path); err != nil {
		d.remove(tmp)
		return fmt.Errorf("writing %s, which is left as it was: %w", path, err)
	}
	if err := d.syncDir(filepath.Dir(path)); err != nil {
		return fmt.Errorf("%s is written, but may not survive a power cut: %w", path, err)
	}
	return nil
}

func writeSynced(d disk, path string, write func(w io.Writer) error) error {
	f, err := d.create(path)
	if err != nil {
		return err
	}
	b := bufio.NewWriterSize(f, 1<<16)
	if err = write(b); err == nil {
		err = b.Flush()
	}
	if err == nil {
		err = f.Sync() // a full disk may show only here, or at Close
	}
	return errors.Join(err, f.Close())
}

// SaveDir replaces the model folder dir by what write puts into tmp, or leaves it as it was. SaveDir adds the marker,
// carries over files in the old folder that mito did not write, and syncs every file and folder before it swaps. names are
// the files that it may replace in a folder of mito's that has no marker to list them.
//
// A non-empty folder cannot be renamed over. Linux can exchange two names in one step, so there dir is complete at every
// moment, the old or the new. Elsewhere dir is first renamed to ".<base>.old", then the new folder takes its name;
// a process killed between the two leaves no dir, but the complete old folder, which [Resolve] finds and [Recover]
// puts back. What else a killed process leaves is hidden and temporary, and the next SaveDir or Recover removes it.
//
// The caller holds a lock that covers dir: [LockBeside] it, or [LockInside] the run that it is part of. Several folders that belong together (best and last) are written one after
// the other, the one that the other's state mentions first.
//
// Errors: *ForeignError when dir holds something that is not a model of mito; whatever write or the file system says.
func SaveDir(dir string, names []string, write func(tmp string) error) error {
	return saveDir(osDisk{}, dir, names, write)
}

func saveDir(d disk, dir string, names []string, write func(tmp string) error) error {
	dir, err := settle(dir)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o777); err != nil {
		return err
	}
	if err := CheckOutput(dir, KindModel); err != nil { // before anything in it is tidied
		return err
	}
	if err := recoverDir(d, dir); err != nil {
		return err
	}
	old, err := inspect(dir)
	if err == nil {
		err = old.admits(KindModel)
	}
	if err != nil {
		return err
	}
	old.unlisted = names
	tmp := tempName(dir)
	if err := fill(d, dir, tmp, old, write); err != nil {
		d.remove(tmp)
		return fmt.Errorf("writing %s, which is left as it was: %w", dir, err)
	}
	if err := swap(d, dir, tmp, old.exists); err != nil {
		d.remove(tmp)
		return fmt.Errorf("writing %s, which is left as it was: %w", dir, err)
	}
	if err := d.syncDir(filepath.Dir(dir)); err != nil {
		return fmt.Errorf("%s is written, but may not survive a power cut: %w", dir, err)
	}
	// The new folder is in place and durable. What cannot be removed now is removed by the next Recover.
	d.remove(tmp)
	d.remove(oldName(dir))
	return nil
}

// fill makes the whole new folder under its temporary name, synced.
func fill(d disk, dir, tmp string, old ownership, write func(tmp string) error) error {
	if err := d.mkdir(tmp); err != nil {
		return err
	}
	if err := write(tmp); err != nil {
		return err
	}
	files, err := listFiles(tmp)
	if err != nil {
		return err
	}
	if old.exists {
		if err := carryOver(d, dir, tmp, old, files); err != nil {
			return err
		}
	}
	text, err := EncodeJSON(&Marker{Version: markerVersion, Kind: KindModel, Files: files})
	if err != nil {
		return err
	}
	err = writeSynced(d, filepath.Join(tmp, MarkerName), func(w io.Writer) error {
		_, err := w.Write(text)
		return err
	})
	if err != nil {
		return err
	}
	return syncTree(d, tmp)
}

// swap puts tmp in the place of dir. After an exchange tmp holds the old content.
func swap(d disk, dir, tmp string, exists bool) error {
	if !exists {
		return d.rename(tmp, dir)
	}
	if d.exchange(tmp, dir) == nil {
		return nil
	}
	aside := oldName(dir)
	if err := d.rename(dir, aside); err != nil {
		return err
	}
	if err := d.rename(tmp, dir); err != nil {
		return errors.Join(err, d.rename(aside, dir))
	}
	return nil
}

// carryOver links into tmp what the user put into the old folder, and refuses when mito would write over it.
func carryOver(d disk, dir, tmp string, old ownership, files []string) error {
	fresh := make(map[string]bool, len(files))
	for _, f := range files {
		fresh[f] = true
	}
	return filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		name := filepath.ToSlash(rel)
		target := filepath.Join(tmp, rel)
		switch {
		case e.IsDir() && isTemp(e.Name()):
			return fs.SkipDir
		case isTemp(e.Name()) || isLock(e.Name()) || old.wrote(name):
			return nil
		case fresh[name]:
			return &ForeignError{Path: path, Reason: "is not a file that mito wrote"}
		case e.IsDir():
			if info, err := os.Stat(target); err == nil && info.IsDir() {
				return nil
			}
			return d.mkdir(target)
		case e.Type()&fs.ModeSymlink != 0:
			to, err := os.Readlink(path)
			if err != nil {
				return err
			}
			return os.Symlink(to, target)
		case !e.Type().IsRegular():
			return &ForeignError{Path: path, Reason: "is neither a file nor a folder"}
		}
		return d.link(path, target)
	})
}

func syncTree(d disk, root string) error {
	return filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case e.IsDir():
			return d.syncDir(path)
		case e.Type().IsRegular():
			return d.syncFile(path)
		}
		return nil
	})
}

func listFiles(root string) ([]string, error) {
	var files []string
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		if rel != MarkerName {
			files = append(files, filepath.ToSlash(rel))
		}
		return nil
	})
	return files, err
}

// settle makes a path absolute and follows it when it is a link, so that a temporary name beside it is on its file system.
func settle(path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	if real, err := filepath.EvalSymlinks(abs); err == nil {
		abs = real
	}
	return abs, nil
}
