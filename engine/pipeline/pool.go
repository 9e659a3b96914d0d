package pipeline

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"mito/backend"
	"mito/engine/compress/search"
	"mito/engine/files"
)

// Pool runs trials, in this process and elsewhere.
type Pool interface {
	// Run has each trial run once. here runs one in this process; take keeps what one made elsewhere, as Trials.Run gives it; tell
	// is told how many are done and, for people, who is at what.
	Run(ctx context.Context, list []search.Trial, here func(context.Context, search.Trial) error, take func(search.Trial, io.Reader) error,
		tell func(done int, note string)) error
}

// pool has the pool run what is not on the disk yet.
func (s *searcher) pool(ctx context.Context, list []search.Trial, steps int, p Progress) error {
	if s.Pool == nil {
		return nil
	}
	var left []search.Trial
	for _, t := range list {
		t.Steps = steps
		if _, ok, err := search.Load(s.trials, t); err != nil {
			return err
		} else if !ok {
			left = append(left, t)
		}
	}
	if len(left) == 0 {
		return nil
	}
	return stage(p, fmt.Sprintf("%d trials of %d steps", len(left), steps), len(left), func() (string, error) {
		here := func(ctx context.Context, t search.Trial) error {
			if err := s.mine(t); err != nil {
				return err
			}
			_, err := s.try(ctx, t)
			return err
		}
		take := func(t search.Trial, r io.Reader) error { return unpackTrial(s.trials, t, r) }
		return fmt.Sprintf("%d trials", len(left)), s.Pool.Run(ctx, left, here, take, p.Update)
	})
}

// mine refuses a trial of another search: a queue may hold some of one that was begun with other files or flags.
func (s *searcher) mine(t search.Trial) error {
	if b := s.base; t.Parent != b.Parent || t.Data != b.Data || t.Recipe != b.Recipe {
		return fmt.Errorf("search: trial %s has another parent, other data or another recipe than this process was given: the files or the "+
			"flags of the search changed while it ran", t.Name())
	}
	return nil
}

// Trials runs trials of a search that another process leads.
type Trials struct{ s *searcher }

// OpenTrials prepares to run trials of a search with the same options, in a folder of this process's.
func OpenTrials(ctx context.Context, b backend.Backend, w *Workload, o SearchOptions) (*Trials, error) {
	s, parent, err := newSearcher(b, w, o)
	if err != nil {
		return nil, err
	}
	return &Trials{s}, s.prepare(ctx, parent)
}

// Run runs a trial and gives its outcome and its student as a tar, after which nothing of it is left here. A trial of other data,
// another parent or another recipe is refused.
func (t *Trials) Run(ctx context.Context, trial search.Trial) (io.ReadCloser, error) {
	if err := t.s.mine(trial); err != nil {
		return nil, err
	}
	o, err := t.s.try(ctx, trial)
	if err != nil {
		return nil, err
	}
	r, w := io.Pipe()
	go func() {
		err := packTrial(t.s.trials, o, w)
		// The search keeps it, and this process may run many.
		w.CloseWithError(errors.Join(err, os.RemoveAll(filepath.Join(t.s.trials, o.Name))))
	}()
	return r, nil
}

// mostPacked bounds the files of a trial, which come over a network.
const mostPacked = 1 << 32

// packTrial writes the outcome of a trial and its student as a tar.
func packTrial(trials string, o search.Outcome, w io.Writer) error {
	out := tar.NewWriter(w)
	root := filepath.Join(trials, o.Name)
	names := []string{search.OutcomeFile}
	err := filepath.WalkDir(filepath.Join(root, filepath.FromSlash(o.Student)), func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			name, e := filepath.Rel(root, path)
			names, err = append(names, filepath.ToSlash(name)), e
		}
		return err
	})
	for _, name := range names {
		if err == nil {
			err = packFile(out, filepath.Join(root, filepath.FromSlash(name)), name)
		}
	}
	return errors.Join(err, out.Close())
}

func packFile(out *tar.Writer, path, name string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := out.WriteHeader(&tar.Header{Name: name, Mode: 0o666, Size: int64(len(b))}); err != nil {
		return err
	}
	_, err = out.Write(b)
	return err
}

// unpackTrial makes the folder of a trial of what packTrial wrote. It is there as a whole or not at all.
func unpackTrial(trials string, t search.Trial, r io.Reader) error {
	if err := os.MkdirAll(trials, 0o777); err != nil {
		return err
	}
	half, err := os.MkdirTemp(trials, ".half-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(half)
	if err := Unpack(half, r, mostPacked); err != nil {
		return fmt.Errorf("search: trial %s: %w", t.Name(), err)
	}
	dir := filepath.Join(trials, t.Name())
	if err := os.RemoveAll(dir); err != nil { // of a trial that this process began and did not end
		return err
	}
	if err := os.Rename(half, dir); err != nil {
		return err
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		return err
	}
	_, ok, err := search.Load(trials, t)
	if err == nil && !ok {
		err = fmt.Errorf("search: trial %s came without an outcome", t.Name())
	}
	return err
}

// Pack writes files and folders as a tar, each under a name. What is hidden in a folder stays out. The same files make the same bytes.
func Pack(w io.Writer, list map[string]string) error {
	out := tar.NewWriter(w)
	for _, name := range slices.Sorted(maps.Keys(list)) {
		from, err := filepath.EvalSymlinks(list[name]) // WalkDir does not follow one
		if err != nil {
			return errors.Join(err, out.Close())
		}
		if err := filepath.WalkDir(from, func(p string, d fs.DirEntry, err error) error {
			hidden := p != from && strings.HasPrefix(d.Name(), ".")
			if err == nil && hidden && d.IsDir() {
				return fs.SkipDir
			}
			if err != nil || hidden || d.IsDir() {
				return err
			}
			inside, err := filepath.Rel(from, p)
			if err != nil {
				return err
			}
			return packFile(out, p, path.Join(name, filepath.ToSlash(inside)))
		}); err != nil {
			return errors.Join(err, out.Close())
		}
	}
	return out.Close()
}

// Unpack writes the files of a tar below a folder, most bytes in all. Names that lead out of it, links and devices are refused.
func Unpack(dir string, r io.Reader, most int64) error {
	whole := &zeros{r: r}
	in := tar.NewReader(whole)
	for {
		h, err := in.Next()
		if errors.Is(err, io.EOF) && whole.n < tarEnd {
			err = io.ErrUnexpectedEOF
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return files.Errorf(files.ErrSyntax, "tar", "%v", err)
		}
		name := filepath.FromSlash(h.Name)
		if most -= h.Size; h.Typeflag != tar.TypeReg || !filepath.IsLocal(name) || strings.ContainsRune(h.Name, 0) || h.Size < 0 || most < 0 {
			return files.Errorf(files.ErrRange, "tar", "holds %q, which is no file below a folder, or too large", h.Name)
		}
		to := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(to), 0o777); err != nil {
			return err
		}
		f, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o666)
		if err != nil {
			return err
		}
		_, err = io.Copy(f, in)
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
	}
}

// tarEnd is the number of zero bytes that end a tar. Package tar takes the end of a file for that of a tar too.
const tarEnd = 1024

// zeros counts the zero bytes at the end of what was read.
type zeros struct {
	r io.Reader
	n int
}

func (z *zeros) Read(p []byte) (int, error) {
	n, err := z.r.Read(p)
	if rest := len(bytes.TrimRight(p[:n], "\x00")); rest > 0 {
		z.n = n - rest
	} else {
		z.n += n
	}
	return n, err
}
