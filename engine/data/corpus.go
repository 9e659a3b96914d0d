package data

import (
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"mito/backend/memlimit"
)

// MaxCorpusBytes bounds a corpus, which is held in memory.
const MaxCorpusBytes = 1 << 31

// Corpus is a text with the files that it came from.
type Corpus struct {
	Path  string
	Text  string // UTF-8
	Files []File
}

// File is one file of a corpus.
type File struct {
	Name   string // relative to the corpus, with slashes; the base name if the corpus is a file
	Offset int    // in Corpus.Text
	Bytes  int
}

// memoryPerByte is how many bytes of memory a byte of a corpus takes at least: itself and, as a token of its own, 4 more.
const memoryPerByte = 5

// freeMemory is replaced by tests.
var freeMemory = memlimit.Process

// LoadCorpus reads a text file, or every file of a folder and its subfolders in
// the order of their names, hidden ones (names that begin with a dot) left out.
// Files are joined as they are, with a line end between them where one does not
// end with it. All of them must be UTF-8 text: skipping one in silence would
// make a different corpus. What is larger than MaxCorpusBytes, or than the
// memory that is free, is refused before it is read. Errors are *CorpusError;
// one that is about a missing file wraps fs.ErrNotExist.
func LoadCorpus(path string) (*Corpus, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fileError(path, err)
	}
	c := &Corpus{Path: path}
	names := []string{""}
	if info.IsDir() {
		if names, err = textFiles(path); err != nil {
			return nil, err
		}
	}
	size, err := sizeOf(path, names)
	if err != nil {
		return nil, err
	}
	var text strings.Builder
	text.Grow(int(size) + len(names)) // with the line ends between files
	for _, name := range names {
		if s := text.String(); len(s) > 0 && s[len(s)-1] != '\n' {
			text.WriteByte('\n')
		}
		offset := text.Len()
		if err := readText(&text, filepath.Join(path, filepath.FromSlash(name))); err != nil {
			return nil, err
		}
		if name == "" {
			name = filepath.Base(path)
		}
		c.Files = append(c.Files, File{Name: name, Offset: offset, Bytes: text.Len() - offset})
	}
	c.Text = text.String()
	if strings.TrimSpace(c.Text) == "" {
		return nil, &CorpusError{path, -1, ErrEmpty, "give a text file, or a folder with text files in it"}
	}
	return c, nil
}

// sizeOf adds up the files of a corpus and refuses those that cannot be read to their end, or not be held in memory.
func sizeOf(root string, names []string) (size int64, err error) {
	for _, name := range names {
		path := filepath.Join(root, filepath.FromSlash(name))
		info, err := os.Stat(path)
		if err != nil {
			return 0, fileError(path, err)
		}
		// Opening a pipe would wait for a writer, and a device may never end.
		if !info.Mode().IsRegular() {
			return 0, &CorpusError{path, -1, ErrNotRegular, "copy its text into a file"}
		}
		size += min(info.Size(), math.MaxInt64-size)
	}
	if size > MaxCorpusBytes {
		return 0, &CorpusError{root, -1, ErrTooLarge, fmt.Sprintf("it has %s, a corpus may have %s: take a part of it",
			memlimit.Format(size), memlimit.Format(MaxCorpusBytes))}
	}
	if m, known := freeMemory(); known && size > m.Free.Free/memoryPerByte {
		return 0, &CorpusError{root, -1, ErrTooLarge, fmt.Sprintf("its %s need at least %s of memory as text and tokens, and of %s %s are free: "+
			"take a part of it, %s at most", memlimit.Format(size), memlimit.Format(size*memoryPerByte), m.Free.Source,
			memlimit.Format(m.Free.Free), memlimit.Format(m.Free.Free/memoryPerByte))}
	}
	return size, nil
}

// textFiles lists the files of a corpus folder, sorted by name.
func textFiles(root string) (names []string, err error) {
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return fileError(path, err)
		}
		if path == root {
			return nil
		}
		if strings.HasPrefix(d.Name(), ".") {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if d.IsDir() {
			return nil
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return fileError(path, err)
		}
		names = append(names, filepath.ToSlash(rel))
		return nil
	})
	slices.Sort(names)
	return names, err
}

// readText appends a file to text. A file that grows meanwhile ends at the bound of a corpus.
func readText(text *strings.Builder, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fileError(path, err)
	}
	defer f.Close()
	from, limit := text.Len(), MaxCorpusBytes-int64(text.Len())
	n, err := io.Copy(text, io.LimitReader(f, limit+1))
	if err != nil {
		return fileError(path, err)
	}
	if n > limit {
		return &CorpusError{path, -1, ErrTooLarge, fmt.Sprintf("a corpus may have %s: take a part of it", memlimit.Format(MaxCorpusBytes))}
	}
	if offset, err := checkText(text.String()[from:]); err != nil {
		advice := "convert it to UTF-8"
		if err == ErrBinary {
			advice = "give text; if it is UTF-16, convert it to UTF-8"
		}
		return &CorpusError{path, offset, err, advice}
	}
	return nil
}

// checkText returns the first byte that no text has, with ErrBinary or
// ErrNotUTF8. Which of the two decides the advice only: a zero byte is valid
// UTF-8 and yet the surest sign of a binary file.
func checkText(data string) (offset int64, err error) {
	if i := strings.IndexByte(data, 0); i >= 0 {
		return int64(i), ErrBinary
	}
	for i := 0; i < len(data); {
		r, n := utf8.DecodeRuneInString(data[i:])
		if r == utf8.RuneError && n == 1 {
			return int64(i), ErrNotUTF8
		}
		i += n
	}
	return -1, nil
}

func fileError(path string, err error) error {
	// The path is already in the message.
	if e, ok := err.(*fs.PathError); ok {
		err = e.Err
	}
	return &CorpusError{path, -1, unreadable{err}, "check the path and its permissions"}
}

// unreadable makes "corpus x cannot be read: …" of an error of the file system.
type unreadable struct{ err error }

func (u unreadable) Error() string { return "cannot be read, " + u.err.Error() }
func (u unreadable) Unwrap() error { return u.err }
