package files

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"syscall"
)

// disk is what an atomic write asks of the file system. Tests replace it to fail or stop at any step.
type disk interface {
	create(path string) (diskFile, error) // fails if the path exists
	mkdir(path string) error
	link(from, to string) error
	rename(from, to string) error
	exchange(a, b string) error // swaps two folders in one step, or fails and changes nothing
	syncDir(path string) error
	syncFile(path string) error
	remove(path string) error // with all that it holds
}

type diskFile interface {
	io.Writer
	Sync() error
	Close() error
}

type osDisk struct{}

func (osDisk) create(path string) (diskFile, error) {
	return os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
}
func (osDisk) mkdir(path string) error      { return os.Mkdir(path, 0o777) }
func (osDisk) rename(from, to string) error { return os.Rename(from, to) }
func (osDisk) exchange(a, b string) error   { return exchange(a, b) }
func (osDisk) remove(path string) error     { return os.RemoveAll(path) }

// link makes a second name for a file, or a copy where the file system has no hard links.
func (osDisk) link(from, to string) error {
	if os.Link(from, to) == nil {
		return nil
	}
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

func (osDisk) syncFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, os.ErrPermission) { // a read-only file that was linked in was synced by whoever wrote it
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// syncDir makes the names in a folder durable. Windows and WebAssembly cannot open a folder for that, and some network
// file systems refuse with EINVAL; there the file system itself orders the renames.
func (osDisk) syncDir(path string) error {
	if runtime.GOOS == "windows" || runtime.GOOS == "js" || runtime.GOOS == "wasip1" {
		return nil
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	err = f.Sync()
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, errors.ErrUnsupported) {
		err = nil
	}
	return errors.Join(err, f.Close())
}

var tempPattern = regexp.MustCompile(`^\.(.+)\.mito-tmp-[0-9a-f]{16}$`)

// tempName is a new hidden name beside path: ".<base>.mito-tmp-<16 hexadecimal digits>". Being in the same folder, it is on
// the same file system, so that a rename is atomic. It says who made it, because what a killed process left is removed.
func tempName(path string) string {
	var b [8]byte
	rand.Read(b[:]) // never fails, as documented
	return filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".mito-tmp-"+hex.EncodeToString(b[:]))
}

func isTemp(base string) bool { return tempPattern.MatchString(base) }

// tempBase is the base name that a temporary name was made for.
func tempBase(temp string) string { return tempPattern.FindStringSubmatch(temp)[1] }

// oldName is where SaveDir puts the old folder for a moment, on systems that cannot exchange two folders.
func oldName(dir string) string {
	return filepath.Join(filepath.Dir(dir), "."+filepath.Base(dir)+".old")
}
