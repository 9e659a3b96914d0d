package pipeline

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"mito/engine/compress/search"
	"mito/engine/train"
)

// workers is a pool whose trials are run by processes that share nothing with the search but its options.
type workers struct {
	list []*Trials
	ran  map[string]int
	left error // of a trial of another search that this process was given
}

func (w *workers) Run(ctx context.Context, list []search.Trial, here func(context.Context, search.Trial) error,
	take func(search.Trial, io.Reader) error, tell func(int, string)) error {
	other := list[0]
	other.Recipe = "other"
	w.left = here(ctx, other)
	for i, t := range list {
		w.ran[t.Name()]++
		if i%(len(w.list)+1) == 0 {
			if err := here(ctx, t); err != nil {
				return err
			}
			continue
		}
		made, err := w.list[i%len(w.list)].Run(ctx, t)
		if err != nil {
			return err
		}
		err = take(t, made)
		_, rest := io.Copy(io.Discard, made)
		if err = errors.Join(err, rest, made.Close()); err != nil {
			return err
		}
		if _, err := os.Stat(filepath.Join(w.list[i%len(w.list)].s.trials, t.Name())); !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("a worker keeps trial %s: %v", t.Name(), err)
		}
		tell(i+1, "")
	}
	return nil
}

// A search whose trials are run elsewhere finds what one process finds, and runs nothing twice.
func TestPool(t *testing.T) {
	w, from := base(t)
	b := openBackend(t)
	alone, err := Search(t.Context(), b, w, searching(from, filepath.Join(t.TempDir(), "alone")), Silent{})
	if err != nil {
		t.Fatal(err)
	}
	pool := &workers{ran: map[string]int{}}
	for range 2 {
		one, err := OpenTrials(t.Context(), b, w, searching(from, filepath.Join(t.TempDir(), "worker")))
		if err != nil {
			t.Fatal(err)
		}
		pool.list = append(pool.list, one)
	}
	o := searching(from, filepath.Join(t.TempDir(), "found"))
	o.Pool = pool
	got, err := Search(t.Context(), b, w, o, Silent{})
	if err != nil {
		t.Fatal(err)
	}
	same := func(list []search.Outcome) (all []search.Outcome) {
		for _, o := range list {
			o.TokS, o.Seconds = 0, 0 // where it ran
			all = append(all, o)
		}
		return all
	}
	if !slices.Equal(same(got.Front), same(alone.Front)) || !slices.Equal(same(got.Uniform), same(alone.Uniform)) {
		t.Errorf("%+v, in one process %+v", got, alone)
	}
	if pool.left == nil {
		t.Error("this process ran a trial of another recipe")
	}
	if len(pool.ran) < 4 {
		t.Errorf("%d trials", len(pool.ran))
	}
	for name, n := range pool.ran {
		if n != 1 {
			t.Errorf("trial %s was run %d times", name, n)
		}
	}
	// Resumed, there is nothing left to run.
	o.Resume, pool.ran = true, map[string]int{}
	if again, err := Search(t.Context(), b, w, o, Silent{}); err != nil || len(pool.ran) != 0 || !slices.Equal(again.Front, got.Front) {
		t.Errorf("%d trials were run again: %+v, %v", len(pool.ran), again, err)
	}
	// A trial of another search is refused.
	var other search.Trial
	for _, o := range got.Front {
		other = o.Trial
	}
	other.Data = "other"
	if _, err := pool.list[0].Run(t.Context(), other); err == nil {
		t.Error("a trial of other data was run")
	}
	var option *train.OptionError
	bad := searching(from, filepath.Join(t.TempDir(), "bad"))
	bad.Rows = 0
	if _, err := OpenTrials(t.Context(), b, w, bad); !errors.As(err, &option) {
		t.Errorf("%v", err)
	}
}

func tarOf(t testing.TB, headers ...tar.Header) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		if h.Typeflag == tar.TypeReg {
			h.Size = 3
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Size > 0 {
			io.WriteString(w, "abc")
		}
	}
	w.Close()
	return b.Bytes()
}

// Files that come over a network stay in their folder.
func TestUnpack(t *testing.T) {
	for name, h := range map[string]tar.Header{
		"up":       {Name: "../a", Typeflag: tar.TypeReg},
		"absolute": {Name: "/tmp/a", Typeflag: tar.TypeReg},
		"inner up": {Name: "a/../../b", Typeflag: tar.TypeReg},
		"link":     {Name: "a", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"},
		"device":   {Name: "a", Typeflag: tar.TypeChar},
	} {
		if err := Unpack(t.TempDir(), bytes.NewReader(tarOf(t, h)), 1000); err == nil {
			t.Errorf("%s: unpacked", name)
		}
	}
	two := tarOf(t, tar.Header{Name: "a/b", Typeflag: tar.TypeReg}, tar.Header{Name: "c", Typeflag: tar.TypeReg})
	dir := t.TempDir()
	if err := Unpack(dir, bytes.NewReader(two), 6); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "a", "b")); err != nil || string(b) != "abc" {
		t.Errorf("%q, %v", b, err)
	}
	if err := Unpack(t.TempDir(), bytes.NewReader(two), 5); err == nil {
		t.Error("more than allowed was unpacked")
	}
	if err := Unpack(t.TempDir(), bytes.NewReader(two[:700]), 1000); err == nil {
		t.Error("half a tar was unpacked")
	}
	if err := Unpack(dir, bytes.NewReader(two), 1000); err == nil {
		t.Error("a file was overwritten")
	}
}

// Pack and Unpack keep files and folders.
func TestPack(t *testing.T) {
	from := t.TempDir()
	if err := errors.Join(os.MkdirAll(filepath.Join(from, "x", "y"), 0o777), os.WriteFile(filepath.Join(from, "x", "y", "z"), []byte("deep"), 0o666),
		os.WriteFile(filepath.Join(from, "one"), []byte("file"), 0o666)); err != nil {
		t.Fatal(err)
	}
	for _, hidden := range []string{"x/.git/config", "x/y/.env"} {
		path := filepath.Join(from, hidden)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o777), os.WriteFile(path, []byte("secret"), 0o666)); err != nil {
			t.Fatal(err)
		}
	}
	link := filepath.Join(from, ".linked") // a folder that is named is taken, whatever its name
	if err := os.Symlink(filepath.Join(from, "x"), link); err != nil {
		t.Skip(err)
	}
	var b, again bytes.Buffer
	list := map[string]string{"folder": link, "file": filepath.Join(from, "one"), "third": filepath.Join(from, "one")}
	if err := errors.Join(Pack(&b, list), Pack(&again, list)); err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(b.Bytes(), []byte("secret")) || !bytes.Equal(b.Bytes(), again.Bytes()) {
		t.Error("hidden files were packed, or the same files another way")
	}
	dir := t.TempDir()
	if err := Unpack(dir, &b, 1000); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"folder/y/z": "deep", "file": "file"} {
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	if err := Pack(io.Discard, map[string]string{"a": filepath.Join(from, "none")}); err == nil {
		t.Error("packed what is not there")
	}
}
