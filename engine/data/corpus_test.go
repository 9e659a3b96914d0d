package data

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"mito/backend/memlimit"
)

func write(t testing.TB, root, name, text string) string {
	t.Helper()
	path := filepath.Join(root, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLoadCorpus(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "b.txt", "second\n")
	write(t, dir, "a/z.md", "first")
	write(t, dir, "a.txt", "zwölf\r\n")
	write(t, dir, "empty", "")
	write(t, dir, ".git/config", "\x00")
	write(t, dir, ".hidden", "\xff")
	c, err := LoadCorpus(dir)
	if err != nil {
		t.Fatal(err)
	}
	if want := "zwölf\r\nfirst\nsecond\n"; c.Text != want {
		t.Errorf("text %q, want %q", c.Text, want)
	}
	want := []File{{"a.txt", 0, 8}, {"a/z.md", 8, 5}, {"b.txt", 14, 7}, {"empty", 21, 0}}
	if !slices.Equal(c.Files, want) {
		t.Errorf("files %v, want %v", c.Files, want)
	}
	c, err = LoadCorpus(filepath.Join(dir, "b.txt"))
	if err != nil || c.Text != "second\n" || !slices.Equal(c.Files, []File{{"b.txt", 0, 7}}) {
		t.Errorf("a file: %+v, %v", c, err)
	}
}

func TestLoadCorpusRefuses(t *testing.T) {
	dir := t.TempDir()
	for name, c := range map[string]struct {
		path   string
		want   error
		offset int64
		says   string
	}{
		"missing":          {filepath.Join(dir, "none"), fs.ErrNotExist, -1, "none cannot be read"},
		"empty":            {write(t, dir, "empty", ""), ErrEmpty, -1, "give a text file"},
		"blank":            {write(t, dir, "blank", " \n\n"), ErrEmpty, -1, "give a text file"},
		"empty folder":     {t.TempDir(), ErrEmpty, -1, "folder with text"},
		"binary":           {write(t, dir, "png", "\x89PNG\r\n\x1a\n\x00\x00"), ErrBinary, 8, "binary"},
		"utf-16":           {write(t, dir, "utf16", "h\x00i\x00"), ErrBinary, 1, "UTF-16"},
		"latin-1":          {write(t, dir, "latin1", "Gr\xf6\xdfe"), ErrNotUTF8, 2, "(at byte 2): convert it"},
		"cut character":    {write(t, dir, "cut", "ab\xe6\x97"), ErrNotUTF8, 2, "UTF-8"},
		"one file of many": {filepath.Dir(write(t, dir, "many/sub/x", "\x00")) + "/..", ErrBinary, 0, "x"},
	} {
		got, err := LoadCorpus(c.path)
		var ce *CorpusError
		if got != nil || !errors.Is(err, c.want) || !errors.As(err, &ce) || ce.Offset != c.offset || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: got %v, want %v at %d that says %q", name, err, c.want, c.offset, c.says)
		}
	}
	if runtime.GOOS == "linux" {
		if _, err := LoadCorpus("/dev/zero"); !errors.Is(err, ErrNotRegular) {
			t.Errorf("a device: %v", err)
		}
		if err := os.Symlink(filepath.Join(dir, "gone"), filepath.Join(dir, "many", "link")); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadCorpus(filepath.Join(dir, "many")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("a dangling link: %v", err)
		}
	}
}

// TestCorpusIsJudgedBeforeItIsRead: what cannot be held is refused by its size. The files are full of zeros, which the
// reader would call binary.
func TestCorpusIsJudgedBeforeItIsRead(t *testing.T) {
	dir := t.TempDir()
	sparse := func(name string, size int64) string {
		path := write(t, dir, name, "")
		if err := os.Truncate(path, size); err != nil {
			t.Skip("no large files here: ", err)
		}
		return path
	}
	large := sparse("large", 20<<30)
	folder := filepath.Dir(sparse("sum/a", MaxCorpusBytes/2+1))
	sparse("sum/b", MaxCorpusBytes/2)
	small := sparse("small", 1001)
	defer func() { freeMemory = memlimit.Process }()
	freeMemory = func() (memlimit.Memory, bool) {
		l := memlimit.Limit{Bytes: 10000, Free: 5000, Source: memlimit.Cgroup}
		return memlimit.Memory{Total: l, Free: l}, true
	}
	for path, says := range map[string]string{
		large: "it has 20.0 GiB, a corpus may have 2.0 GiB", folder: "it has 2.0 GiB",
		small: "its 1001 bytes need at least 4.9 KiB of memory as text and tokens, and of the memory limit of the control group (container) 4.9 KiB are free: take a part of it, 1000 bytes at most",
	} {
		_, err := LoadCorpus(path)
		if !errors.Is(err, ErrTooLarge) || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), path) {
			t.Errorf("%v, want ErrTooLarge with %q", err, says)
		}
	}
	if err := os.Truncate(small, 1000); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadCorpus(small); !errors.Is(err, ErrBinary) {
		t.Errorf("what just fits: %v, want that it is read", err)
	}
}

// FuzzCheckText: a text passes exactly if it is UTF-8 without zero bytes, and
// what stands before the reported byte is fine.
func FuzzCheckText(f *testing.F) {
	f.Add([]byte("plain"))
	f.Fuzz(func(t *testing.T, data []byte) {
		offset, err := checkText(string(data))
		if ok := utf8.Valid(data) && !slices.Contains(data, 0); ok != (err == nil) {
			t.Fatalf("%q: %v", data, err)
		}
		if err == nil {
			return
		}
		if offset < 0 || offset >= int64(len(data)) {
			t.Fatalf("%q: byte %d", data, offset)
		}
		if err == ErrNotUTF8 && !utf8.Valid(data[:offset]) || err == ErrBinary && data[offset] != 0 {
			t.Fatalf("%q: %v at %d", data, err, offset)
		}
	})
}

func TestSplit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringN(0, 60, -1).Draw(t, "text")
		held := rapid.Float64Range(0.001, 0.999).Draw(t, "held out")
		train, val, err := Split(text, held)
		if err != nil {
			var short *TooShortError
			if cut := int(float64(len(text)) * (1 - held)); !errors.As(err, &short) || cut >= utf8.UTFMax && cut < len(text) {
				t.Fatalf("%d bytes, %v held out: %v", len(text), held, err)
			}
			return
		}
		if train.Text+val.Text != text || !utf8.ValidString(train.Text) || !utf8.ValidString(val.Text) || train.Text == "" || val.Text == "" {
			t.Fatalf("%q splits into %q and %q", text, train.Text, val.Text)
		}
		if d := float64(len(text))*(1-held) - float64(train.End); d < 0 || d >= utf8.UTFMax {
			t.Fatalf("%d of %d bytes for training with %v held out", train.End, len(text), held)
		}
		if train.Source != val.Source || text[train.Start:train.End] != train.Text || text[val.Start:val.End] != val.Text {
			t.Fatalf("parts %+v and %+v do not say where they are", train, val)
		}
		if err := CheckDisjoint(train, val); err != nil {
			t.Fatal(err)
		}
	})
	// nanoGPT's split of its best known file.
	train, val, err := Split(strings.Repeat("x", 1115394), 0.1)
	if err != nil || len(train.Text) != 1003854 || len(val.Text) != 111540 {
		t.Errorf("%d and %d bytes, %v, want 1003854 and 111540", len(train.Text), len(val.Text), err)
	}
	for _, bad := range []float64{0, 1, -0.1, 1.5, nan()} {
		var arg *ArgError
		if _, _, err := Split("text", bad); !errors.As(err, &arg) {
			t.Errorf("%v held out: %v, want an ArgError", bad, err)
		}
	}
	var short *TooShortError
	if _, _, err := Split("x", 0.1); !errors.As(err, &short) {
		t.Errorf("one byte: %v, want a TooShortError", err)
	}
}

func nan() float64 { z := 0.0; return z / z }

// noise is text without passages in common with that of another seed.
func noise(seed uint64, n int) string {
	var sb strings.Builder
	for i := range n {
		sb.WriteByte("abcdefghijklmnopqrstuvwxyz     \n"[below(Mix(seed, uint64(i)), 32)])
	}
	return sb.String()
}

// TestOverlapRefused: calibration or selection on test data fails the run,
// whichever way it comes about.
func TestOverlapRefused(t *testing.T) {
	text := noise(1, 20000)
	train, val, err := Split(text, 0.2)
	if err != nil {
		t.Fatal(err)
	}
	whole := NewPart("whole file", text)
	calibration := train
	calibration.Name, calibration.End, calibration.Text = "calibration set", 4000, text[:4000]
	other := NewPart("another file", noise(2, 10000))
	tainted := NewPart("calibration file", noise(3, 6000)+val.Text[500:1500]+noise(4, 600))
	header := NewPart("file with the same licence", noise(5, 8000)+val.Text[:150])
	beyond := Part{Name: "a", Text: text[:16001], End: 16001, Source: whole.Hash, Hash: hashText(text[:16001])}
	for name, c := range map[string]struct {
		a, b   Part
		shared int // -1: not at least one byte
	}{
		"train and test":                      {train, val, -1},
		"calibration from training":           {calibration, val, -1},
		"unrelated":                           {other, val, -1},
		"a licence header":                    {header, val, -1},
		"calibration on test":                 {val, val, len(val.Text)},
		"calibration on everything":           {whole, val, len(val.Text)},
		"one byte too many":                   {beyond, val, 1},
		"a copy of the test file":             {NewPart("copy", val.Text), val, len(val.Text)},
		"a file that quotes the test at once": {tainted, val, 1000},
		"parts made by hand":                  {Part{Text: text}, Part{Text: val.Text}, len(val.Text)},
		"a short copy":                        {NewPart("a", "abc"), NewPart("b", "abc"), 3},
	} {
		err := CheckDisjoint(c.a, c.b)
		var over *OverlapError
		switch {
		case c.shared < 0 && err != nil:
			t.Errorf("%s: refused: %v", name, err)
		case c.shared >= 0 && (!errors.As(err, &over) || over.Shared != c.shared || over.Of != len(c.b.Text)):
			t.Errorf("%s: got %v, want %d bytes of %d", name, err, c.shared, len(c.b.Text))
		}
	}
}

// TestRepeated compares the search with the definition.
func TestRepeated(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := noise(rapid.Uint64().Draw(t, "a"), 1500)
		b := noise(rapid.Uint64().Draw(t, "b"), 300)
		for range rapid.IntRange(0, 4).Draw(t, "copies") {
			from := rapid.IntRange(0, 1200).Draw(t, "from")
			b += a[from:from+rapid.IntRange(1, 300).Draw(t, "length")] + "|"
		}
		covered := make([]bool, len(b))
		for i := 0; i+sharedRun <= len(b); i++ {
			if strings.Contains(a, b[i:i+sharedRun]) {
				for k := range sharedRun {
					covered[i+k] = true
				}
			}
		}
		want := 0
		for _, c := range covered {
			if c {
				want++
			}
		}
		if got := Repeated(a, b); got != want {
			t.Fatalf("%d bytes, want %d", got, want)
		}
	})
	rule := strings.Repeat("-", 100000)
	if got := Repeated(rule, rule); got != len(rule) {
		t.Errorf("a ruled line repeats %d of its %d bytes", got, len(rule))
	}
	if got := Repeated("", noise(1, 500)) + Repeated(noise(1, 500), ""); got != 0 {
		t.Errorf("nothing repeats %d bytes", got)
	}
}

func TestCheckExamples(t *testing.T) {
	a := []Example{{Prompt: "p", Answers: []string{"1"}}, {Prompt: "q", Answers: []string{"2"}}}
	if err := CheckExamples(a, []Example{{Prompt: "r", Answers: []string{"1"}}}); err != nil {
		t.Error(err)
	}
	var over *OverlapError
	err := CheckExamples(a, []Example{{Prompt: "r"}, {Prompt: "q", Answers: []string{"3"}}})
	if !errors.As(err, &over) || over.Shared != 1 || over.Of != 2 || over.Sample != "q" {
		t.Errorf("got %v, want one prompt of two", err)
	}
}
